// The page: bar, lists, map, site; on a phone the lists and the site are a sheet over the map.

import { type App, areaLabel, mayAnalyse, mayCompare, mayReview, tellFault } from "../app";
import { isPublished } from "../base/api";
import { announce, button, drawing, el, icon, iconButton, replace } from "../base/dom";
import { go, look, type Tab } from "../base/state";
import type { Job, Status } from "../base/types";
import { capital, language, t, word } from "../base/words";
import { layerWord } from "../map/layer_styles";
import type { Room } from "../map/site_map";
import { showTerrain } from "../map/terrain";
import type { Reported } from "../map/reported";
import { person, showExports, showHelp } from "./dialogs";
import { Jobs } from "./jobs";
import { Legend } from "./legend";
import { SiteList, select } from "./lists";
import { showReturned } from "./returned";
import { Search } from "./search";
import { SitePanel } from "./site_panel";
import { Statistics } from "./statistics";
import { TimeSlider } from "./time_slider";
import { notTakenLine, unsentLine } from "./unsent";

const TABS: readonly Tab[] = ["alerts", "sites", "statistics"];
/** Of the map, in pixels: where it is narrower the legend is in the way. */
const NARROW = 700;
const LANGUAGE_NAMES: Record<string, string> = {
  en: "English",
  fr: "Français",
  es: "Español",
  pt: "Português",
};

interface Deeds {
  compare: () => void;
  language: (code: string) => void;
  reviewed: (id: string) => void;
  landed: (job: Job) => void;
  followed: (area: string) => Promise<void>;
}

/** What is drawn, each with its tool. */
type Work = "measure" | "analyse" | "report" | "redraw";

export class Frame {
  readonly root = el("div", { class: "frame" });
  readonly mapPlace = el("div", { class: "map" });
  readonly slider: TimeSlider;
  readonly legend: Legend;
  readonly site: SitePanel;
  readonly alerts: SiteList;
  readonly sites: SiteList;
  readonly statistics: Statistics;
  readonly search: Search;
  private readonly tabs = new Map<Tab, HTMLButtonElement>();
  private readonly side = el("nav", { class: "side", "aria-label": t("lists") });
  private readonly stage = el("main", { class: "stage", "aria-label": t("map_label") });
  private readonly tip = el("div", { class: "tip", hidden: true });
  private readonly terrain: HTMLButtonElement | null;
  private readonly areaPlace = el("span", { class: "area-place" });
  private readonly start = el("section", { class: "start", "aria-labelledby": "start-title" });
  /** Null for those who may not ask for analyses. */
  readonly jobs: Jobs | null;
  /** Once the map is there. */
  reported: Reported | null = null;
  private drawing: { work: Work; stop: () => void } | null = null;
  private readonly workTools = new Map<Work, HTMLButtonElement>();
  private legendFolded = false;

  constructor(
    private readonly app: App,
    private readonly deeds: Deeds,
  ) {
    this.terrain = app.elevation && iconButton(icon("terrain"), t("terrain"), () => this.showTerrain(), { "aria-pressed": "false", class: "icon tool-terrain" });
    this.search = new Search(app);
    this.slider = new TimeSlider(app);
    this.legend = new Legend(app);
    this.alerts = new SiteList(app, "alerts");
    this.sites = new SiteList(app, "sites");
    this.statistics = new Statistics(app);
    this.site = new SitePanel(app, deeds.compare, deeds.reviewed, () => void this.work("redraw"), () => showReturned(app));
    this.jobs = mayAnalyse(app)
      ? new Jobs(app, deeds.landed, (open) => this.tellOpenJobs(open), (area) => this.goToArea(area))
      : null;
    this.stage.append(this.mapPlace, this.tools(), this.legend.root, this.slider.root, this.tip);
    this.tellOpenJobs(0);
    this.side.append(this.handle(), this.start, this.tabBar(), this.alerts.root, this.sites.root, this.statistics.root);
    replace(
      this.root,
      el("a", { class: "skip", href: "#list", onclick: (event: Event) => this.skip(event) }, t("skip")),
      this.bar(),
      this.side,
      this.stage,
      this.site.root,
      el("div", { id: "toast", class: "toast", "aria-hidden": "true" }),
    );
  }

  private skip(event: Event): void {
    event.preventDefault();
    const first = this.app.areas.length ? ".list:not([hidden]) .row, .list:not([hidden]) button" : ".start button";
    this.side.querySelector<HTMLElement>(first)?.focus();
  }

  private bar(): HTMLElement {
    const { app } = this;
    this.showAreas();
    const languages = app.session.languages.map((code): [string, string] => [code, LANGUAGE_NAMES[code] ?? code]);
    return el(
      "header",
      { class: "top" },
      el("span", { class: "brand" }, logo(), "Sluice"),
      this.areaPlace,
      this.search.root,
      el("span", { class: "grow" }),
      unsentLine(),
      notTakenLine(),
      !isPublished && button(t("export"), () => showExports(app), { class: "plain of-areas" }),
      select(t("language"), languages, this.deeds.language, language),
      button(t("help"), () => showHelp(app), { class: "plain", "aria-keyshortcuts": "?" }),
      person(app),
    );
  }

  /** Offer the areas that there are now. */
  showAreas(): void {
    const areas = this.app.areas.map((area): [string, string] => [area.name, areaLabel(area.name)]);
    this.root.classList.toggle("first-area", !areas.length);
    replace(
      this.areaPlace,
      areas.length > 1
        ? select(t("choose_area"), areas, (name) => this.goToArea(name), look().area ?? "")
        : el("span", { class: "area-name" }, areas[0]?.[1]),
    );
  }

  private goToArea(name: string): void {
    go({ area: name, site: null, period: null });
    // Where it is the one that was shown the view may still be elsewhere.
    const area = this.app.areas.find((one) => one.name === name);
    if (area) this.app.map.fit(area.bbox);
  }

  private tellOpenJobs(open: number): void {
    const tool = this.workTools.get("analyse");
    if (!tool) return;
    if (open) tool.dataset["open"] = String(open);
    else delete tool.dataset["open"];
    const label = open ? `${t("analyse")} (${t("jobs_open", { n: open })})` : t("analyse");
    tool.setAttribute("aria-label", label);
    tool.title = label;
    if (!this.app.areas.length) this.showStart(open);
  }

  /** In place of the lists while there is no area: what to do, or what is on its way. */
  private showStart(open: number): void {
    const waits = String(open > 0);
    if (this.start.dataset["waits"] === waits) return;
    this.start.dataset["waits"] = waits;
    const work = (): void => void this.work("analyse");
    replace(
      this.start,
      el("h2", { id: "start-title" }, t("start_title")),
      el("p", { role: "status" }, t(open ? "start_waits" : "start_what")),
      button(t(open ? "jobs_mine" : "start_draw"), work, { class: open ? "button" : "button main" }),
    );
  }

  private tools(): HTMLElement {
    const home = (): void => {
      const area = this.app.areas.find((one) => one.name === look().area) ?? this.app.areas[0];
      if (area) this.app.map.fit(area.bbox);
    };
    return el(
      "div",
      { class: "tools", role: "toolbar", "aria-label": t("tools") },
      iconButton(icon("home"), t("whole_area"), home),
      this.terrain,
      mayCompare(this.app) && iconButton(icon("compare"), t("compare"), this.deeds.compare),
      !isPublished && this.workTool("measure", "draw", t("draw")),
      mayReview(this.app) && this.workTool("report", "report", t("report_mine")),
      mayAnalyse(this.app) && this.workTool("analyse", "analyse", t("analyse")),
    );
  }

  private workTool(work: Work, name: "draw" | "report" | "analyse", label: string): HTMLButtonElement {
    const made = iconButton(icon(name), label, () => void this.work(work), { "aria-pressed": "false", class: `icon tool-${work}` });
    this.workTools.set(work, made);
    return made;
  }

  /** Begin to draw; what was drawn before ends, and the same tool again ends it too. */
  private async work(work: Work): Promise<void> {
    const before = this.drawing?.work;
    this.drawing?.stop();
    if (before === work) return;
    try {
      const draw = await import("../map/draw");
      if (look().compare) go({ compare: null });
      const { app, stage, jobs, reported } = this;
      const ended = (): void => {
        this.drawing = null;
        this.root.classList.remove("draws");
        this.foldLegend();
        for (const tool of this.workTools.values()) tool.setAttribute("aria-pressed", "false");
        app.map.gl.resize();
        this.workTools.get(work)?.focus({ preventScroll: true });
      };
      this.root.classList.add("draws");
      app.map.gl.resize();
      const stop =
        work === "analyse" && jobs
          ? draw.startAnalysing(app, jobs, stage, this.deeds.followed, ended)
          : work === "report" && reported
            ? draw.startReporting(app, reported, stage, ended)
            : work === "redraw" && app.detail
              ? draw.startRedrawing(app, app.detail, this.site.review, stage, ended)
              : draw.startDrawing(app, stage, ended);
      this.drawing = { work, stop };
      this.foldLegend();
      this.workTools.get(work)?.setAttribute("aria-pressed", "true");
    } catch (error) {
      tellFault(error);
    }
  }

  /** A site that is left takes the drawing of its outline along. */
  leaveSite(): void {
    if (this.drawing?.work === "redraw") this.drawing.stop();
  }

  private tabBar(): HTMLElement {
    const names: Record<Tab, string> = {
      alerts: t("tab_alerts"),
      sites: t("tab_sites"),
      statistics: t("tab_statistics"),
    };
    for (const tab of TABS) {
      this.tabs.set(
        tab,
        button(names[tab], () => go({ tab }), { role: "tab", id: `tab-${tab}`, "aria-controls": `list-${tab}` }),
      );
    }
    const panels = { alerts: this.alerts.root, sites: this.sites.root, statistics: this.statistics.root };
    for (const tab of TABS) {
      panels[tab].id = `list-${tab}`;
      panels[tab].setAttribute("role", "tabpanel");
    }
    return el(
      "div",
      {
        class: "tabs",
        role: "tablist",
        onkeydown: (event: KeyboardEvent) => this.walkTabs(event),
      },
      ...this.tabs.values(),
    );
  }

  private walkTabs(event: KeyboardEvent): void {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = TABS[(TABS.indexOf(look().tab) + step + TABS.length) % TABS.length]!;
    go({ tab: next });
    this.tabs.get(next)?.focus();
  }

  showTab(tab: Tab): void {
    for (const [name, made] of this.tabs) {
      made.setAttribute("aria-selected", String(name === tab));
      made.tabIndex = name === tab ? 0 : -1;
    }
    this.alerts.root.hidden = tab !== "alerts";
    this.sites.root.hidden = tab !== "sites";
    this.statistics.root.hidden = tab !== "statistics";
  }

  showSite(there: boolean): void {
    this.root.classList.toggle("with-site", there);
    if (!there) this.site.root.hidden = true;
    this.foldLegend();
    this.app.map.gl.resize();
  }

  /** Beside the panel of a site, or that of what is drawn, a small map has no room for the legend. */
  private foldLegend(): void {
    const { root } = this.legend;
    const panel = this.stage.querySelector<HTMLElement>(".drawing-panel")?.offsetWidth ?? 0;
    const beside = panel > 0 || this.root.classList.contains("with-site");
    if (beside && root.open && this.stage.clientWidth - panel < NARROW) {
      root.open = false;
      this.legendFolded = true;
    } else if (!beside && this.legendFolded) {
      root.open = true;
      this.legendFolded = false;
    }
  }

  /** What the panels on the map cover of it. */
  readonly room = (): Room => {
    const narrow = this.stage.clientWidth < NARROW;
    const legend = this.legend.root.open && !narrow ? this.legend.root.offsetWidth + 10 : 0;
    const slider = this.slider.root.offsetHeight + 14;
    const rest = narrow ? 20 : 34;
    const panel = this.stage.querySelector<HTMLElement>(".drawing-panel");
    const below = panel !== null && panel.offsetWidth > 0.8 * this.stage.clientWidth;
    return {
      top: rest,
      bottom: rest + (below ? panel.offsetHeight : slider),
      left: rest + legend,
      right: rest + 40 + (panel && !below ? panel.offsetWidth : 0),
    };
  };

  /** Turn the third dimension on or off, or the other way round. */
  private showTerrain(on = this.terrain?.getAttribute("aria-pressed") !== "true"): void {
    this.terrain?.setAttribute("aria-pressed", String(on));
    showTerrain(this.app.map.gl, on ? this.app.elevation : null);
  }

  showCompare(on: boolean): void {
    // Two maps over one another lie on one plane.
    if (on && this.terrain?.getAttribute("aria-pressed") === "true") this.showTerrain(false);
    this.root.classList.toggle("compares", on);
  }

  /** The handle of the sheet on phones. */
  private handle(): HTMLElement {
    const made = button(t("sheet"), () => {
      const open = this.root.classList.toggle("sheet-up");
      made.setAttribute("aria-expanded", String(open));
    });
    made.className = "handle";
    made.setAttribute("aria-expanded", "false");
    return made;
  }

  listenToMap(): void {
    const { map } = this.app;
    map.gl.getCanvas().setAttribute("aria-label", t("map_label"));
    map.gl.on("moveend", () => {
      go({ camera: map.camera });
    });
    map.gl.on("click", (event) => {
      if (this.drawing) return;
      const hit = map.hit(event);
      this.tip.hidden = true;
      const told = this.reported?.told(event.point);
      if (told) {
        this.showTip(event.point, told);
        announce(told.join(", "));
      } else if (hit.site) go({ site: hit.site });
      else if (hit.layers.length) {
        const words = hit.layers.map((one) => `${capital(layerWord(one.kind))}: ${one.name}`);
        this.showTip(event.point, words);
        announce(words.join(", "));
      }
    });
    map.gl.on("mousemove", (event) => {
      if (this.drawing) return;
      const { site, status } = map.hit(event);
      const told = this.reported?.told(event.point);
      map.gl.getCanvas().style.cursor = site || told ? "pointer" : "";
      if (told) this.showTip(event.point, told);
      else if (site) this.showTip(event.point, [`${capital(word("status", (status ?? "new") as Status))} · ${site}`]);
      else this.tip.hidden = true;
    });
    map.gl.on("movestart", () => (this.tip.hidden = true));
  }

  private showTip(point: { x: number; y: number }, lines: string[]): void {
    replace(this.tip, ...lines.map((line) => el("div", {}, line)));
    this.tip.style.left = `${point.x}px`;
    this.tip.style.top = `${point.y}px`;
    this.tip.hidden = false;
  }
}

const logo = (): SVGElement =>
  drawing(
    "M2 6.5c3-3 5 2 8-.7s4.500.7 8-.7",
    "M2 11c3-3 5 2 8-.7s4.500.7 8-.7",
    "M2 15.500c3-3 5 2 8-.7s4.500.7 8-.7",
  );

