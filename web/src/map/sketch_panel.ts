// The panel beside a drawing: what to do next, and every step of it as a button and by key.

import type { App } from "../app";
import { add, announce, button, el, icon, iconButton, replace } from "../base/dom";
import { hectares, t } from "../base/words";
import type { BBox } from "../base/types";
import type { Ring } from "./rings";
import { Sketch, type SketchState, type Tool } from "./sketch";

const STEP_PX = 6;
const FINE_PX = 1;
const PAN_PX = 60;
const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export interface SketchPanel {
  readonly root: HTMLElement;
  /** Where the caller says what comes of it, below the tools. */
  readonly below: HTMLElement;
  readonly sketch: Sketch;
  readonly stop: () => void;
}

interface Options {
  title: string;
  place: HTMLElement;
  start?: Ring[];
  several?: boolean;
  /** Without rectangles and the map's box. */
  corrects?: boolean;
  /** Before the tools. */
  above?: Node;
  changed: (state: SketchState) => void;
  ended: () => void;
}

export function openSketch(app: App, options: Options): SketchPanel {
  const told = el("p", { class: "hint", role: "status" });
  const fault = el("p", { class: "fault", role: "alert" });
  const tools = el("div", { class: "sketch" });
  const below = el("div", { class: "below" });
  const start = options.start ?? [];
  let last = "";

  const stop = (): void => {
    document.removeEventListener("keydown", keys, true);
    sketch.stop();
    root.remove();
    options.ended();
  };
  const root = el(
    "section",
    { class: "drawing-panel", "aria-label": options.title },
    el("header", {}, el("h3", {}, options.title), iconButton(icon("close"), t("close"), stop)),
  );
  add(root, options.above, told, tools, fault, below);
  options.place.append(root);

  const changed = (state: SketchState): void => {
    const how = state.tool === "rectangle" ? "rectangle_hint" : "sketch_hint";
    const words = t(state.drawing ? how : options.corrects ? "redraw_hint" : "sketch_edit_hint");
    if (told.textContent !== words) told.textContent = words;
    const wrong = state.fault ? t(state.fault === "crosses" ? "fault_crosses" : "fault_overlaps") : "";
    if (fault.textContent !== wrong) fault.textContent = wrong;
    // Buttons are made anew only where there are others, so that none loses the focus.
    const kind = `${state.drawing} ${state.tool} ${state.rings.length > 0}`;
    if (kind !== last) {
      last = kind;
      renderTools(state);
    }
    undo.disabled = !state.mayUndo;
    size.textContent = state.rings.length ? hectares(state.hectares) : "";
    corner.textContent = state.corner
      ? t("corner_of", { n: String(state.corner[0]), total: String(state.corner[1]) })
      : t("corner_choose");
    for (const one of onCorner) one.disabled = !state.corner;
    options.changed(state);
  };
  const sketch = new Sketch(app.map, { start, several: options.several ?? false, changed });

  const undo = button(t("undo"), () => sketch.undo(), { class: "button" });
  const size = el("strong", { class: "sketch-size" });
  const corner = el("span", { class: "corner", role: "status" });
  const onCorner = [
    button(t("corner_add"), () => sketch.addCorner(), { class: "button" }),
    button(t("corner_remove"), () => sketch.removeCorner(), { class: "button" }),
  ];
  const pad = el(
    "div",
    { class: "corner-pad", role: "group", "aria-label": t("corners"), title: t("corner_keys") },
    iconButton(icon("previous"), t("corner_previous"), () => sketch.chooseNext(-1)),
    corner,
    iconButton(icon("next"), t("corner_next"), () => sketch.chooseNext(1)),
    ...onCorner,
  );

  const kind = (tool: Tool, label: string, now: SketchState): HTMLButtonElement =>
    button(label, () => sketch.begin(tool), {
      class: "button",
      "aria-pressed": String(now.drawing && now.tool === tool),
    });

  function renderTools(state: SketchState): void {
    const held = document.activeElement;
    const had = held instanceof HTMLElement && tools.contains(held);
    replace(
      tools,
      !options.corrects &&
        el(
          "div",
          { class: "links" },
          kind("polygon", t("draw_polygon"), state),
          kind("rectangle", t("draw_rectangle"), state),
          button(t("draw_view"), () => sketch.take([viewRing(app)]), { class: "button" }),
        ),
      state.drawing &&
        el(
          "div",
          { class: "links by-cross" },
          button(t("corner_here"), () => sketch.cornerHere(), { class: "button", "aria-keyshortcuts": "Enter" }),
          state.tool === "polygon" && button(t("close_shape"), () => sketch.close(), { class: "button" }),
        ),
      !state.drawing && state.rings.length > 0 && pad,
      el(
        "div",
        { class: "links" },
        undo,
        options.corrects && start.length > 0
          ? button(t("redraw_reset"), () => sketch.take(start), { class: "button" })
          : null,
        options.corrects && button(t("redraw_new"), () => sketch.begin("polygon"), { class: "button" }),
        size,
      ),
    );
    if (had) {
      const again = [...tools.querySelectorAll("button")].find((one) => one.textContent === held.textContent && !one.disabled);
      (again ?? tools.querySelector<HTMLElement>("button:not(:disabled)"))?.focus();
    }
  }

  function keys(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const writes = target.matches("textarea, select, input");
    if (document.querySelector("dialog[open]")) return;
    if (pressed(event, target, writes)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  function pressed(event: KeyboardEvent, target: HTMLElement, writes: boolean): boolean {
    if (event.key === "Escape" && !event.ctrlKey) {
      if (writes) return false;
      stop();
      return true;
    }
    if (writes) return false;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      sketch.undo();
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { drawing } = sketch.state;
    const onMap = target.matches("canvas, body");
    const arrow = ARROWS[event.key];
    if (arrow && pad.contains(target)) {
      const px = event.shiftKey ? FINE_PX : STEP_PX;
      sketch.moveCorner(arrow[0] * px, arrow[1] * px);
      return true;
    }
    if (arrow && drawing && tools.contains(target)) {
      sketch.panBy(arrow[0] * PAN_PX, arrow[1] * PAN_PX);
      return true;
    }
    if (event.key === "Enter" && drawing && onMap) {
      sketch.cornerHere();
      announce(t("corner_set"));
      return true;
    }
    if (event.key === "Backspace" && (onMap || tools.contains(target))) {
      sketch.undo();
      return true;
    }
    if (event.key === "Delete" && pad.contains(target)) {
      sketch.removeCorner();
      return true;
    }
    return false;
  }
  document.addEventListener("keydown", keys, true);
  renderTools(sketch.state);
  changed(sketch.state);
  return { root, below, sketch, stop };
}

/** A little within what the map shows, so that its corners can be taken hold of. */
function viewRing(app: App): Ring {
  const bounds = app.map.gl.getBounds();
  const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()] as BBox;
  const [dx, dy] = [0.04 * (east - west), 0.04 * (north - south)];
  const round = (value: number): number => Math.round(value * 1e6) / 1e6;
  const [w, s, e, n] = [round(west + dx), round(south + dy), round(east - dx), round(north - dy)];
  return [[w, s], [e, s], [e, n], [w, n], [w, s]];
}
