// Answers from the files of a published folder in a server's place: the same questions, the same
// answers. Files are asked for whole, one by one as they are needed, so any web space will do.

import { ApiError, EVERYWHERE, UNREACHABLE } from "./api";
import { unrolled } from "./boxes";
import { readCoordinates } from "./coordinates";
import type { Alert, Area, Found, Level, Period, Session, Site, SiteDetail, Statistic, Status } from "./types";
import { t } from "./words";

const FORMAT = 1;
const MOST_FOUND = 20;

/** A table with its keys told once. */
interface Table {
  columns: string[];
  rows: unknown[][];
}

interface Told {
  format: number;
  version: string;
  languages: string[];
  language: string | null;
  withheld_m: number | null;
  about: Record<string, string[]>;
  areas: (Area & { outlines: string | null })[];
}

export interface State {
  site: number;
  status: Status;
  level: Level | null;
  area_ha: number | null;
}

interface ListedSite extends Site {
  /** Name of its file where that is not its id. */
  file?: string;
}

const root = document.getElementById("app")?.dataset["published"] ?? "";
const kept = new Map<string, Promise<unknown>>();

export const fileAddress = (name: string): string => new URL(root + name, document.baseURI).href;

/** A file of the folder, fetched once. */
function file<T>(name: string): Promise<T> {
  let found = kept.get(name);
  if (!found) {
    found = fetchFile(name);
    kept.set(name, found);
    found.catch(() => kept.delete(name));
  }
  return found as Promise<T>;
}

async function fetchFile(name: string): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(fileAddress(name));
  } catch (error) {
    throw new ApiError(UNREACHABLE, "unreachable", String(error));
  }
  if (!answer.ok) throw new ApiError(answer.status, "error", `${name}: ${answer.status}`);
  return answer.json();
}

function readTable<T>({ columns, rows }: Table): T[] {
  return rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])) as T);
}

async function told(): Promise<Told> {
  const found = await file<Told>("published.json");
  if (found.format !== FORMAT) {
    throw new ApiError(409, "error", `this map was published in format ${found.format}; publish it again`);
  }
  return found;
}

/** Where an area's files are; the first area where the name is not known. */
async function numberOf(name: string | null): Promise<number> {
  const { areas } = await told();
  return Math.max(0, areas.findIndex((area) => area.name === name));
}

const lists = new Map<number, Promise<ListedSite[]>>();

/** All sites of an area, the most urgent first. */
export async function sitesOf(name: string | null): Promise<Site[]> {
  return listed(await numberOf(name));
}

function listed(number: number): Promise<ListedSite[]> {
  let found = lists.get(number);
  if (!found) {
    found = file<Table>(`areas/${number}/sites.json`).then((table) => readTable<ListedSite>(table));
    lists.set(number, found);
    found.catch(() => lists.delete(number));
  }
  return found;
}

/** What sites were in a period; `site` is the position in the list of all. */
export async function statesOf(name: string | null, { start, end }: Period): Promise<State[]> {
  return readTable<State>(await file(`areas/${await numberOf(name)}/${start}_${end}.json`));
}

/** Where the outlines of an area's sites are. */
export async function outlinesOf(name: string | null): Promise<{ url: string; tiled: boolean } | null> {
  const number = await numberOf(name);
  const found = (await told()).areas[number]?.outlines;
  return found ? { url: fileAddress(`areas/${number}/${found}`), tiled: found.endsWith(".pmtiles") } : null;
}

/** What a server would answer at an address. */
export async function answer(path: string): Promise<unknown> {
  const { pathname, searchParams } = new URL(path, location.origin);
  const [, , what, id] = pathname.split("/").map(decodeURIComponent);
  const area = searchParams.get("area");
  switch (what) {
    case "session":
      return session();
    case "messages":
      return file(`messages/${id}.json`);
    case "areas":
      return (await told()).areas;
    case "layers":
      return [];
    case "elevation":
      return null;
    case "reported-mines":
      return { reports: [] };
    case "sites":
      if (id) return siteDetail(id);
      return page("sites", await sitesOf(area), searchParams);
    case "alerts":
      return page("alerts", readTable<Alert>(await file(`areas/${await numberOf(area)}/alerts.json`)), searchParams);
    case "statistics":
      return sums(await numberOf(area), searchParams);
    case "search":
      return { found: await search(searchParams.get("q") ?? "") };
    default:
      throw new ApiError(404, "error", `a published map has no ${what}`);
  }
}

async function session(): Promise<Session> {
  const { version, languages, language, withheld_m, about } = await told();
  return { person: null, csrf: null, needs_login: false, withheld_m, version, languages, published: { language, about } };
}

/** A part of a list, as its filters ask. */
function page(name: string, rows: readonly (Site | Alert)[], asked: URLSearchParams): unknown {
  const fits = rows.filter((row) =>
    (["level", "status"] as const).every((key) => {
      const wanted = asked.get(key);
      return !wanted || row[key as "level"] === wanted;
    }),
  );
  const offset = Number(asked.get("offset") ?? 0);
  return { [name]: fits.slice(offset, offset + Number(asked.get("limit") ?? 100)), total: fits.length };
}

async function siteDetail(id: string): Promise<SiteDetail> {
  const { areas } = await told();
  for (let number = 0; number < areas.length; number++) {
    const site = (await listed(number)).find((one) => one.site_id === id);
    if (!site) continue;
    const found = await file<SiteDetail>(`sites/${site.file ?? id}.json`);
    // Where its place is withheld the file does not tell it.
    return { ...found, site: { ...found.site, area: areas[number]!.name } };
  }
  throw new ApiError(404, "error", t("published_no_site", { site: id }));
}

async function sums(number: number, asked: URLSearchParams): Promise<Statistic[]> {
  const found = await file<Record<string, Record<string, Statistic[]>>>(`areas/${number}/statistics.json`);
  return found[asked.get("by") ?? "district"]?.[asked.get("period") ?? "latest"] ?? [];
}

/** Coordinates, but none of MGRS; areas by name; sites by their ids. */
async function search(typed: string): Promise<Found[]> {
  const wanted = typed.trim().toLowerCase();
  const found: Found[] = [];
  const place = readCoordinates(typed);
  if (place) {
    const [lon, lat] = place;
    found.push({ kind: "coordinates", label: `${lat.toFixed(6)}, ${lon.toFixed(6)}`, lon, lat });
  }
  const { areas } = await told();
  for (const area of areas) {
    const [west, south, east, north] = unrolled(area.bbox);
    const label = area.name === EVERYWHERE ? t("published_nameless_area") : area.name;
    if (label.toLowerCase().includes(wanted)) {
      found.push({ kind: "area", id: area.name, label, lon: (west + east) / 2, lat: (south + north) / 2, bbox: area.bbox });
    }
  }
  for (let number = 0; number < areas.length && wanted.length > 2; number++) {
    for (const site of await listed(number)) {
      if (found.length >= MOST_FOUND) return found;
      if (site.site_id.includes(wanted)) found.push({ kind: "site", label: site.site_id, lon: site.lon, lat: site.lat });
    }
  }
  return found;
}
