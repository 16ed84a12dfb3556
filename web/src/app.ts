// What all panels share: who asks, the area looked at, the chosen site and the order of review.

import * as api from "./base/api";
import { announce, el, replace } from "./base/dom";
import type { Outbox } from "./base/outbox";
import { go, look } from "./base/state";
import type { Area, Elevation, LayerInfo, Period, Run, Session, Site, SiteDetail, Verdict } from "./base/types";
import { language, t, word } from "./base/words";
import type { SiteMap } from "./map/site_map";

/** A site to walk to; its verdict as it was when the list came. */
export interface Queued {
  id: string;
  verdict: Verdict | null;
}

export interface App {
  session: Session;
  areas: Area[];
  layers: LayerInfo[];
  elevation: Elevation | null;
  map: SiteMap;
  /** Of a published folder: what only its map has. */
  published: typeof import("./panels/published_parts") | null;
  /** Of the chosen site, once it has come. */
  detail: SiteDetail | null;
  /** Sites in the order of the list, as far as it was asked for. */
  queue: Queued[];
  /**
   * Ask for more of them, those without a verdict only or all; false where none came. Null where the
   * list has no more.
   */
  more: ((unreviewed: boolean) => Promise<boolean>) | null;
  /** Verdicts given since the page was opened, or before and not sent yet. */
  given: Map<string, Verdict>;
  /** Verdicts on their way; null for those who give none. */
  unsent: Outbox | null;
}

export function currentArea(app: App): Area | null {
  return app.areas.find((area) => area.name === look().area) ?? app.areas[0] ?? null;
}

/** What an area is called. */
export const areaLabel = (name: string): string =>
  name === api.EVERYWHERE ? t(api.isPublished ? "published_nameless_area" : "all_places") : name;

/** The person may say what a site is. */
export function mayReview(app: App): boolean {
  return ["reviewer", "analyst", "admin"].includes(app.session.person?.role ?? "");
}

/** The person may see images, of which two periods are compared: they show the places themselves. */
export const mayCompare = (app: App): boolean => !api.isPublished && !app.session.withheld_m;

/** The person may ask for analyses. */
export function mayAnalyse(app: App): boolean {
  return ["analyst", "admin"].includes(app.session.person?.role ?? "");
}

/** The best run of a period that has a picture: optical before radar. */
export function runWith(
  runs: readonly Run[],
  period: Period | null,
  what: "has_image" | "has_probability",
): Run | null {
  const fit = runs
    .filter((run) => run[what] && (!period || (run.start === period.start && run.end === period.end)))
    .sort(
      (one, other) =>
        other.end.localeCompare(one.end) || Number(one.sensor === "s1") - Number(other.sensor === "s1"),
    );
  return fit[0] ?? null;
}

/** Periods that a site may have been seen in: those of its area, or where that is not told, of all. */
export function periodsOfSite(app: App, site: Site): Period[] {
  const own = app.areas.find((one) => one.name === site.area);
  return own ? own.periods : app.areas.flatMap((one) => one.periods);
}

/** Past ones first, without doubles of several sensors. */
export function periodsOf(area: Area): Period[] {
  const found = new Map(area.periods.map((period) => [api.periodName(period), period]));
  return [...found.values()].sort(
    (one, other) => one.end.localeCompare(other.end) || one.start.localeCompare(other.start),
  );
}

const kept = new Map<string, Promise<SiteDetail>>();
const MOST_KEPT = 20;

/** A site, fetched at most once until it is reviewed. */
export function siteDetail(id: string): Promise<SiteDetail> {
  let found = kept.get(id);
  if (!found) {
    found = api.site(id);
    kept.set(id, found);
    found.catch(() => kept.delete(id));
    const oldest = kept.keys().next().value;
    if (kept.size > MOST_KEPT && oldest !== undefined) kept.delete(oldest);
  }
  return found;
}

export const forgetSite = (id: string): boolean => kept.delete(id);

/** What lands may change any of them. */
export const forgetSites = (): void => kept.clear();

/** Whether nobody has said what a site is. */
export const isOpen = (app: App, { id, verdict }: Queued): boolean => !verdict && !app.given.has(id);

/** The site before or after another one in the list; to come, those without a verdict only. */
export function neighbour(app: App, id: string | null, step: 1 | -1, unreviewed: boolean): string | null {
  const at = id ? app.queue.findIndex((one) => one.id === id) : -1;
  if (!unreviewed) return app.queue[at + step]?.id ?? null;
  const rest = [...app.queue.slice(at + 1), ...app.queue.slice(0, Math.max(0, at))];
  return rest.find((other) => other.id !== id && isOpen(app, other))?.id ?? null;
}

/** The site after another one, asking for more of the list where the known part ends. */
export async function onward(app: App, id: string | null, unreviewed: boolean): Promise<string | null> {
  const known = neighbour(app, id, 1, unreviewed);
  if (known || !app.more || !(await app.more(unreviewed))) return known;
  return neighbour(app, id, 1, unreviewed);
}

/** To the next site, unless one goes elsewhere while the list is asked for more. */
export async function walkOn(app: App): Promise<void> {
  const { site } = look();
  const next = await onward(app, site, false);
  if (next && look().site === site) go({ site: next });
}

let toastTimer = 0;

/**
 * Tell something in passing, to the eye and to a screen reader.
 *
 * @param own Beneath it, what the program itself says: in English.
 */
export function tell(words: string, kind: "news" | "fault" = "news", own = ""): void {
  const place = document.getElementById("toast");
  if (place) {
    replace(place, words, ownWords(own));
    place.className = `toast shown ${kind}`;
    window.clearTimeout(toastTimer);
    toastTimer = window.setTimeout(() => (place.className = "toast"), kind === "fault" ? 9000 : 3500);
  }
  announce([words, own].filter(Boolean).join(" "));
}

export interface Fault {
  words: string;
  /** The sentence of the service: it says more, in English. Empty where the words have it. */
  own: string;
}

/** What went wrong, in the language of the map. */
export function faultOf(error: unknown): Fault {
  if (!(error instanceof api.ApiError)) return { words: t("fault", { what: String(error) }), own: "" };
  if (error.status === api.UNREACHABLE) return { words: t("unreachable"), own: "" };
  if (error.status === 401) return { words: t("log_in_again"), own: "" };
  if (language === "en" || api.isPublished) return { words: t("fault", { what: error.message }), own: "" };
  const known = word("fault_kind", error.kind);
  return { words: known === error.kind ? word("fault_kind", "error") : known, own: error.message };
}

/** Words of the program itself. */
export const ownWords = (own: string): HTMLElement | null =>
  own ? el("small", { class: "own-words", lang: "en" }, own) : null;

export function showFault(place: HTMLElement, { words, own }: Fault): void {
  replace(place, words, ownWords(own));
}

export function tellFault(error: unknown): void {
  const { words, own } = faultOf(error);
  tell(words, "fault", own);
  if (error instanceof api.ApiError && error.status === 401) window.dispatchEvent(new Event("sluice:log-in"));
}
