// All places as one entry of the list of areas: of those from whom places are withheld, areas that
// are not much larger than the cells have no name, and only so are their sites to be reached.

import * as api from "./api";
import type { Area, BBox, Period, Session, Site } from "./types";

const MOST_SITES = 1000;
const METRES_PER_DEGREE = 111_320;
/** As far as a map of the world in Mercator goes. */
const MOST_NORTH = 85;

/** The areas there are for whoever asks; before them all places, where sites lie in none of these. */
export async function areasFor({ withheld_m: cell }: Session): Promise<Area[]> {
  const named = await api.areas();
  if (!cell || api.isPublished) return named;
  const { sites, total } = await api.sites({ limit: MOST_SITES });
  const [first] = sites;
  if (!first || total <= named.reduce((sum, area) => sum + area.sites, 0)) return named;
  const { total: alerts } = await api.alerts({ limit: 1 });
  const known = named.flatMap((area) => area.periods);
  // Of nameless areas the sites alone tell which periods were scanned.
  const periods: Period[] = [...known, ...(await api.site(first.site_id)).periods];
  const ground: GeoJSON.Geometry = { type: "GeometryCollection", geometries: [] };
  const bbox = boxAround(sites, cell);
  return [{ name: api.EVERYWHERE, bbox, geometry: ground, hectares: 0, sites: total, alerts, periods, runs: [] }, ...named];
}

/** A box around the cells of sites; east of 180 degrees where it is narrower so. */
export function boxAround(sites: readonly Pick<Site, "lon" | "lat">[], cell: number): BBox {
  const span = (values: number[]): [number, number] => [Math.min(...values), Math.max(...values)];
  let [west, east] = span(sites.map(({ lon }) => lon));
  const eastwards = span(sites.map(({ lon }) => (lon < 0 ? lon + 360 : lon)));
  if (eastwards[1] - eastwards[0] < east - west) [west, east] = eastwards;
  const [south, north] = span(sites.map(({ lat }) => lat));
  const high = cell / METRES_PER_DEGREE;
  const wide = high / Math.cos((Math.min(MOST_NORTH, Math.max(-south, north)) * Math.PI) / 180);
  return [west - wide, Math.max(-MOST_NORTH, south - high), east + wide, Math.min(MOST_NORTH, north + high)];
}
