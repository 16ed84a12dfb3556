// Coordinates as people type them, read as the service reads them: `sluice.app.web.search`.

// East and west in the languages of the map: east, este and leste; west, ouest and oeste.
const SIDE = "[NSEWLO]";

/** Two numbers, with letters behind them or before them. */
function twice(number: string, between: string, behind: string): RegExp[] {
  const [first, second] = ["1", "2"].map((at) => number.replaceAll("$", at));
  return [
    new RegExp(`^${first}(?<s1>${behind})${between}${second}(?<s2>${behind})$`),
    new RegExp(`^(?<s1>${SIDE})\\s*${first}${between}(?<s2>${SIDE})\\s*${second}$`),
  ];
}

const PAIRS = [
  [String.raw`(?:\.\d+)?`, String.raw`[\s,;]+`],
  // A comma of a number is not one between numbers.
  [String.raw`(?:,\d+)?`, String.raw`\s*(?:;|,?\s)\s*`],
  [String.raw`,\d+`, ","],
].flatMap(([part, between]) => twice(`(?<n$>[+-]?\\d{1,3}${part})\\s*°?\\s*`, between!, `${SIDE}?`));
const SEXAGESIMAL = twice(
  String.raw`(?<d$>\d{1,3})\s*[°D:\s]\s*(?<m$>\d{1,2})\s*['′M:\s]\s*(?<p$>\d{1,2}(?:[.,]\d+)?)?\s*["″S]?\s*`,
  String.raw`[\s,;]*`,
  SIDE,
);

/** The parts of the first pattern that fits. */
function parts(patterns: readonly RegExp[], words: string): Record<string, string | undefined> | null {
  for (const pattern of patterns) {
    const found = pattern.exec(words)?.groups;
    if (found) return found;
  }
  return null;
}

/**
 * Longitude and latitude of `5.05, -1.03`, `5,05 -1,03`, `N5.05 W1.03` or `5°03'00"N 1°02'03"W`;
 * null of all else.
 */
export function readCoordinates(typed: string): [number, number] | null {
  const words = typed.trim().replace(/\s+/g, " ").toUpperCase().replaceAll("\u2212", "-");
  const pair = parts(PAIRS, words);
  if (pair) return placed([numberOf(pair["n1"]), numberOf(pair["n2"])], [pair["s1"], pair["s2"]]);
  const angle = parts(SEXAGESIMAL, words);
  if (!angle) return null;
  const [one, two] = ["1", "2"].map((at) => degrees(angle[`d${at}`], angle[`m${at}`], angle[`p${at}`]));
  return placed([one!, two!], [angle["s1"], angle["s2"]]);
}

/** Of two numbers, by their letters. */
function placed(numbers: [number, number], sides: [string | undefined, string | undefined]): [number, number] | null {
  let [lat, lon] = numbers.map((number, at) => (isOneOf(sides[at], "SWO") ? -number : number)) as [number, number];
  const [first, second] = sides.map((side) => (side ? isOneOf(side, "NS") : null));
  if (sides[0] && sides[1] && first === second) return null;
  // Latitude first, as map services write them, unless it can be none.
  const plain = !sides[0] && !sides[1];
  const turned = first === false || second === true;
  if (turned || (plain && Math.abs(lat) > 90 && Math.abs(lon) <= 90)) [lat, lon] = [lon, lat];
  return Math.abs(lon) <= 180 && Math.abs(lat) <= 90 ? [lon, lat] : null;
}

const numberOf = (digits = "0"): number => Number(digits.replace(",", "."));
const isOneOf = (letter: string | undefined, letters: string): boolean => Boolean(letter) && letters.includes(letter!);

function degrees(whole?: string, minutes?: string, seconds?: string): number {
  return Number((numberOf(whole) + numberOf(minutes) / 60 + numberOf(seconds) / 3600).toFixed(6));
}
