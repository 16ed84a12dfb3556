// Texts of the one message catalogue, and numbers and dates as the language writes them.

import * as api from "./api";
import type { Period, Said } from "./types";

type Entry = string | Record<string, string>;
export type Values = Record<string, string | number>;

const LOCALES: Record<string, string> = { en: "en-GB" };
const KEPT = "sluice.language";

let entries: Record<string, Entry> = {};
export let language = "en";
let locale = "en-GB";

/** The language chosen before, else the first of the browser's that there is, else English. */
export function preferredLanguage(known: readonly string[], first: string | null = null): string {
  const wanted = [read(KEPT), first, ...navigator.languages.map((code) => code.slice(0, 2).toLowerCase())];
  return wanted.find((code) => code !== null && known.includes(code)) ?? "en";
}

export async function loadWords(code: string): Promise<void> {
  entries = await api.messages(code);
  language = code;
  locale = LOCALES[code] ?? code;
  document.documentElement.lang = code;
}

export function keepLanguage(code: string): void {
  try {
    localStorage.setItem(KEPT, code);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}

function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** One text with its places filled; the number `n` chooses the plural form. */
export function text(key: string, values: Values = {}): string {
  let entry = entries[key] ?? key;
  if (typeof entry !== "string") {
    const form = new Intl.PluralRules(locale).select(Number(values["n"] ?? 0));
    entry = entry[form] ?? entry["other"] ?? key;
  }
  return entry.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? number(value) : value;
  });
}

/** A text of the map. */
export const t = (name: string, values: Values = {}): string => text(`map.${name}`, values);

/** Who is to be named for images. */
export const credits = (owners: readonly string[]): string =>
  owners.map((owner) => word("credit", owner)).join(" · ");

/** The word for a value of an enumeration; a value without one stands as it is. */
export function word(group: string, value: string): string {
  return `${group}.${value}` in entries ? text(`${group}.${value}`) : value;
}

export const capital = (words: string): string => words.charAt(0).toUpperCase() + words.slice(1);

export function number(value: number, digits = 0): string {
  return new Intl.NumberFormat(locale, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
}

/** A share of 1 as whole percent; what is not quite 0 or 100 is not rounded to it. */
export function percent(share: number): string {
  const shown = (value: number): string =>
    new Intl.NumberFormat(locale, { style: "percent" }).format(value);
  if (share > 0 && share < 0.005) return `< ${shown(0.01)}`;
  if (share > 0.995 && share < 1) return `> ${shown(0.99)}`;
  return shown(share);
}

export const hectares = (value: number): string =>
  `${number(value, value < 99.95 ? 1 : 0)}\u00a0ha`;

/** An area with its unit; "at most" where nothing could be outlined; nothing where it is not known. */
export function areaOf(one: { area_ha: number | null; area_high_ha: number | null }): string {
  if (one.area_ha === null) return "";
  if (one.area_ha > 0 || !one.area_high_ha) return hectares(one.area_ha);
  return text("common.at_most", { area: hectares(one.area_high_ha) });
}

export function metres(value: number): string {
  if (value < 995) return `${number(value >= 20 ? 10 * Math.round(value / 10) : value)}\u00a0m`;
  return `${number(value / 1000, value >= 100_000 ? 0 : 1)}\u00a0km`;
}

const day = (iso: string): Date => new Date(`${iso.slice(0, 10)}T00:00:00Z`);

export function date(iso: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(day(iso));
}

export function moment(iso: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(
    new Date(iso),
  );
}

/** From one day to another, short: whole years without their months, whole months without their days. */
export function period(start: string, end: string): string {
  const first = day(start);
  const last = day(end);
  const next = new Date(last.getTime() + 86_400_000);
  const months = first.getUTCDate() === 1 && next.getUTCDate() === 1;
  const years = months && first.getUTCMonth() === 0 && next.getUTCMonth() === 0;
  return new Intl.DateTimeFormat(locale, {
    year: "numeric",
    timeZone: "UTC",
    ...(years ? {} : { month: "short" }),
    ...(months ? {} : { day: "numeric" }),
  }).formatRange(first, last);
}

/**
 * The period that begins or ends on a day: of an image of many dates nobody knows the day itself.
 *
 * @param known Those that there are; of several the longest holds, and without any the day is told.
 */
export function periodWith(edge: "start" | "end", iso: string, known: readonly Period[]): string {
  const fit = known.filter((one) => one[edge] === iso.slice(0, 10));
  if (!fit.length) return date(iso);
  const [first] = fit.map((one) => one.start).sort();
  const last = fit.map((one) => one.end).sort().at(-1);
  return period(first!, last!);
}

const UNITS: Record<string, (value: string | number) => string> = {
  ha: (value) => hectares(Number(value)),
  m: (value) => metres(Number(value)),
  share: (value) => percent(Number(value)),
  probability: (value) => probability(Number(value)),
  day: (value) => date(String(value)),
  period: (value) => {
    const [start = "", end = ""] = String(value).split("/");
    return period(start, end);
  },
  sensors: (value) =>
    new Intl.ListFormat(locale).format(String(value).split(",").map((id) => word("sensor", id))),
};

/** A probability is never told as certain. */
export function probability(value: number): string {
  const digits = value > 0 && value < 0.005 ? 3 : 2;
  if (value > 0.995 && value < 1) return `> ${number(0.99, 2)}`;
  return number(value, digits);
}

/** What rules decided, as sentences: the last word of a value's name is its unit. */
export function sentences(decided: readonly Said[] | null): string {
  return (decided ?? [])
    .map(({ code, values }) => {
      const worded = Object.entries(values).map(([name, value]) => {
        const unit = UNITS[name.slice(name.lastIndexOf("_") + 1)];
        return [name, unit ? unit(value) : value];
      });
      return text(code, Object.fromEntries(worded) as Values);
    })
    .join(" ");
}
