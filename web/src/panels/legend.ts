// The legend, which is also where layers are shown, hidden and made fainter.

import { type App, currentArea, runWith } from "../app";
import { isPublished } from "../base/api";
import { add, el, replace } from "../base/dom";
import { go, look } from "../base/state";
import { STATUSES, type Verdict } from "../base/types";
import { capital, percent, t, word } from "../base/words";
import { layerLook, layerName, swatch } from "../map/layer_styles";
import { RAMP, UNSEEN, cssOf } from "../map/ramp";
import { type OUTLINES, mark, outlineSample } from "../map/symbols";

export const IMAGE_OPACITY = 1;
export const PROBABILITY_OPACITY = 0;

/** Rejected sites are not published. */
const VERDICTS: readonly Verdict[] = isPublished ? ["confirmed", "unsure"] : ["confirmed", "rejected", "unsure"];

export function opacityOf(name: string, otherwise: number): number {
  return look().opacity[name] ?? otherwise;
}

export class Legend {
  readonly root: HTMLDetailsElement;
  private readonly layers = el("div", { class: "layers" });

  constructor(private readonly app: App) {
    const statuses = el("ul", { class: "statuses" });
    for (const status of STATUSES) {
      add(
        statuses,
        el("li", { title: word("status_means", status) }, mark(status, null, 18), capital(word("status", status))),
      );
    }
    const verdicts = el(
      "ul",
      { class: "statuses" },
      ...VERDICTS.map((verdict) =>
        el("li", {}, mark("steady", verdict, 18), capital(word("verdict", verdict))),
      ),
    );
    this.root = el(
      "details",
      { class: "legend", open: window.innerWidth > 900 },
      el("summary", {}, t("legend")),
      el(
        "div",
        { class: "inside" },
        el("h3", {}, t("legend_sites")),
        statuses,
        el("p", { class: "hint" }, t("legend_size")),
        el("h3", {}, t("legend_verdicts")),
        verdicts,
        !app.session.withheld_m && outlines(),
        !isPublished && el("h3", {}, t("legend_layers")),
        !isPublished && this.layers,
      ),
    );
    this.show();
  }

  show(): void {
    const rows: HTMLElement[] = [];
    const area = currentArea(this.app);
    if (area && runWith(area.runs, null, "has_image")) {
      rows.push(this.row("@image", t("layer_image"), null, IMAGE_OPACITY));
    }
    if (area && runWith(area.runs, null, "has_probability")) {
      const key = probabilityKey();
      rows.push(this.row("@probability", t("layer_probability"), null, PROBABILITY_OPACITY, key), key);
    }
    for (const { name, kind, features } of this.app.layers) {
      if (!features) continue;
      rows.push(this.row(name, capital(layerName(name, kind)), swatch(kind), layerLook(kind).opacity));
    }
    if (rows.length) replace(this.layers, ...rows);
    else replace(this.layers, el("p", { class: "hint" }, t("no_layers")));
  }

  private row(name: string, label: string, sample: SVGElement | null, first: number, key?: HTMLElement): HTMLElement {
    const now = opacityOf(name, first);
    if (key) key.hidden = now === 0;
    const amount = el("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 5,
      value: Math.round(100 * now),
      "aria-label": t("opacity_of", { layer: label }),
      "aria-valuetext": percent(now),
      title: t("opacity"),
      hidden: now === 0,
    });
    const box = el("input", { type: "checkbox", checked: now > 0 });
    const change = (value: number): void => {
      amount.setAttribute("aria-valuetext", percent(value));
      go({ opacity: { ...look().opacity, [name]: value } });
    };
    amount.addEventListener("change", () => change(Number(amount.value) / 100));
    box.addEventListener("change", () => {
      const value = box.checked ? (first > 0 ? first : 0.7) : 0;
      amount.hidden = !box.checked;
      if (key) key.hidden = !box.checked;
      amount.value = String(100 * value);
      change(value);
    });
    return el("div", { class: "layer" }, el("label", { class: "check" }, box, sample, el("span", {}, label)), amount);
  }
}

/** What the lines around the chosen site are. */
function outlines(): HTMLElement {
  const rows: [string, keyof typeof OUTLINES][] = [
    [t("outline_of_period"), "detected"],
    [t("ever_detected"), "ground"],
  ];
  if (!isPublished) rows.push([t("outline_by_person"), "drawn"]);
  const list = rows.map(([label, kind]) => el("li", {}, outlineSample(kind), label));
  return el(
    "div",
    { class: "of-chosen" },
    el("h3", {}, t("legend_chosen")),
    el("ul", { class: "statuses" }, ...list),
    el("p", { class: "hint" }, t("outline_means")),
  );
}

/** What the colours of probabilities mean; below the first one nothing is drawn. */
function probabilityKey(): HTMLElement {
  const shares = RAMP.map(({ share }) => percent(share));
  const [least, most] = [shares[0]!, shares.at(-1)!];
  const ramp = el("span", { class: "ramp" });
  ramp.style.backgroundImage = `linear-gradient(to right, ${RAMP.map(({ colour }) => cssOf(colour)).join(", ")})`;
  const unseen = el("span", { class: "sample" });
  unseen.style.background = cssOf(UNSEEN);
  return el(
    "div",
    { class: "probability-key", role: "img", "aria-label": t("probability_key", { least, most }) },
    ramp,
    el("span", { class: "shares" }, ...shares.map((one) => el("span", {}, one === most ? `≥ ${one}` : one))),
    el("span", { class: "gone" }, unseen, word("status", "not_observed")),
  );
}
