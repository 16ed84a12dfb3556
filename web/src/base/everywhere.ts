// All places as one entry of the list of areas: of those from whom places are withheld, areas that
// are not much larger than the cells have no name, and only so are their sites to be reached.

import * as api from "./api";
import { boxAround } from "./boxes";
import type { Area, Period, Session } from "./types";

const MOST_SITES = 1000;
/** Of whom periods are asked for. */
const MOST_ASKED = 12;

/** The areas there are for whoever asks; before them all places, where sites lie in none of these. */
export async function areasFor({ withheld_m: cell }: Session): Promise<Area[]> {
  const named = await api.areas();
  if (!cell || api.isPublished) return named;
  const { sites, total } = await api.sites({ limit: MOST_SITES });
  if (!sites.length || total <= named.reduce((sum, area) => sum + area.sites, 0)) return named;
  const { total: alerts } = await api.alerts({ limit: 1 });
  const known = named.flatMap((area) => area.periods);
  // Of nameless areas the sites alone tell which periods were scanned.
  const spans = new Map(sites.map((one) => [`${one.first_seen}/${one.last_seen}`, one.site_id]));
  const asked = await Promise.all([...spans.values()].slice(0, MOST_ASKED).map((id) => api.site(id)));
  const periods: Period[] = [...known, ...asked.flatMap((one) => one.periods)];
  const ground: GeoJSON.Geometry = { type: "GeometryCollection", geometries: [] };
  const bbox = boxAround(sites, cell);
  return [{ name: api.EVERYWHERE, bbox, geometry: ground, hectares: 0, sites: total, alerts, periods, runs: [] }, ...named];
}
