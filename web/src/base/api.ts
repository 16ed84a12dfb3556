// Speaks with the server: one place for addresses, errors and the token against forged requests.

import { fileName } from "./file_name";
import type {
  Alert,
  Area,
  Elevation,
  Found,
  Job,
  JobLimits,
  LayerInfo,
  Period,
  ReportedMine,
  Review,
  Session,
  Site,
  SiteDetail,
  Statistic,
} from "./types";

export class ApiError extends Error {
  /** @param kind As the service calls it; empty where something else answered in its place. */
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }
}

/** Of a request that no answer came to: the server is gone, or the line. */
export const UNREACHABLE = 0;

/**
 * In place of an area's name: whatever area it lies in, see `everywhere.ts`. In a published folder it
 * is that of the areas whose names may not be told.
 */
export const EVERYWHERE = "*";

type Query = Record<string, string | number | null | undefined>;

let csrf: string | null = null;

/** A published folder answers in a server's place. */
export const isPublished = document.getElementById("app")?.dataset["published"] !== undefined;

export function address(path: string, query: Query = {}): string {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (name === "area" && value === EVERYWHERE && !isPublished) continue;
    if (value !== null && value !== undefined && value !== "") wanted.set(name, String(value));
  }
  const told = wanted.toString();
  return told ? `${path}?${told}` : path;
}

interface How {
  patience_ms?: number;
  headers?: Record<string, string>;
}

async function ask<T>(method: string, path: string, body?: unknown, { patience_ms, headers: own }: How = {}): Promise<T> {
  if (isPublished) return (await import("./published")).answer(path) as Promise<T>;
  const headers: Record<string, string> = { Accept: "application/json", ...own };
  const file = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = file ? "application/octet-stream" : "application/json";
  const token = csrf;
  if (method !== "GET" && token) headers["X-CSRF-Token"] = token;
  const asked = answered(path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: file ? body : JSON.stringify(body) }),
    ...(patience_ms === undefined ? {} : { signal: AbortSignal.timeout(patience_ms) }),
  });
  const answer = method === "GET" ? await asked : await asked.catch((error) => withItsSession(error, token));
  return (answer.status === 204 ? null : await answer.json()) as T;
}

/** A token that is not the session's any more means that the session it was sent for is over, too. */
async function withItsSession(error: unknown, token: string | null): Promise<never> {
  if (error instanceof ApiError && error.status === 403) {
    const now = (await (await answered("/api/session", {})).json()) as Session;
    if (now.csrf !== token) throw new ApiError(401, "unauthenticated", error.message);
  }
  throw error;
}

/** The answer to a request, if it is a good one. */
async function answered(path: string, request: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...request });
  } catch (error) {
    throw new ApiError(UNREACHABLE, "unreachable", String(error));
  }
  if (answer.ok) return answer;
  const told = (await answer.json().catch(() => null)) as {
    error?: { kind?: string; message?: string };
  } | null;
  throw new ApiError(
    answer.status,
    told?.error?.kind ?? "",
    told?.error?.message ?? `${answer.status} ${answer.statusText}`,
  );
}

/** A file that the service makes, and how it names it. */
export async function file(path: string): Promise<{ content: Blob; name: string }> {
  const answer = await answered(path, {});
  const name = fileName(answer.headers.get("Content-Disposition") ?? "");
  try {
    return { content: await answer.blob(), name: name ?? "sluice" };
  } catch (error) {
    // The line was lost half way.
    throw new ApiError(UNREACHABLE, "unreachable", String(error));
  }
}

export async function session(): Promise<Session> {
  const found = await ask<Session>("GET", "/api/session");
  csrf = found.csrf;
  return found;
}

export async function logIn(name: string, password: string): Promise<void> {
  await ask("POST", "/api/session", { name, password });
}

export async function logOut(): Promise<void> {
  await ask("DELETE", "/api/session");
}

/** As many of a list as one answer has. */
const MOST_OF_A_LIST = 1000;

export const areas = (): Promise<Area[]> => ask("GET", "/api/areas");

/** As long may the name of a file be. */
const FILE_NAME = 100;

/** Follow an area: the polygons of a file. */
export const addArea = (name: string, file: File): Promise<{ name: string; hectares: number }> =>
  ask("POST", address("/api/areas", { name, file: file.name.slice(-FILE_NAME) }), file);

export const sites = (query: Query): Promise<{ sites: Site[]; total: number }> =>
  ask("GET", address("/api/sites", query));

export const site = (id: string): Promise<SiteDetail> =>
  ask("GET", `/api/sites/${encodeURIComponent(id)}`);

export const alerts = (query: Query): Promise<{ alerts: Alert[]; total: number }> =>
  ask("GET", address("/api/alerts", query));

/** Longer waits no review for its answer: the line is taken for one that is away. */
const REVIEW_PATIENCE_MS = 30_000;

export interface Said {
  /** However often it is sent, a review counts once. */
  review_id: string;
  verdict: string;
  reason: string | null;
  note: string;
  /** Seconds since it was given: one that waited for a line counts from then. */
  age_s: number;
  outline?: GeoJSON.Geometry;
}

/** @param store That it is said in: another one may be served here by now. */
export const review = (site: string, said: Said, store: string | null): Promise<Review> =>
  ask("POST", `/api/sites/${encodeURIComponent(site)}/reviews`, said, {
    patience_ms: REVIEW_PATIENCE_MS,
    headers: store ? { "X-Sluice-Store": store } : {},
  });

/** 128 random bits; `crypto.randomUUID` is there on safe connections only. */
export const newId = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export interface MineToReport {
  /** Made up here: sent again with it, as after a lost answer, a report is kept once. */
  label_id: string;
  area: string;
  outline: GeoJSON.Geometry;
  start: string;
  end: string;
  name: string;
  note: string;
}

/** All of them, in as many parts as it takes. */
export async function reportedMines(area: string | null): Promise<ReportedMine[]> {
  const found = new Map<string, ReportedMine>();
  for (let offset = 0; ; offset += MOST_OF_A_LIST) {
    const query = { area, limit: MOST_OF_A_LIST, offset };
    const part = await ask<{ reports: ReportedMine[]; total: number }>("GET", address("/api/reported-mines", query));
    // One that is taken back meanwhile moves the others.
    for (const report of part.reports) found.set(report.label_id, report);
    if (!part.reports.length || offset + MOST_OF_A_LIST >= part.total) return [...found.values()];
  }
}

export const reportMine = (report: MineToReport): Promise<ReportedMine> =>
  ask("POST", "/api/reported-mines", report);

export const takeBackReport = (id: string): Promise<null> =>
  ask("DELETE", `/api/reported-mines/${encodeURIComponent(id)}`);

export interface JobAsked {
  area: string | { name: string; geometry: GeoJSON.Geometry };
  first: string;
  last: string;
  every: string;
}

export const jobs = (): Promise<{ jobs: Job[]; limits: JobLimits }> => ask("GET", address("/api/jobs", { limit: 50 }));

export const askForJob = (asked: JobAsked): Promise<Job> => ask("POST", "/api/jobs", asked);

export const cancelJob = (id: string): Promise<Job> => ask("DELETE", `/api/jobs/${encodeURIComponent(id)}`);

export const search = async (q: string): Promise<Found[]> =>
  (await ask<{ found: Found[] }>("GET", address("/api/search", { q }))).found;

/** Where heights of the ground are known; null where no elevation map is registered. */
export const elevation = (): Promise<Elevation | null> => ask("GET", "/api/elevation");

export const layers = (): Promise<LayerInfo[]> => ask("GET", "/api/layers");

export const messages = (language: string): Promise<Record<string, string | Record<string, string>>> =>
  ask("GET", `/api/messages/${language}`);

/** What `statistics` and its CSV are asked for. */
export function statisticsQuery(area: string, by: string, period: Period | null): Query {
  return { area, by, period: period ? periodName(period) : null };
}

export const statistics = (area: string, by: string, period: Period | null): Promise<Statistic[]> =>
  ask("GET", address("/api/statistics", statisticsQuery(area, by, period)));

export function periodName(period: Period): string {
  return `${period.start}/${period.end}`;
}
