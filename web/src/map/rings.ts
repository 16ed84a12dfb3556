// The geometry of what people draw: sizes, what is inside, and what is wrong with it.

import type { BBox } from "../base/types";

export type Position = [number, number];
/** Closed: the last position is the first one. */
export type Ring = Position[];
/** What makes a shape useless: a ring that crosses itself, or rings that meet. */
export type Fault = "crosses" | "overlaps" | null;

const MAJOR_M = 6_378_137;
const ECCENTRICITY = 0.081_819_190_842_622;

/**
 * Hectares of a ring of degrees, on the WGS 84 ellipsoid in the equal-area cylindrical projection
 * (Snyder 1987, equations 3-12 and 10-15).
 */
export function ringHectares(ring: readonly (readonly number[])[]): number {
  const e = ECCENTRICITY;
  let twice = 0;
  const points = ring.map(([lon = 0, lat = 0]) => {
    const s = Math.sin((lat * Math.PI) / 180);
    const q = (1 - e * e) * (s / (1 - e * e * s * s) - Math.log((1 - e * s) / (1 + e * s)) / (2 * e));
    return [(MAJOR_M * lon * Math.PI) / 180, (MAJOR_M * q) / 2] as const;
  });
  points.forEach(([x, y], index) => {
    const [nextX, nextY] = points[(index + 1) % points.length]!;
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2 / 10_000;
}

export function inside(ring: Ring, lon: number, lat: number): boolean {
  let found = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [x1, y1] = ring[i]!;
    const [x2, y2] = ring[j]!;
    if (y1 > lat !== y2 > lat && lon < ((x2 - x1) * (lat - y1)) / (y2 - y1) + x1) found = !found;
  }
  return found;
}

export function boxOfRings(rings: readonly Ring[]): BBox {
  const all = rings.flat();
  const [lons, lats] = [all.map((one) => one[0]), all.map((one) => one[1])];
  return [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)];
}

/** The outer rings of a shape: its holes are filled. */
export function outerRings(geometry: GeoJSON.Geometry): Ring[] {
  if (geometry.type === "Polygon") return geometry.coordinates.slice(0, 1) as Ring[];
  if (geometry.type === "MultiPolygon") return geometry.coordinates.flatMap((one) => one.slice(0, 1)) as Ring[];
  return [];
}

/** What the server is sent: six decimals are 0.1 m. */
export function shapeOf(rings: readonly Ring[]): GeoJSON.Polygon | GeoJSON.MultiPolygon | null {
  const rounded = rings.map((ring) => ring.map((point) => point.map((one) => Math.round(one * 1e6) / 1e6)));
  if (!rounded.length) return null;
  if (rounded.length === 1) return { type: "Polygon", coordinates: rounded };
  return { type: "MultiPolygon", coordinates: rounded.map((ring) => [ring]) };
}

const turn = (a: Position, b: Position, c: Position): number =>
  Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));

/** Whether two segments have a point in common. */
function meet(a: Position, b: Position, c: Position, d: Position): boolean {
  const [one, two, three, four] = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
  if (one !== two && three !== four) return true;
  const on = (p: Position, q: Position, r: Position): boolean =>
    Math.min(p[0], q[0]) <= r[0] && r[0] <= Math.max(p[0], q[0]) && Math.min(p[1], q[1]) <= r[1] && r[1] <= Math.max(p[1], q[1]);
  return (
    (one === 0 && on(a, b, c)) || (two === 0 && on(a, b, d)) || (three === 0 && on(c, d, a)) || (four === 0 && on(c, d, b))
  );
}

export function crossesItself(ring: readonly Position[]): boolean {
  const n = ring.length - 1;
  if (n < 3) return true;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const neighbours = j === i + 1 || (i === 0 && j === n - 1);
      if (neighbours) {
        // They share a corner; where one runs back over the other the ring has a spike.
        const [before, corner, after] = j === i + 1 ? [ring[i]!, ring[j]!, ring[j + 1]!] : [ring[j]!, ring[0]!, ring[1]!];
        const back = (corner[0] - before[0]) * (after[0] - corner[0]) + (corner[1] - before[1]) * (after[1] - corner[1]) < 0;
        if (turn(before, corner, after) === 0 && back) return true;
      } else if (meet(ring[i]!, ring[i + 1]!, ring[j]!, ring[j + 1]!)) return true;
    }
  }
  return false;
}

export function faultOf(rings: readonly Ring[]): Fault {
  if (rings.some(crossesItself)) return "crosses";
  for (let i = 0; i < rings.length; i++) {
    for (let j = i + 1; j < rings.length; j++) {
      const [one, other] = [rings[i]!, rings[j]!];
      const within = inside(one, ...other[0]!) || inside(other, ...one[0]!);
      const edges = one.slice(1).some((end, k) => other.slice(1).some((last, m) => meet(one[k]!, end, other[m]!, last)));
      if (within || edges) return "overlaps";
    }
  }
  return null;
}
