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

/** The outer rings of a shape: its holes are filled, with what lies in them. */
export function outerRings(geometry: GeoJSON.Geometry): Ring[] {
  if (geometry.type === "Polygon") return geometry.coordinates.slice(0, 1) as Ring[];
  if (geometry.type !== "MultiPolygon") return [];
  const rings = geometry.coordinates.flatMap((one) => one.slice(0, 1)) as Ring[];
  return rings.filter((ring) => !rings.some((other) => other !== ring && reachesInto(ring, other)));
}

/** What the server is sent: six decimals are 0.1 m. */
export function shapeOf(rings: readonly Ring[]): GeoJSON.Polygon | GeoJSON.MultiPolygon | null {
  if (!rings.length) return null;
  const sent = rings.map(sentRing);
  if (sent.length === 1) return { type: "Polygon", coordinates: sent };
  return { type: "MultiPolygon", coordinates: sent.map((ring) => [ring]) };
}

/** Rounded, no point twice in a row. */
function sentRing(ring: Ring): Ring {
  const rounded = ring.map(([x, y]): Position => [Math.round(x * 1e6) / 1e6, Math.round(y * 1e6) / 1e6]);
  return rounded.filter(([x, y], k) => k === 0 || x !== rounded[k - 1]![0] || y !== rounded[k - 1]![1]);
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

export function crossesItself(given: Ring): boolean {
  const ring = sentRing(given);
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

/** Where on a segment, from 0 to 1, another one meets it; where they lie on each other, both ends of that. */
function meetings(a: Position, b: Position, c: Position, d: Position): number[] {
  const along = (p: Position): number =>
    Math.abs(b[0] - a[0]) > Math.abs(b[1] - a[1]) ? (p[0] - a[0]) / (b[0] - a[0]) : (p[1] - a[1]) / (b[1] - a[1]);
  const [one, two] = [turn(a, b, c), turn(a, b, d)];
  const ends = [...(one === 0 ? [along(c)] : []), ...(two === 0 ? [along(d)] : [])];
  return ends.filter((share) => share > 0 && share < 1);
}

/** Whether the edges of two rings cross, or run along each other. */
function crossOrShare(a: Position, b: Position, c: Position, d: Position): boolean {
  const [one, two, three, four] = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
  if (one === 0 && two === 0) {
    const axis = Math.abs(b[0] - a[0]) > Math.abs(b[1] - a[1]) ? 0 : 1;
    const least = Math.max(Math.min(a[axis], b[axis]), Math.min(c[axis], d[axis]));
    return least < Math.min(Math.max(a[axis], b[axis]), Math.max(c[axis], d[axis]));
  }
  return one * two < 0 && three * four < 0;
}

const apart = ([a, b]: readonly [Position, Position], [west, south, east, north]: BBox): boolean =>
  Math.max(a[0], b[0]) < west || Math.min(a[0], b[0]) > east || Math.max(a[1], b[1]) < south || Math.min(a[1], b[1]) > north;

const edgesOf = (ring: Ring): (readonly [Position, Position])[] => ring.slice(1).map((end, k) => [ring[k]!, end] as const);

/** Whether a piece of the edge of a ring lies within another; the two may touch, but neither cross nor share an edge. */
function reachesInto(ring: Ring, other: Ring): boolean {
  const box = boxOfRings([other]);
  const [mine, theirs] = [edgesOf(ring), edgesOf(other)];
  return mine.some((edge) => {
    if (apart(edge, box)) return false;
    const [a, b] = edge;
    const stops = [0, ...theirs.flatMap(([c, d]) => meetings(a, b, c, d)), 1].sort((one, two) => one - two);
    return stops.slice(1).some((stop, k) => {
      const share = (stops[k]! + stop) / 2;
      return stop > stops[k]! && inside(other, a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]));
    });
  });
}

/** Parts may touch in points, as the corners of pixels do, but share no ground and no edge. */
function overlap(one: Ring, other: Ring): boolean {
  const box = boxOfRings([one]);
  const near = edgesOf(other).filter((edge) => !apart(edge, box));
  if (!near.length && !inside(other, ...one[0]!)) return false;
  if (near.length && edgesOf(one).some(([a, b]) => near.some(([c, d]) => crossOrShare(a, b, c, d)))) return true;
  return reachesInto(one, other) || reachesInto(other, one);
}

/** What the server would refuse of what it is sent. */
export function faultOf(rings: readonly Ring[]): Fault {
  if (rings.some(crossesItself)) return "crosses";
  const sent = rings.map(sentRing);
  return sent.some((one, k) => sent.slice(k + 1).some((other) => overlap(one, other))) ? "overlaps" : null;
}
