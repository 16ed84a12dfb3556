// The lists beside the map: alerts by priority, and all sites, both with filters.

import { type App, type Queued, currentArea, periodsOfSite, tellFault } from "../app";
import * as api from "../base/api";
import { add, button, el, replace } from "../base/dom";
import { go, look } from "../base/state";
import { LEVELS, STATUSES, type Alert, type Level, type Period, type Site, type Status, type Verdict } from "../base/types";
import { areaOf, capital, date, hectares, metres, number, percent, periodWith, t, text, word } from "../base/words";
import { mark } from "../map/symbols";
import { isTold } from "./site_facts";

const PAGE = 100;

interface Item {
  /** Of the alert, else of the site. */
  id: string;
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
  id: alert.alert_id,
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

const fromSite = (site: Site, known: readonly Period[]): Item => ({
  id: site.site_id,
  site_id: site.site_id,
  status: site.status,
  verdict: site.verdict,
  title: capital(word("status", site.status)),
  figures: [
    areaOf(site) || t("no_area"),
    t("since", { period: periodWith("start", site.first_seen, known) }),
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
  /** Sites without a verdict of pages that are not shown yet. */
  private ahead: Item[] = [];
  /** How many the service had, and how many of those here it listed no more then. */
  private total = 0;
  private gone = 0;
  private asked = 0;

  constructor(
    private readonly app: App,
    private readonly kind: "alerts" | "sites",
  ) {
    this.more = button(t("show_more"), () => void this.loadMore(), { class: "more" });
    const withheld = app.session.withheld_m;
    this.root = el(
      "section",
      { class: "list", "aria-label": t(kind === "alerts" ? "tab_alerts" : "tab_sites") },
      this.filters(),
      this.told,
      withheld && !api.isPublished && el("p", { class: "hint withheld" }, text("export.all_redacted", { size: metres(withheld) })),
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

  /** Those that the service lists no more: verdicts that were given since take them out of it. */
  private goneFrom(items: readonly Item[]): number {
    return items.filter(({ site_id }) => {
      const given = this.app.given.get(site_id);
      return this.filter.unreviewed ? given : this.kind === "alerts" && given === "rejected";
    }).length;
  }

  /** How many more there are. */
  private get rest(): number {
    return this.total + this.gone - this.items.length;
  }

  async load(): Promise<void> {
    await this.fetch(0);
  }

  /** The next page; false where nothing came. */
  private loadMore(): Promise<boolean> {
    return this.fetch(this.items.length - this.goneFrom(this.items));
  }

  private async fetch(offset: number): Promise<boolean> {
    const area = currentArea(this.app);
    if (!area) return false;
    const mine = ++this.asked;
    try {
      const { items, total } = await this.ask(area.name, offset, this.filter.unreviewed);
      // An answer that was overtaken is dropped.
      if (mine !== this.asked) return false;
      const before = offset ? this.items : [];
      if (!offset) this.ahead = [];
      const known = new Set(before.map((item) => item.id));
      this.items = [...before, ...items.filter((item) => !known.has(item.id))];
      const came = this.items.length > before.length;
      this.total = total;
      this.gone = this.goneFrom(this.items);
      // What others did meanwhile may leave less than was told.
      if (!came) this.total = this.items.length - this.gone;
      this.render();
      return came;
    } catch (error) {
      tellFault(error);
      return false;
    }
  }

  /** For `App.more`. */
  private async walkFurther(unreviewed: boolean): Promise<boolean> {
    const area = currentArea(this.app);
    if (!unreviewed || this.filter.unreviewed || !area) return this.loadMore();
    try {
      const { items } = await this.ask(area.name, 0, true);
      const known = new Set(this.queue.map((one) => one.id));
      const fresh = items.filter((item) => !known.has(item.site_id));
      this.ahead.push(...fresh);
      this.render();
      return fresh.length > 0;
    } catch (error) {
      tellFault(error);
      return false;
    }
  }

  private async ask(area: string, offset: number, unreviewed: boolean): Promise<Answer> {
    const { level, status } = this.filter;
    const query = { area, level, limit: PAGE, offset, verdict: unreviewed ? "none" : null };
    if (this.kind === "alerts") {
      const { alerts, total } = await api.alerts(query);
      return { items: alerts.map(fromAlert), total };
    }
    const { sites, total } = await api.sites({ ...query, status });
    return { items: sites.map((site) => fromSite(site, periodsOfSite(this.app, site))), total };
  }

  private shown(): Item[] {
    const items = this.items.map((item) => ({
      ...item,
      verdict: this.app.given.get(item.site_id) ?? item.verdict,
    }));
    return this.filter.unreviewed ? items.filter((item) => !item.verdict) : items;
  }

  /** The sites in the list's order, each once; those that were reviewed meanwhile keep their place. */
  private get queue(): Queued[] {
    const found = new Map<string, Queued>();
    for (const { site_id: id, verdict } of [...this.items, ...this.ahead]) {
      if (!found.has(id)) found.set(id, { id, verdict });
    }
    return [...found.values()];
  }

  render(): void {
    const shown = this.shown();
    replace(this.list, ...shown.map((item) => this.row(item)));
    const told = shown.length + this.rest;
    this.told.textContent = told
      ? t(this.kind === "alerts" ? "alerts_count" : "sites_count", { n: told })
      : t(this.noneTold());
    this.more.hidden = this.rest <= 0;
    if (look().tab === this.kind) {
      this.app.queue = this.queue;
      this.app.more = this.rest > 0 ? (unreviewed) => this.walkFurther(unreviewed) : null;
    }
  }

  /** Why nothing is shown: an empty list is told from one that a filter left empty. */
  private noneTold(): string {
    const { level, status, unreviewed } = this.filter;
    if (unreviewed) return "none_unreviewed";
    const filtered = Boolean(level || (this.kind === "sites" && status));
    // What lies in a cell of another area, or is held back, is not here either.
    if (this.app.session.withheld_m && !filtered) return "none_withheld";
    if (!filtered && !currentArea(this.app)?.periods.length) return "not_analysed";
    if (this.kind === "sites") return "no_sites";
    return filtered ? "no_alerts_fit" : "no_alerts";
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
