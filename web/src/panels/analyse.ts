// Ask for an analysis: an area that is drawn or followed already, a period, and what stands in the way.

import { type App, currentArea, faultOf, showFault, tell } from "../app";
import * as api from "../base/api";
import { add, el, replace } from "../base/dom";
import { hectares, number, t } from "../base/words";
import { boxOfRings, ringHectares, type Ring } from "../map/rings";
import type { SketchState } from "../map/sketch";
import { openSketch } from "../map/sketch_panel";
import type { Jobs } from "./jobs";
import { select } from "./lists";

/** Months of each, and its text. */
const EVERY: Record<string, [number, string]> = {
  none: [0, "every_none"],
  month: [1, "every_month"],
  quarter: [3, "every_quarter"],
  "4months": [4, "every_4months"],
  "half-year": [6, "every_half_year"],
  year: [12, "every_year"],
};
const MONTH = /^\d{4}-(0[1-9]|1[0-2])$/;
const NAME_CUT = 90;
/** What the service opens; it looks into the file itself, whatever its name. */
const FILES = ".geojson,.json,.gpkg,.kml,.fgb";
/** As much larger may the box around an area be than the largest area. */
const BOX_SHARE = 10;

/** Goes to an area that is followed since a moment. */
export type Followed = (area: string) => Promise<void>;

/** Let a person ask for an analysis; gives what closes it. */
export function startAnalysing(
  app: App,
  jobs: Jobs,
  place: HTMLElement,
  followed: Followed,
  ended: () => void,
): () => void {
  const form = new AnalysisForm(app, jobs, followed);
  const panel = openSketch(app, {
    title: t("analyse"),
    place,
    above: form.where,
    changed: (state) => form.drawn(state),
    ended,
  });
  panel.root.classList.add("analyse");
  panel.below.append(form.root);
  form.sent = () => panel.sketch.take([]);
  form.chosen = (stored) => panel.root.classList.toggle("stored", stored);
  form.begin();
  void jobs.load().then(
    () => form.begin(),
    (error: unknown) => form.refuse(error),
  );
  return panel.stop;
}

class AnalysisForm {
  readonly where = el("fieldset", { class: "where" });
  readonly root: HTMLFormElement;
  sent: () => void = () => undefined;
  chosen: (stored: boolean) => void = () => undefined;
  private readonly choice = el("div");
  private readonly file = el("input", { type: "file", accept: FILES, name: "file", onchange: () => void this.take() });
  private readonly fileFault = el("p", { class: "fault of-drawn", role: "alert" });
  private readonly name = el("input", { maxlength: NAME_CUT, autocomplete: "off", name: "area" });
  private readonly first = month("first");
  private readonly last = month("last");
  private readonly told = el("p", { class: "hint", role: "status" });
  private readonly faults = el("ul", { class: "faults", role: "alert" });
  private readonly refused = el("p", { class: "fault", role: "alert" });
  private readonly send = el("button", { type: "submit", class: "button main" }, t("analyse"));
  private readonly model = el("p", { class: "hint" });
  private stored: string | null = null;
  private every = "none";
  private state: SketchState | null = null;
  private sending = false;

  constructor(
    private readonly app: App,
    private readonly jobs: Jobs,
    private readonly followed: Followed,
  ) {
    add(
      this.where,
      this.choice,
      el("label", { class: "of-drawn" }, t("area_file"), this.file),
      this.fileFault,
    );
    const end = new Date();
    end.setUTCDate(0);
    this.last.value = monthName(end);
    end.setUTCMonth(end.getUTCMonth() - 2, 1);
    this.first.value = monthName(end);
    for (const field of [this.name, this.first, this.last]) field.addEventListener("input", () => this.check());
    const every = select(
      t("every"),
      Object.entries(EVERY).map(([one, [, name]]): [string, string] => [one, t(name)]),
      (value) => {
        this.every = value;
        this.check();
      },
    );
    this.root = el(
      "form",
      { class: "work-form", novalidate: true, onsubmit: (event: Event) => void this.submit(event) },
      el("label", { class: "of-drawn" }, t("area_name"), this.name),
      el(
        "div",
        { class: "months" },
        el("label", {}, t("first_month"), this.first),
        el("label", {}, t("last_month"), this.last),
      ),
      every,
      this.model,
      this.told,
      this.faults,
      this.refused,
      this.send,
      el("h4", {}, t("jobs_mine")),
      this.jobs.root,
    );
  }

  /** Offer what may be asked for, as far as it is known. */
  begin(): void {
    const { limits } = this.jobs;
    const drawing = limits?.new_areas !== false;
    const area = currentArea(this.app)?.name ?? null;
    if (!drawing) this.stored = this.stored ?? area;
    this.name.value ||= this.newName();
    const areas = this.app.areas.map((one): [string, string] => [one.name, one.name]);
    const choices: [string, string][] = [...(drawing ? [["", t("where_drawn")] as [string, string]] : []), ...areas];
    this.file.disabled = !drawing;
    replace(
      this.choice,
      select(
        t("where"),
        choices,
        (name) => {
          this.stored = name || null;
          this.chosen(this.stored !== null);
          this.check();
        },
        this.stored ?? "",
      ),
    );
    if (limits?.model) this.model.textContent = t("model_is", { model: limits.model });
    this.chosen(this.stored !== null);
    this.check();
  }

  drawn(state: SketchState): void {
    this.state = state;
    this.check();
  }

  refuse(error: unknown): void {
    showFault(this.refused, faultOf(error));
  }

  /** Follow the area of the chosen file, named as somebody wrote or else as the file is. */
  private async take(): Promise<void> {
    const [file] = this.file.files ?? [];
    if (!file) return;
    const written = this.name.value.trim();
    const name = written && written !== this.newName() ? written : this.freeName(nameOfFile(file.name));
    this.fileFault.textContent = "";
    this.sending = true;
    this.file.disabled = true;
    this.check();
    try {
      const { hectares: size } = await api.addArea(name, file);
      await this.followed(name);
      this.stored = name;
      tell(t("area_added", { area: name, size: hectaresOrKm2(size) }));
      this.name.value = "";
    } catch (error) {
      showFault(this.fileFault, faultOf(error));
    }
    this.sending = false;
    this.file.value = "";
    this.begin();
    if (this.stored !== null) this.choice.querySelector("select")?.focus();
  }

  /** A name that no area has yet. */
  private newName(): string {
    const known = new Set(this.app.areas.map((area) => area.name));
    for (let n = 1; ; n++) {
      const name = t("new_area", { n: String(n) });
      if (!known.has(name)) return name;
    }
  }

  private freeName(wanted: string): string {
    const known = new Set(this.app.areas.map((area) => area.name));
    if (!wanted) return this.newName();
    if (!known.has(wanted)) return wanted;
    for (let n = 2; ; n++) if (!known.has(`${wanted} ${n}`)) return `${wanted} ${n}`;
  }

  private check(): boolean {
    const { limits } = this.jobs;
    const faults: string[] = [];
    const told: string[] = [];
    const km2 = this.checkArea(faults, told);
    if (limits && km2 !== null && km2 > limits.km2) {
      faults.push(t("too_large", { area: number(km2), most: number(limits.km2) }));
    }
    this.checkPeriod(faults, told);
    if (limits && this.jobs.open.length >= limits.open_per_person) {
      faults.push(t("too_many_jobs", { n: limits.open_per_person }));
    }
    const words = told.join(" · ");
    if (this.told.textContent !== words) this.told.textContent = words;
    if (faults.join() !== [...this.faults.children].map((one) => one.textContent).join()) {
      replace(this.faults, ...faults.map((one) => el("li", {}, one)));
    }
    this.send.disabled = this.sending || faults.length > 0 || km2 === null || !limits;
    return !this.send.disabled;
  }

  /** Square kilometres of what is to be analysed; null where there is nothing yet. */
  private checkArea(faults: string[], told: string[]): number | null {
    const { limits } = this.jobs;
    if (this.stored !== null) {
      const area = this.app.areas.find((one) => one.name === this.stored);
      if (!area) return null;
      told.push(hectaresOrKm2(area.hectares));
      return area.hectares / 100;
    }
    const name = this.name.value.trim();
    if (!name) faults.push(t("name_missing"));
    else if (this.app.areas.some((area) => area.name === name)) faults.push(t("name_taken", { area: name }));
    const { state } = this;
    if (!state || state.drawing || !state.shape) {
      told.push(t("draw_first"));
      return null;
    }
    told.push(hectaresOrKm2(state.hectares));
    const vertices = state.rings.reduce((sum, ring) => sum + ring.length, 0);
    if (limits && vertices > limits.vertices) faults.push(t("too_many_corners", { n: vertices, most: number(limits.vertices) }));
    const box = boxKm2(state.rings);
    if (limits && box > BOX_SHARE * limits.km2) faults.push(t("too_spread", { area: number(box) }));
    // What is wrong with the shape itself is told beside its tools.
    return state.fault ? null : state.hectares / 100;
  }

  private checkPeriod(faults: string[], told: string[]): void {
    const { limits } = this.jobs;
    const [first, last] = [this.first.value, this.last.value];
    if (!MONTH.test(first) || !MONTH.test(last)) {
      faults.push(t("month_form"));
      return;
    }
    const [from, to] = [months(first), months(last)];
    if (to < from) faults.push(t("month_order"));
    else if (from > months(monthName(new Date()))) faults.push(t("month_future"));
    else {
      const days = (Date.UTC(Math.floor((to + 1) / 12), (to + 1) % 12) - Date.UTC(Math.floor(from / 12), from % 12)) / 86_400_000;
      const length = EVERY[this.every]?.[0] ?? 0;
      const maps = length ? Math.ceil((to - from + 1) / length) : 1;
      told.push(t("maps_made", { n: maps }));
      if (limits && days > limits.days) faults.push(t("too_long", { n: days, most: number(limits.days) }));
      if (limits && maps > limits.periods) faults.push(t("too_many_maps", { n: maps, most: number(limits.periods) }));
    }
  }

  private async submit(event: Event): Promise<void> {
    event.preventDefault();
    if (!this.check()) return;
    this.sending = true;
    this.refused.textContent = "";
    this.check();
    const period = { first: this.first.value, last: this.last.value, every: this.every };
    const shape = this.state?.shape;
    try {
      const area = this.stored ?? { name: this.name.value.trim(), geometry: shape! };
      const job = await this.jobs.ask({ area, ...period });
      tell(t("job_asked", { area: job.area }));
      if (this.stored === null) {
        this.name.value = "";
        this.sent();
      }
      this.root.querySelector<HTMLElement>(`[data-job="${job.job_id}"] button`)?.focus();
    } catch (error) {
      this.refuse(error);
    }
    this.sending = false;
    this.name.value ||= this.newName();
    this.check();
  }
}

const month = (name: string): HTMLInputElement =>
  el("input", { type: "month", name, required: true, placeholder: "2024-01", min: "2015-06" });

/** Without its ending, and of the characters that the name of an area may have. */
function nameOfFile(file: string): string {
  const words = file.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_.-]+/gu, " ");
  return words.replace(/^[ .-]+/, "").slice(0, NAME_CUT).replace(/[ .]+$/, "");
}

const monthName = (day: Date): string => day.toISOString().slice(0, 7);

/** Months since the year 0. */
function months(name: string): number {
  const [year = 0, of = 1] = name.split("-").map(Number);
  return 12 * year + of - 1;
}

function hectaresOrKm2(size: number): string {
  return size < 10_000 ? hectares(size) : `${number(size / 100)}\u00a0km²`;
}

function boxKm2(rings: readonly Ring[]): number {
  const [west, south, east, north] = boxOfRings(rings);
  return ringHectares([[west, south], [east, south], [east, north], [west, north], [west, south]]) / 100;
}
