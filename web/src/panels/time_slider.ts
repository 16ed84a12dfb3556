// The slider over periods: each step shows what sites were in one, the last one the latest of each.

import { type App, currentArea, periodsOf } from "../app";
import { el, icon, iconButton, replace } from "../base/dom";
import { go, look, samePeriod } from "../base/state";
import type { Period } from "../base/types";
import { period as periodWords, t } from "../base/words";

const STEP_MS = 1400;

export class TimeSlider {
  readonly root = el("section", { class: "slider", "aria-label": t("slider_label") });
  private readonly range: HTMLInputElement;
  private readonly label = el("output", { class: "when", for: "period" });
  private readonly ticks = el("div", { class: "ticks", "aria-hidden": "true" });
  private readonly player: HTMLButtonElement;
  private periods: Period[] = [];
  private timer = 0;

  constructor(private readonly app: App) {
    this.range = el("input", {
      type: "range",
      id: "period",
      min: 0,
      step: 1,
      "aria-label": t("slider_label"),
      oninput: () => {
        this.stop();
        this.choose(Number(this.range.value));
      },
    });
    this.player = iconButton(icon("play"), t("play"), () => (this.timer ? this.stop() : this.play()));
    this.root.append(
      this.label,
      el(
        "div",
        { class: "track" },
        this.player,
        iconButton(icon("previous"), t("earlier"), () => this.step(-1)),
        el("div", { class: "range" }, this.range, this.ticks),
        iconButton(icon("next"), t("later"), () => this.step(1)),
      ),
    );
    this.show();
  }

  /** Take the periods of the area, and stand where the view says. */
  show(): void {
    const area = currentArea(this.app);
    this.periods = area ? periodsOf(area) : [];
    this.root.hidden = this.periods.length === 0;
    this.range.max = String(this.periods.length);
    const shown = look().period;
    const at = this.periods.findIndex((period) => samePeriod(period, shown));
    this.range.value = String(at < 0 ? this.periods.length : at);
    const words = this.words(Number(this.range.value));
    this.label.textContent = words;
    this.range.setAttribute("aria-valuetext", words);
    const count = this.periods.length;
    const years = this.periods.map((period, index) => {
      const year = period.start.slice(0, 4);
      const first = index === 0 || this.periods[index - 1]!.start.slice(0, 4) !== year;
      const tick = el("span", { class: first ? "tick year" : "tick" }, first ? year : null);
      tick.style.setProperty("--at", `${(100 * index) / Math.max(1, count)}%`);
      return tick;
    });
    const last = el("span", { class: "tick latest" });
    last.style.setProperty("--at", "100%");
    replace(this.ticks, ...years, last);
  }

  private words(at: number): string {
    const period = this.periods[at];
    return period ? periodWords(period.start, period.end) : t("latest");
  }

  private choose(at: number): void {
    go({ period: this.periods[at] ?? null });
  }

  step(by: 1 | -1): void {
    this.stop();
    const at = Number(this.range.value) + by;
    if (at >= 0 && at <= this.periods.length) this.choose(at);
  }

  private play(): void {
    if (Number(this.range.value) >= this.periods.length) this.choose(0);
    this.face(true);
    this.timer = window.setInterval(() => {
      const at = Number(this.range.value) + 1;
      this.choose(at);
      if (at >= this.periods.length) this.stop();
    }, STEP_MS);
  }

  private stop(): void {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.face(false);
  }

  private face(playing: boolean): void {
    const label = t(playing ? "pause" : "play");
    replace(this.player, icon(playing ? "pause" : "play"));
    this.player.setAttribute("aria-label", label);
    this.player.title = label;
  }
}
