// Two periods on the same ground: a second map over the first one, uncovered by a divider.

import { type App, currentArea, periodsOf, runWith } from "../app";
import { button, el } from "../base/dom";
import { go, look } from "../base/state";
import type { Area, LayerInfo, Period, SiteDetail } from "../base/types";
import { credits, percent, period as periodWords, t } from "../base/words";
import { PROBABILITY_OPACITY, opacityOf } from "../panels/legend";
import { select } from "../panels/lists";
import { SiteMap } from "./site_map";

const STEP = 5;

export class Compare {
  private readonly root = el("div", { class: "compare" });
  private readonly holder = el("div", { class: "half", "aria-hidden": "true", inert: true });
  private readonly divider: HTMLElement;
  private other: SiteMap | null = null;
  private share = 50;
  private readonly follow = (): void => {
    const { lon, lat, zoom } = this.app.map.camera;
    this.other?.gl.jumpTo({ center: [lon, lat], zoom });
  };

  constructor(
    private readonly app: App,
    private readonly place: HTMLElement,
  ) {
    this.divider = el("div", {
      class: "divider",
      role: "slider",
      tabindex: 0,
      "aria-label": t("divider"),
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      onkeydown: (event: KeyboardEvent) => this.key(event),
      onpointerdown: (event: PointerEvent) => this.drag(event),
    });
  }

  get open(): boolean {
    return this.other !== null;
  }

  /** Show what the view says: both periods, or none. */
  async show(layers: LayerInfo[], detail: SiteDetail | null): Promise<void> {
    const area = currentArea(this.app);
    const pair = look().compare;
    if (!pair || !area) return this.close();
    if (!this.other) {
      this.place.append(this.root);
      this.root.replaceChildren(this.holder, this.divider);
      const { lon, lat, zoom } = this.app.map.camera;
      this.other = new SiteMap(this.holder, { camera: { lon, lat, zoom }, bounds: null, room: null });
      this.app.map.gl.on("move", this.follow);
      this.move(this.share);
    }
    this.choices(area, pair);
    const other = this.other;
    await other.ready;
    // It may have been closed, or be asked for other periods, while it loaded.
    if (this.other !== other || look().compare !== pair) return;
    if (!other.gl.getSource("sites")) other.showArea(area);
    other.showLayers(layers, look().opacity);
    const probability = opacityOf("@probability", PROBABILITY_OPACITY);
    for (const [map, period] of [
      [other, pair[0]],
      [this.app.map, pair[1]],
    ] as const) {
      map.showPeriod(period);
      map.showRaster("image", imageWanted() ? runWith(area.runs, period, "has_image") : null, 1);
      map.showRaster("probability", probability ? runWith(area.runs, period, "has_probability") : null, probability);
      map.showSite(detail, period);
    }
    this.follow();
  }

  private choices(area: Area, pair: [Period, Period]): void {
    const periods = periodsOf(area);
    const options = periods.map((one): [string, string] => [key(one), periodWords(one.start, one.end)]);
    const choice = (side: 0 | 1): HTMLElement =>
      select(
        t(side ? "compare_after" : "compare_before"),
        options,
        (value) => {
          const found = periods.find((one) => key(one) === value);
          if (found) go({ compare: side ? [pair[0], found] : [found, pair[1]] });
        },
        key(pair[side]),
      );
    const bar = el(
      "div",
      { class: "compare-bar" },
      choice(0),
      choice(1),
      button(t("compare_end"), () => go({ compare: null }), { class: "button" }),
    );
    const when = (side: 0 | 1, name: string): HTMLElement =>
      el("span", { class: `half-when ${name}`, "aria-hidden": "true" }, periodWords(pair[side].start, pair[side].end));
    const runs = pair.map((one) => (imageWanted() ? runWith(area.runs, one, "has_image") : null));
    const none = (side: 0 | 1, name: string): HTMLElement | "" =>
      imageWanted() && !runs[side] ? el("span", { class: `half-none ${name}` }, t("no_image_then")) : "";
    // The sources at the foot of the map are those of its own image, the one after.
    const others = runs[0]?.owners.filter((owner) => !runs[1]?.owners.includes(owner)) ?? [];
    const credit = others.length ? el("span", { class: "half-credit before" }, credits(others)) : "";
    for (const old of this.root.querySelectorAll(".compare-bar, .half-when, .half-none, .half-credit")) old.remove();
    this.root.append(when(0, "before"), when(1, "after"), none(0, "before"), none(1, "after"), credit, bar);
  }

  private close(): void {
    if (!this.other) return;
    this.app.map.gl.off("move", this.follow);
    this.other.remove();
    this.other = null;
    this.root.remove();
  }

  private move(share: number): void {
    this.share = Math.min(100, Math.max(0, share));
    this.root.style.setProperty("--at", `${this.share}%`);
    this.divider.setAttribute("aria-valuenow", String(Math.round(this.share)));
    this.divider.setAttribute("aria-valuetext", percent(this.share / 100));
  }

  private key(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowLeft: this.share - STEP,
      ArrowRight: this.share + STEP,
      Home: 0,
      End: 100,
    };
    const next = steps[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(next);
  }

  private drag(event: PointerEvent): void {
    event.preventDefault();
    this.divider.focus();
    this.divider.setPointerCapture(event.pointerId);
    const move = (at: PointerEvent): void => {
      const { left, width } = this.root.getBoundingClientRect();
      this.move((100 * (at.clientX - left)) / width);
    };
    this.divider.addEventListener("pointermove", move);
    this.divider.addEventListener(
      "lostpointercapture",
      () => this.divider.removeEventListener("pointermove", move),
      { once: true },
    );
  }
}

const key = (period: Period): string => `${period.start}/${period.end}`;
const imageWanted = (): boolean => look().opacity["@image"] !== 0;
