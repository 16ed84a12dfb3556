// Boxes in degrees: west, south, east, north.

import type { BBox, Site } from "./types";

const METRES_PER_DEGREE = 111_320;
/** As far as a map of the world in Mercator goes. */
const MOST_NORTH = 85;

/** The same box with its east beyond 180 degrees where it crosses them: GeoJSON tells that by a greater west. */
export const unrolled = ([west, south, east, north]: BBox): BBox => [west, south, west > east ? east + 360 : east, north];

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
