// What the server tells: the records of `sluice.base.places` as JSON.

/** A sentence that a rule decided: a key of the message catalogue, and what fills its places. */
export interface Said {
  code: string;
  values: Record<string, string | number>;
}

export type Status = "new" | "growing" | "steady" | "inactive" | "recovering" | "not_observed";
export type Level = "low" | "high" | "highest";
export type Verdict = "confirmed" | "rejected" | "unsure";
export type BBox = [number, number, number, number];

export const STATUSES: readonly Status[] = [
  "new",
  "growing",
  "steady",
  "inactive",
  "recovering",
  "not_observed",
];
export const LEVELS: readonly Level[] = ["highest", "high", "low"];
export const REASONS = [
  "sandbar",
  "river",
  "oxbow",
  "fish_pond",
  "farm_pond",
  "farmland",
  "settlement",
  "road",
  "landslide",
  "bare_rock",
  "industrial",
  "cloud",
  "other",
] as const;
export type Reason = (typeof REASONS)[number];

export interface Session {
  person: { name: string; role: string } | null;
  csrf: string | null;
  needs_login: boolean;
  /** Least side of the cells in place of places, in metres; null where none is withheld. */
  withheld_m?: number | null;
  /** Another one for each store that is served; null or absent where that is not known. */
  store?: string | null;
  version: string;
  languages: string[];
  /** Of a published folder: the language to begin with, and what everybody has to know. */
  published?: { language: string | null; about: Record<string, string[]> };
}

/** From the first to the last day, both included. */
export interface Period {
  start: string;
  end: string;
  name?: string;
}

export interface Run extends Period {
  run_id: string;
  sensor: string;
  /** Who is to be named for its images. */
  owners: string[];
  model?: string;
  has_image: boolean;
  has_probability?: boolean;
}

export interface Area {
  name: string;
  bbox: BBox;
  geometry: GeoJSON.Geometry;
  hectares: number;
  sites: number;
  alerts: number;
  periods: Period[];
  runs: Run[];
}

export interface Site {
  site_id: string;
  area: string;
  lon: number;
  lat: number;
  first_seen: string;
  known_before: boolean;
  last_seen: string;
  last_observed: string;
  status: Status;
  status_rule: Said[] | null;
  posterior: number;
  level: Level | null;
  area_ha: number | null;
  area_low_ha: number | null;
  area_high_ha: number | null;
  cumulative_ha: number;
  legality: string;
  legality_why: Said[] | null;
  context: Record<string, unknown>;
  priority: number;
  priority_parts: Record<string, number>;
  merged_into: string | null;
  verdict: Verdict | null;
  reviewers?: number;
}

export interface Alert {
  alert_id: string;
  site_id: string;
  area: string;
  kind: string;
  start: string;
  end: string;
  raised: string;
  level: Level;
  state: string;
  posterior: number;
  growth_ha: number | null;
  reasons: Said[];
  lon: number;
  lat: number;
  priority: number;
  verdict?: Verdict | null;
  status?: Status | null;
  site_status?: Status | null;
}

export interface SitePeriod extends Period {
  observed: boolean;
  detected: boolean;
  status: Status;
  status_rule: Said[] | null;
  posterior: number;
  level: Level | null;
  sensors: string;
  area_ha: number | null;
  area_low_ha: number | null;
  area_high_ha: number | null;
}

export interface Look extends Period {
  run_id: string;
  sensor: string;
  /** Whose images: `s2`, however they were corrected. */
  satellites: string;
  observed_share: number;
  detected: boolean;
  log_lr: number | null;
  area_ha: number | null;
  forest_ha: number | null;
  farmland_ha: number | null;
  water_ha: number | null;
  bare_ha: number | null;
  forest_lost_ha: number | null;
  farmland_lost_ha: number | null;
  water_lost_ha: number | null;
}

type Cover = "forest" | "farmland" | "water" | "bare";
type Lost = Exclude<Cover, "bare">;

/** Ground cover before a site began and after, in hectares of the same ground. */
export type CoverChange = {
  /** First days of the periods of the two looks. */
  cover_before: string;
  cover_after: string;
  /** The first look was before the site began. */
  known_before: boolean;
} & Record<`${Cover}_${"before" | "after"}_ha`, number> &
  Record<`${Lost}_lost_ha`, number | null>;

export interface Review {
  review_id: string;
  site_id: string;
  verdict: Verdict;
  reason: Reason | null;
  who: string;
  when: string;
  note: string;
}

export interface Outline extends Period {
  run_id: string;
  sensor: string;
  geometry: GeoJSON.Geometry;
}

/** What somebody drew along with a review, whose id it bears. */
export interface Drawn {
  label_id: string;
  class_name: string;
  start: string | null;
  end: string | null;
  who: string;
  when: string;
  geometry: GeoJSON.Geometry;
}

export interface Scene {
  run_id: string;
  scene_id: string;
  sensor: string | null;
  acquired: string | null;
  cloud_cover?: number | null;
  href?: string | null;
}

export interface SiteDetail {
  site: Site;
  geometry: GeoJSON.Geometry | null;
  periods: SitePeriod[];
  looks: Look[];
  /** Null where fewer than two looks tell it. */
  cover: CoverChange | null;
  alerts: Alert[];
  reviews: Review[];
  outlines: Outline[];
  drawn: Drawn[];
  scenes: Scene[];
  /** Null where the place is shown only roughly. */
  coordinates: { decimal: string; dms: string; mgrs: string } | null;
  runs: Run[];
  /** Of a published folder. */
  pictures?: { before?: Picture; after?: Picture } | null;
}

/** A picture of a site from the images of a period. */
export interface Picture extends Period {
  file: string;
  width: number;
  height: number;
  detected: boolean;
  hidden_share: number;
  same_tones: boolean;
}

/** A mine that somebody saw and no scan found; of withheld places a cell, and nobody's name. */
export interface ReportedMine {
  label_id: string;
  area?: string;
  start?: string | null;
  end?: string | null;
  who?: string;
  when: string;
  name?: string | null;
  note?: string | null;
  /** Whoever asks may take it back. */
  own?: boolean;
  redacted?: boolean;
  geometry: GeoJSON.Geometry;
}

export interface Job {
  job_id: string;
  area: string;
  first: string;
  last: string;
  every: string;
  by: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  stage: string;
  created: string;
  started: string | null;
  finished: string | null;
  done: number;
  total: number;
  part: number;
  parts: number;
  message: string;
  cancel_asked: boolean;
  run_ids: string[];
  version: number;
  /** 1 is the next; only of those that wait. */
  queue_place?: number | null;
}

/** What may be asked for. */
export interface JobLimits {
  km2: number;
  days: number;
  periods: number;
  vertices: number;
  open_per_person: number;
  new_areas: boolean;
  model: string;
}

export interface Found {
  kind: string;
  id?: string;
  label: string;
  lon: number;
  lat: number;
  bbox?: BBox | null;
}

/** TileJSON of heights. */
export interface Elevation {
  tiles: string[];
  bounds: BBox;
  maxzoom: number;
  attribution: string;
}

export interface LayerInfo {
  name: string;
  kind: string;
  features: number;
}

export interface Statistic {
  name: string;
  sites: number;
  hectares: number;
  new_hectares: number;
  alerts: number;
}
