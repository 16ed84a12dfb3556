// Sums by district and by protected area: a chart, which is also the table, and its CSV.

import { type App, currentArea, tellFault } from "../app";
import * as api from "../base/api";
import { button, el, replace } from "../base/dom";
import { look } from "../base/state";
import type { Statistic } from "../base/types";
import { capital, number, period as periodWords, t } from "../base/words";
import { downloadLink, downloadsTold } from "./downloads";

type By = "district" | "protected";

export class Statistics {
  readonly root: HTMLElement;
  private readonly table = el("div", { class: "sums" });
  private readonly told = el("p", { class: "count", role: "status" });
  private readonly csv: HTMLAnchorElement;
  private readonly tabs: Record<By, HTMLButtonElement>;
  private by: By = "district";
  private asked = 0;

  constructor(private readonly app: App) {
    const downloads = downloadsTold();
    this.csv = downloadLink(t("download_csv"), "", downloads);
    this.csv.hidden = api.isPublished;
    this.tabs = {
      district: button(t("by_district"), () => this.choose("district")),
      protected: button(t("by_protected"), () => this.choose("protected")),
    };
    this.root = el(
      "section",
      { class: "list statistics", "aria-label": t("tab_statistics") },
      el("div", { class: "switch", role: "group", "aria-label": t("sum_by") }, this.tabs.district, this.tabs.protected),
      this.told,
      this.table,
      el("p", { class: "hint" }, t("sums_hint")),
      this.csv,
      downloads,
    );
  }

  private choose(by: By): void {
    this.by = by;
    void this.load();
  }

  async load(): Promise<void> {
    const area = currentArea(this.app);
    if (!area) return;
    const mine = ++this.asked;
    const { period } = look();
    for (const by of ["district", "protected"] as const) {
      this.tabs[by].setAttribute("aria-pressed", String(by === this.by));
    }
    this.csv.href = api.address("/api/statistics.csv", api.statisticsQuery(area.name, this.by, period));
    try {
      const sums = await api.statistics(area.name, this.by, period);
      if (mine !== this.asked) return;
      this.told.textContent = period ? periodWords(period.start, period.end) : t("latest");
      this.render(sums);
    } catch (error) {
      tellFault(error);
    }
  }

  private render(sums: Statistic[]): void {
    if (!sums.length) {
      replace(this.table, el("p", { class: "hint" }, t("no_sums")));
      return;
    }
    const most = Math.max(...sums.map((sum) => sum.hectares), 0.1);
    const rows = [...sums]
      .sort((one, other) => other.hectares - one.hectares)
      .map((sum) => {
        const bar = el("span", { class: "sum-bar", "aria-hidden": "true" }, el("span", { class: "fresh" }));
        bar.style.setProperty("--share", `${(100 * sum.hectares) / most}%`);
        bar.style.setProperty("--fresh", `${(100 * Math.min(sum.new_hectares, sum.hectares)) / Math.max(sum.hectares, 0.01)}%`);
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, sum.name || capital(t("elsewhere")), bar),
          el("td", {}, number(sum.sites)),
          el("td", {}, number(sum.hectares, 1)),
          el("td", {}, number(sum.new_hectares, 1)),
          el("td", {}, number(sum.alerts)),
        );
      });
    const head = ["sum_name", "sum_sites", "sum_hectares", "sum_new", "sum_alerts"].map((name) =>
      el("th", { scope: "col" }, NAMES[name]!()),
    );
    replace(
      this.table,
      el(
        "div",
        { class: "wide", tabindex: 0, role: "region", "aria-label": t("tab_statistics") },
        el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)),
      ),
    );
  }
}

const NAMES: Record<string, () => string> = {
  sum_name: () => t("sum_name"),
  sum_sites: () => t("sum_sites"),
  sum_hectares: () => t("sum_hectares"),
  sum_new: () => t("sum_new"),
  sum_alerts: () => t("sum_alerts"),
};
