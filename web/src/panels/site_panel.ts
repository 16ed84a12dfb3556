// Everything about one site, and the way to the next.

import { type App, currentArea, mayCompare, neighbour, periodsOfSite, siteDetail, tell, tellFault, walkOn } from "../app";
import { address, ApiError, EVERYWHERE, isPublished } from "../base/api";
import { button, el, icon, iconButton, replace } from "../base/dom";
import { go, link, look } from "../base/state";
import type { Alert, BBox, SiteDetail } from "../base/types";
import { capital, date, language, percent, period as periodWords, sentences, t, text, word } from "../base/words";
import { mark } from "../map/symbols";
import { downloadLink, downloadsTold } from "./downloads";
import { historyChart, periodTold } from "./history_chart";
import { ReviewBox, reviewsTold } from "./review";
import {
  evidence,
  facts,
  groundCover,
  isTold,
  legality,
  mainFigures,
  priorityParts,
  scenes,
  section,
  surroundings,
} from "./site_facts";

const CLOSE_UP = 15;
const SITE_FORMATS = [
  ["geojson", "GeoJSON"],
  ["kmz", "KMZ (Google Earth)"],
  ["gpx", "GPX"],
] as const;
const EVERY_VERDICT = "confirmed,unsure,rejected,none";

export class SitePanel {
  readonly root = el("aside", { class: "site", "aria-label": t("site"), hidden: true });
  readonly review: ReviewBox;
  private readonly body = el("div", { class: "body", tabindex: -1 });
  private asked = 0;

  constructor(
    private readonly app: App,
    private readonly compare: () => void,
    reviewed: (id: string) => void,
    redraw: () => void,
    showReturned: () => void,
  ) {
    this.review = new ReviewBox(app, reviewed, redraw, showReturned);
    this.root.append(this.body, ...(isPublished ? [] : [this.review.root]));
  }

  async show(id: string | null): Promise<void> {
    const mine = ++this.asked;
    if (id !== this.review.shown) this.review.leave();
    if (!id) {
      this.root.hidden = true;
      this.app.detail = null;
      this.app.map.showSite(null, null);
      return;
    }
    try {
      const detail = await siteDetail(id);
      if (mine !== this.asked) return;
      this.app.detail = detail;
      this.root.hidden = false;
      this.render();
      this.body.scrollTop = 0;
      this.bringIntoSight(detail);
    } catch (error) {
      if (mine !== this.asked) return;
      tellFault(error);
      // Whoever logs in again finds the site there.
      if (error instanceof ApiError && error.status === 401) return;
      go({ site: null });
    }
  }

  private bringIntoSight(detail: SiteDetail): void {
    const { lon, lat, area } = detail.site;
    const here = currentArea(this.app)?.name;
    // Among all places one stays there.
    const elsewhere = here !== area && (isPublished || here !== EVERYWHERE);
    if (elsewhere && this.app.areas.some((one) => one.name === area)) go({ area });
    const { gl, camera } = this.app.map;
    const box = detail.geometry ? boxOf(detail.geometry) : null;
    const near = camera.zoom >= 13 && gl.getBounds().contains([lon, lat]);
    // The panel may just have taken some of the map's room.
    gl.resize();
    if (near && inMiddle(gl.project([lon, lat]), gl.getContainer())) return;
    if (box) this.app.map.fit(box, CLOSE_UP);
    else this.app.map.flyTo(lon, lat, Math.max(CLOSE_UP, camera.zoom));
  }

  /** Draw what the view and the detail say now. */
  render(): void {
    const detail = this.app.detail;
    if (!detail) return;
    const { site } = detail;
    const chosen = look().period;
    const exact = detail.coordinates !== null;
    this.app.map.showSite(detail, chosen);
    replace(
      this.body,
      this.heading(detail),
      el("p", { class: "lead" }, text("common.lead")),
      mainFigures(site, [...detail.periods, ...periodsOfSite(this.app, site)]),
      el("p", { class: "why" }, sentences(site.status_rule)),
      el("h3", {}, text("history.heading")),
      historyChart(detail.periods, chosen, (period) =>
        go({ period: { start: period.start, end: period.end } }),
      ),
      this.chosenPeriod(detail),
      this.app.published?.pictures(detail),
      ...(exact ? [priorityParts(site)] : []),
      section(text("evidence.heading"), !exact, exact && evidence(detail), alertsTold(detail.alerts)),
      exact &&
        section(
          text("context.heading"),
          true,
          legality(site),
          facts(surroundings(site.context)),
          groundCover(detail),
        ),
      !isPublished && section(text("reviews.heading"), detail.reviews.length > 0, reviewsTold(detail)),
      section(t("coordinates"), !exact, this.coordinates(detail)),
      exact && section(t("scenes", { n: detail.scenes.length }), false, scenes(detail)),
      this.links(detail),
    );
    this.review.show(detail);
  }

  private heading(detail: SiteDetail): HTMLElement {
    const { site } = detail;
    const id = site.site_id;
    const back = neighbour(this.app, id, -1, false);
    const on = neighbour(this.app, id, 1, false) !== null || this.app.more !== null;
    const at = this.app.queue.findIndex((one) => one.id === id);
    const place = at >= 0 ? `${at + 1} / ${this.app.queue.length}${this.app.more ? "+" : ""}` : "";
    return el(
      "header",
      {},
      el(
        "div",
        { class: "walk" },
        iconButton(icon("previous"), t("previous_site"), () => go({ site: back }), { disabled: !back }),
        el("span", {}, place),
        iconButton(icon("next"), t("next_site"), () => void walkOn(this.app), { disabled: !on }),
        el("span", { class: "grow" }),
        mayCompare(this.app) && iconButton(icon("compare"), t("before_after"), this.compare),
        iconButton(icon("close"), t("close"), () => go({ site: null })),
      ),
      el(
        "h2",
        { tabindex: -1 },
        mark(site.status, this.app.given.get(id) ?? site.verdict, 26),
        el("span", {}, id),
      ),
      el(
        "p",
        { class: "chips" },
        el("span", { class: "chip" }, word("status", site.status)),
        el(
          "span",
          { class: `chip level-${site.level ?? "none"}` },
          t("level_is", { level: word("level", site.level ?? "none") }),
        ),
        site.verdict && el("span", { class: `chip verdict-${site.verdict}` }, word("verdict", site.verdict)),
        (site.reviewers ?? 0) > 1 && el("span", { class: "chip" }, t("reviewers", { n: site.reviewers ?? 0 })),
      ),
    );
  }

  private chosenPeriod(detail: SiteDetail): HTMLElement | null {
    const period = look().period;
    const told = detail.periods.find((one) => period && one.start === period.start && one.end === period.end);
    if (!told) return null;
    return el(
      "div",
      { class: "told" },
      el("strong", {}, periodTold(told)),
      el("p", { class: "hint" }, `${text(`status_means.${told.status}`)} ${sentences(told.status_rule)}`),
    );
  }

  private coordinates(detail: SiteDetail): HTMLElement {
    if (!detail.coordinates) return el("p", {}, text("site.rounded"));
    const { decimal, dms, mgrs } = detail.coordinates;
    const rows = [
      ["WGS 84", decimal],
      ["DMS", dms],
      ["MGRS", mgrs],
    ] as const;
    return el(
      "ul",
      { class: "coordinates" },
      ...rows.map(([name, value]) =>
        el(
          "li",
          {},
          el("span", {}, name),
          el("code", {}, value),
          iconButton(icon("copy"), t("copy", { what: `${name} ${value}` }), () => void copy(value)),
        ),
      ),
    );
  }

  private links(detail: SiteDetail): HTMLElement {
    const id = detail.site.site_id;
    const report = `/reports/sites/${encodeURIComponent(id)}`;
    const isServed = !isPublished && detail.coordinates !== null;
    const told = downloadsTold();
    const file = (label: string, ending: string): HTMLElement =>
      downloadLink(label, address(`${report}.${ending}`, { language }), told);
    return el(
      "div",
      {},
      el(
        "div",
        { class: "links" },
        isServed && file(t("report_pdf"), "pdf"),
        isServed && file(t("report_html"), "html"),
        button(t("copy_link"), () => void copy(link()), { class: "button" }),
      ),
      ...(isServed ? [told, exports(id, told)] : []),
    );
  }
}

/** The site as a file, whatever people said of it. */
function exports(id: string, told: HTMLElement): HTMLElement {
  const links = SITE_FORMATS.map(([suffix, name]) => {
    const query = { ids: id, verdict: EVERY_VERDICT, language };
    return downloadLink(name, address(`/exports/sites.${suffix}`, query), told, `sluice-${id}.${suffix}`);
  });
  return el("div", { class: "links" }, el("span", {}, t("export_site")), ...links);
}

function boxOf(geometry: GeoJSON.Geometry): BBox | null {
  const box: BBox = [180, 90, -180, -90];
  const take = (part: unknown): void => {
    if (!Array.isArray(part)) return;
    const [x, y] = part as unknown[];
    if (typeof x === "number" && typeof y === "number") {
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    } else part.forEach(take);
  };
  if (geometry.type === "GeometryCollection") return null;
  take(geometry.coordinates);
  // What is cut at 180 degrees has a part on each side of the world.
  return box[2] >= box[0] && box[2] - box[0] <= 180 ? box : null;
}

function inMiddle(point: { x: number; y: number }, container: HTMLElement): boolean {
  const { clientWidth: width, clientHeight: height } = container;
  const across = point.x > width * 0.15 && point.x < width * 0.85;
  return across && point.y > height * 0.15 && point.y < height * 0.75;
}

function alertsTold(alerts: readonly Alert[]): HTMLElement {
  if (!alerts.length) return el("p", { class: "hint" }, text("evidence.no_alerts"));
  return el(
    "ul",
    { class: "alerts-told" },
    ...alerts.map((alert) =>
      el(
        "li",
        {},
        el("strong", {}, capital(word("alert_kind", alert.kind))),
        ` · ${alertFacts(alert).join(" · ")}`,
        el("span", { class: "hint" }, ` (${date(alert.raised)})`),
        el("ul", {}, ...(alert.reasons ?? []).map((reason) => el("li", {}, sentences([reason])))),
      ),
    ),
  );
}

/** What is withheld of a place is absent. */
function alertFacts(alert: Alert): string[] {
  return [
    periodWords(alert.start, alert.end),
    alert.level && word("level", alert.level),
    isTold(alert.posterior) && t("probability_now", { share: percent(alert.posterior) }),
    alert.state && word("alert_state", alert.state),
  ].filter((one) => typeof one === "string" && one !== "") as string[];
}

async function copy(words: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(words);
    tell(t("copied", { what: words }));
  } catch {
    // Browsers refuse where the page is not served safely; the words can be marked by hand.
    window.prompt(t("copy_by_hand"), words);
  }
}
