// Makes elements. Data reaches the page as text only, never as markup.

type Child = Node | string | number | null | undefined | false;
type Value = string | number | boolean | null | undefined | ((event: never) => void);
export type Attributes = Record<string, Value>;

function fill(node: Element, attributes: Attributes, children: Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      node.addEventListener(name.replace(/^on/, ""), value as unknown as EventListener);
    } else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  add(node, ...children);
}

export function add(node: Element, ...children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

/** An element; an attribute that is a function listens to the event of its name. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  fill(node, attributes, children);
  return node;
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(node, attributes, children);
  return node;
}

export function replace(node: Element, ...children: Child[]): void {
  node.replaceChildren();
  add(node, ...children);
}

export function button(label: string, onclick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return el("button", { type: "button", onclick, ...attributes }, label);
}

/** A button that shows a drawing only; its label is for screen readers and tooltips. */
export function iconButton(
  drawing: SVGElement,
  label: string,
  onclick: () => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  return el(
    "button",
    { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...attributes },
    drawing,
  );
}

/** A line drawing of 20 by 20 units. */
export function drawing(...paths: string[]): SVGSVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 20 20", class: "drawing", "aria-hidden": "true", focusable: "false" },
    ...paths.map((d) => svg("path", { d })),
  );
}

export const ICONS = {
  close: ["M5 5l10 10M15 5L5 15"],
  previous: ["M12 4l-6 6 6 6"],
  next: ["M8 4l6 6-6 6"],
  play: ["M6 4l10 6-10 6z"],
  pause: ["M7 4v12M13 4v12"],
  layers: ["M10 3l7 4-7 4-7-4z", "M3 10.5l7 4 7-4", "M3 14l7 4 7-4"],
  search: ["M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11z", "M13 13l4 4"],
  copy: ["M7 7h9v10H7z", "M4 13V3h9"],
  home: ["M3 10l7-6 7 6", "M5 9v8h10V9"],
  compare: ["M10 2v16", "M3 5h5v10H3z", "M12 5h5v10h-5z"],
  terrain: ["M1.5 16l5.500-9 3.500 5.500 2.500-3.500L18.500 16z"],
  draw: ["M4 15l4-11 9 5-3 8z", "M4 15l10 2"],
  analyse: ["M3 6V3h3M14 3h3v3M17 14v3h-3M6 17H3v-3", "M8 6.500l6 3.500-6 3.500z"],
  report: ["M5 17V3h10l-2.500 3.500L15 10H5"],
  up: ["M4 13l6-6 6 6"],
  external: ["M8 4H4v12h12v-4", "M11 4h5v5M16 4l-7 7"],
} as const;

export const icon = (name: keyof typeof ICONS): SVGSVGElement => drawing(...ICONS[name]);

let live: HTMLElement | null = null;

export function liveRegion(): HTMLElement {
  live ??= el("div", { class: "unseen", role: "status", "aria-live": "polite" });
  return live;
}

/** Tell a screen reader. */
export function announce(words: string): void {
  liveRegion().textContent = words;
}
