// The lists beside the map: alerts by priority, and all sites, both with filters.

import { type App, currentArea, tellFault } from "../app";
import * as api from "../base/api";
import { add, button, el, replace } from "../base/dom";
import { go, look } from "../base/state";
import { LEVELS, STATUSES, type Alert, type Level, type Site, type Status, type Verdict } from "../base/types";
import { areaOf, capital, date, hectares, number, percent, t, word } from "../base/words";
import { mark } from "../map/symbols";
import { isTold } from "./site_facts";

const PAGE = 100;

interface Item {
  site_id: string;
  status: Status;
  verdict: Verdict | null;
  title: string;
  figures: string[];
  level: Level | null;
  /** Null where it is withheld. */
  priority: number | null;
}

interface Answer {
  items: Item[];
  total: number;
}

interface Filter {
  level: Level | "";
  status: Status | "";
  unreviewed: boolean;
}

const fromAlert = (alert: Alert): Item => ({
  site_id: alert.site_id,
  status: alert.status ?? alert.site_status ?? "new",
  verdict: alert.verdict ?? null,
  title: capital(word("alert_kind", alert.kind)),
  figures: [
    date(alert.raised),
    ...(alert.growth_ha ? [`+${hectares(alert.growth_ha)}`] : []),
    ...(alert.growth_ha || !isTold(alert.posterior) ? [] : [percent(alert.posterior)]),
  ],
  level: alert.level,
  priority: alert.priority ?? null,
});

const fromSite = (site: Site): Item => ({
  site_id: site.site_id,
  status: site.status,
  verdict: site.verdict,
  title: capital(word("status", site.status)),
  figures: [
    areaOf(site) || t("no_area"),
    t("since", { date: date(site.first_seen) }),
  ],
  level: site.level,
  priority: site.priority ?? null,
});

export class SiteList {
  readonly root: HTMLElement;
  private readonly list = el("ul", { class: "items" });
  private readonly told = el("p", { class: "count", role: "status" });
  private readonly more: HTMLButtonElement;
  private readonly filter: Filter = { level: "", status: "", unreviewed: false };
  private items: Item[] = [];
  private total = 0;
  private asked = 0;

  constructor(
    private readonly app: App,
    private readonly kind: "alerts" | "sites",
  ) {
    this.more = button(t("show_more"), () => void this.load(this.items.length), { class: "more" });
    this.root = el(
      "section",
      { class: "list", "aria-label": t(kind === "alerts" ? "tab_alerts" : "tab_sites") },
      this.filters(),
      this.told,
      this.list,
      this.more,
    );
  }

  private filters(): HTMLElement {
    const level = select(
      t("filter_level"),
      [["", t("any_level")], ...LEVELS.map((one): [string, string] => [one, capital(word("level", one))])],
      (value) => this.change({ level: value as Level | "" }),
    );
    const status = select(
      t("filter_status"),
      [["", t("any_status")], ...STATUSES.map((one): [string, string] => [one, capital(word("status", one))])],
      (value) => this.change({ status: value as Status | "" }),
    );
    const unreviewed = el("input", {
      type: "checkbox",
      onchange: (event: Event) =>
        this.change({ unreviewed: (event.target as HTMLInputElement).checked }),
    });
    return el(
      "div",
      { class: "filters" },
      level,
      this.kind === "sites" && status,
      !api.isPublished && el("label", { class: "check" }, unreviewed, t("only_unreviewed")),
    );
  }

  private change(change: Partial<Filter>): void {
    Object.assign(this.filter, change);
    void this.load();
  }

  /** The sites in the list's order, each once. */
  get siteIds(): string[] {
    return [...new Set(this.shown().map((item) => item.site_id))];
  }

  async load(offset = 0): Promise<void> {
    const area = currentArea(this.app);
    if (!area) return;
    const mine = ++this.asked;
    try {
      const { items, total } = await this.ask(area.name, offset);
      // An answer that was overtaken is dropped.
      if (mine !== this.asked) return;
      this.items = offset ? [...this.items, ...items] : items;
      this.total = total;
      this.render();
    } catch (error) {
      tellFault(error);
    }
  }

  private async ask(area: string, offset: number): Promise<Answer> {
    const { level, status } = this.filter;
    const query = { area, level, limit: PAGE, offset };
    if (this.kind === "alerts") {
      const { alerts, total } = await api.alerts(query);
      return { items: alerts.map(fromAlert), total };
    }
    const { sites, total } = await api.sites({ ...query, status });
    return { items: sites.map(fromSite), total };
  }

  private shown(): Item[] {
    const items = this.items.map((item) => ({
      ...item,
      verdict: this.app.given.get(item.site_id) ?? item.verdict,
    }));
    return this.filter.unreviewed ? items.filter((item) => !item.verdict) : items;
  }

  render(): void {
    const shown = this.shown();
    replace(this.list, ...shown.map((item) => this.row(item)));
    this.told.textContent = shown.length
      ? t(this.kind === "alerts" ? "alerts_count" : "sites_count", { n: this.total })
      : t(this.kind === "alerts" ? "no_alerts" : "no_sites");
    this.more.hidden = this.items.length >= this.total;
    if (look().tab === this.kind) this.app.queue = this.siteIds;
  }

  private row(item: Item): HTMLElement {
    const chosen = look().site === item.site_id;
    const row = el(
      "button",
      {
        type: "button",
        class: "row",
        "data-site": item.site_id,
        "aria-current": chosen ? "true" : null,
        onclick: () => go({ site: item.site_id }),
      },
      mark(item.status, item.verdict, 26),
      el(
        "span",
        { class: "what" },
        el(
          "span",
          { class: "title" },
          item.title,
          item.level && el("span", { class: `chip level-${item.level}` }, word("level", item.level)),
          item.verdict && el("span", { class: `chip verdict-${item.verdict}` }, word("verdict", item.verdict)),
        ),
        el("span", { class: "figures" }, item.figures.join(" · ")),
        el("span", { class: "id" }, item.site_id),
      ),
      item.priority !== null && rank(item.priority),
    );
    return el("li", {}, row);
  }

  /** Mark the chosen site, and bring its row into sight. */
  choose(id: string | null): void {
    for (const row of this.list.querySelectorAll<HTMLElement>("[data-site]")) {
      const mine = row.dataset["site"] === id;
      if (mine) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      if (mine) row.scrollIntoView({ block: "nearest" });
    }
  }
}

/** The priority as a number and a bar. */
function rank(points: number): HTMLElement {
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${Math.min(100, points)}%`);
  return el(
    "span",
    { class: "rank" },
    el("span", { class: "priority", title: t("priority_title"), "aria-hidden": "true" }, number(points)),
    bar,
    el("span", { class: "unseen" }, `${t("priority")} ${number(points)}`),
  );
}

/** A labelled choice. */
export function select(
  label: string,
  options: [string, string][],
  changed: (value: string) => void,
  chosen = "",
): HTMLElement {
  const field = el("select", {
    onchange: (event: Event) => changed((event.target as HTMLSelectElement).value),
  });
  for (const [value, words] of options) {
    add(field, el("option", { value, selected: value === chosen }, words));
  }
  return el("label", { class: "select" }, el("span", {}, label), field);
}
