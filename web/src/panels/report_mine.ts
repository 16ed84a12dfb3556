// Report a mine that no scan found: draw it, say when it was seen, and see what others reported.

import { type App, currentArea, periodsOf, faultOf, showFault, tell, tellFault } from "../app";
import * as api from "../base/api";
import { button, el, iconButton, icon, replace } from "../base/dom";
import { look } from "../base/state";
import type { ReportedMine } from "../base/types";
import { hectares, moment, number, period, t } from "../base/words";
import type { Reported } from "../map/reported";
import { boxOfRings, outerRings, ringHectares } from "../map/rings";
import type { SketchState } from "../map/sketch";
import { openSketch } from "../map/sketch_panel";
import { select } from "./lists";

const ON_A_DAY = "day";
/** Larger is not one mine; the server refuses it too. */
const LARGEST_KM2 = 500;

export function startReporting(app: App, reported: Reported, place: HTMLElement, ended: () => void): () => void {
  const form = new ReportForm(app, reported);
  const panel = openSketch(app, {
    title: t("report_mine"),
    place,
    changed: (state) => form.drawn(state),
    ended: () => {
      form.close();
      ended();
    },
  });
  panel.root.classList.add("report-mine");
  panel.below.append(form.root);
  form.sent = () => panel.sketch.take([]);
  return panel.stop;
}

class ReportForm {
  readonly root: HTMLFormElement;
  sent: () => void = () => undefined;
  private readonly name = el("input", { name: "place", maxlength: 100, autocomplete: "off" });
  private readonly note = el("textarea", { name: "note", rows: 2, maxlength: 2000 });
  private readonly day = el("input", { type: "date", name: "day", max: new Date().toISOString().slice(0, 10) });
  private readonly dayLabel = el("label", { hidden: true }, t("seen_day"), this.day);
  private readonly fault = el("p", { class: "fault", role: "alert" });
  private readonly send = el("button", { type: "submit", class: "button main" }, t("report_send"));
  private readonly list = el("ul", { class: "reports" });
  private readonly stopWatching: () => void;
  private seen: string;
  private last = { words: "", id: "" };
  private state: SketchState | null = null;

  constructor(
    private readonly app: App,
    private readonly reported: Reported,
  ) {
    const area = currentArea(app);
    const periods = area ? periodsOf(area).reverse() : [];
    const shown = look().period;
    this.seen = shown ? api.periodName(shown) : periods[0] ? api.periodName(periods[0]) : ON_A_DAY;
    const choices = periods.map((one): [string, string] => [api.periodName(one), period(one.start, one.end)]);
    const when = select(
      t("seen_in"),
      [...choices, [ON_A_DAY, t("seen_on_day")]],
      (value) => {
        this.seen = value;
        this.dayLabel.hidden = value !== ON_A_DAY;
        this.check();
      },
      this.seen,
    );
    this.dayLabel.hidden = this.seen !== ON_A_DAY;
    this.day.addEventListener("input", () => this.check());
    this.root = el(
      "form",
      { class: "work-form", novalidate: true, onsubmit: (event: Event) => void this.submit(event) },
      el("label", {}, t("place_name"), this.name),
      when,
      this.dayLabel,
      el("label", {}, t("note"), this.note),
      el("p", { class: "hint" }, t("report_hint")),
      this.fault,
      this.send,
      el("h4", {}, t("reports_here")),
      this.list,
    );
    this.stopWatching = reported.watch((reports) => this.showList(reports));
  }

  close(): void {
    this.stopWatching();
  }

  drawn(state: SketchState): void {
    this.state = state;
    const km2 = state.hectares / 100;
    this.fault.textContent = km2 > LARGEST_KM2 ? t("too_large", { area: number(km2), most: number(LARGEST_KM2) }) : "";
    this.check();
  }

  private check(): boolean {
    const { state } = this;
    const whole = state?.shape && !state.drawing && !state.fault && state.hectares / 100 <= LARGEST_KM2;
    this.send.disabled = !whole || (this.seen === ON_A_DAY && !this.day.value);
    return !this.send.disabled;
  }

  private async submit(event: Event): Promise<void> {
    event.preventDefault();
    const area = currentArea(this.app);
    const shape = this.state?.shape;
    if (!this.check() || !area || !shape) return;
    const [start = "", end = ""] = this.seen === ON_A_DAY ? [this.day.value, this.day.value] : this.seen.split("/");
    this.send.disabled = true;
    const said = { area: area.name, outline: shape, start, end, name: this.name.value.trim(), note: this.note.value.trim() };
    const words = JSON.stringify(said);
    // The same once more, as after a lost answer, is the same report.
    if (this.last.words !== words) this.last = { words, id: api.newId() };
    try {
      await api.reportMine({ ...said, label_id: this.last.id });
      this.last = { words: "", id: "" };
      await this.reported.load(area.name);
      this.name.value = this.note.value = "";
      this.sent();
      tell(t("report_sent"));
    } catch (error) {
      showFault(this.fault, faultOf(error));
      this.check();
    }
  }

  private showList(reports: readonly ReportedMine[]): void {
    if (!reports.length) {
      replace(this.list, el("li", { class: "hint" }, t("reports_none")));
      return;
    }
    replace(this.list, ...[...reports].reverse().map((one) => this.row(one)));
  }

  private row(report: ReportedMine): HTMLElement {
    const rings = outerRings(report.geometry);
    const size = hectares(rings.reduce((sum, ring) => sum + ringHectares(ring), 0));
    const title = report.name || t("report_unnamed");
    return el(
      "li",
      {},
      button(title, () => this.app.map.fit(boxOfRings(rings), 16), { class: "plain", title: t("show_on_map") }),
      report.own &&
        iconButton(icon("close"), t("report_take_back", { name: title }), () => void this.takeBack(report, title), { class: "icon" }),
      el("p", { class: "hint" }, [size, report.who, moment(report.when)].filter(Boolean).join(" · ")),
      report.note && el("q", {}, report.note),
    );
  }

  private async takeBack(report: ReportedMine, title: string): Promise<void> {
    if (!window.confirm(t("report_take_back_sure", { name: title }))) return;
    try {
      await api.takeBackReport(report.label_id);
      await this.reported.load(currentArea(this.app)?.name ?? null);
    } catch (error) {
      tellFault(error);
    }
  }
}
