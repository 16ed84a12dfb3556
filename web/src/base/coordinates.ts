// Coordinates as people type them, read as the service reads them: `sluice.app.web.search`.

const SOUTH = String.raw`\s*°?\s*([NSns]?)`;
// East and west in the languages of the map: east, este and leste; west, ouest and oeste.
const EAST = String.raw`\s*°?\s*([EWLOewlo]?)`;
const PAIRS = [
  [String.raw`(?:\.\d+)?`, String.raw`[\s,;]+`],
  // A comma of a number is not one between numbers.
  [String.raw`(?:,\d+)?`, String.raw`\s*(?:;|,?\s)\s*`],
  [String.raw`,\d+`, ","],
].map(
  ([part, between]) =>
    new RegExp(`^([+-]?\\d{1,3}${part})${SOUTH}${between}([+-]?\\d{1,3}${part})${EAST}$`),
);
const ANGLE = String.raw`(\d{1,3})\s*[°d:\s]\s*(\d{1,2})\s*['′m:\s]\s*(\d{1,2}(?:[.,]\d+)?)?\s*["″s]?\s*`;
const SEXAGESIMAL = new RegExp(`^${ANGLE}([NSns])[\\s,;]*${ANGLE}([EWLOewlo])$`);

/** Longitude and latitude of `5.05, -1.03`, `5,05 -1,03` or `5°03'00"N 1°02'03"W`; null of all else. */
export function readCoordinates(typed: string): [number, number] | null {
  const words = typed.trim().replace(/\s+/g, " ");
  const pair = PAIRS.map((known) => known.exec(words)).find((found) => found !== null);
  if (pair) {
    let [lat, lon] = [numberOf(pair[1]), numberOf(pair[3])];
    if (isOneOf(pair[2], "S")) lat = -lat;
    if (isOneOf(pair[4], "WO")) lon = -lon;
    // Latitude first, as map services write them, unless it can be none.
    if (Math.abs(lat) > 90 && Math.abs(lon) <= 90 && !pair[2]) [lat, lon] = [lon, lat];
    return ifOnEarth(lon, lat);
  }
  const angle = SEXAGESIMAL.exec(words);
  if (!angle) return null;
  const lat = degrees(angle[1], angle[2], angle[3]) * (isOneOf(angle[4], "S") ? -1 : 1);
  const lon = degrees(angle[5], angle[6], angle[7]) * (isOneOf(angle[8], "WO") ? -1 : 1);
  return ifOnEarth(lon, lat);
}

const numberOf = (digits = "0"): number => Number(digits.replace(",", "."));
const isOneOf = (letter: string | undefined, letters: string): boolean =>
  Boolean(letter) && letters.includes(letter!.toUpperCase());

function degrees(whole?: string, minutes?: string, seconds?: string): number {
  return Number((numberOf(whole) + numberOf(minutes) / 60 + numberOf(seconds) / 3600).toFixed(6));
}

const ifOnEarth = (lon: number, lat: number): [number, number] | null =>
  Math.abs(lon) <= 180 && Math.abs(lat) <= 90 ? [lon, lat] : null;
