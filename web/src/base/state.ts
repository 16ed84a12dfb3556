// What is looked at: one state, which the address carries behind its `#`, so that a link reopens
// the same view.

import type { Period } from "./types";

export type Tab = "alerts" | "sites" | "statistics";

export interface View {
  area: string | null;
  /** Null shows the latest of each site. */
  period: Period | null;
  site: string | null;
  tab: Tab;
  camera: { lon: number; lat: number; zoom: number } | null;
  /** The two periods beside one another. */
  compare: [Period, Period] | null;
  /** Opacity from 0 to 1 of layers that differ from their first one; 0 hides. */
  opacity: Record<string, number>;
}

const TABS: readonly Tab[] = ["alerts", "sites", "statistics"];
const DAY = /^\d{4}-\d{2}-\d{2}$/;

type Listener = (view: View, changed: ReadonlySet<keyof View>) => void;

const listeners: Listener[] = [];
let view: View = fromHash(location.hash);
let timer = 0;

export const look = (): Readonly<View> => view;

export function watch(listener: Listener): void {
  listeners.push(listener);
}

/** Change the view and tell whoever watches it. */
export function go(change: Partial<View>): void {
  const changed = new Set(
    (Object.keys(change) as (keyof View)[]).filter((key) => !same(view[key], change[key])),
  );
  if (!changed.size) return;
  view = { ...view, ...change };
  // A moving camera changes many times a second, and browsers ration changes of the address.
  window.clearTimeout(timer);
  const lasting = changed.has("site") || changed.has("area") || changed.has("compare");
  if (lasting) history.pushState(null, "", toHash(view));
  else timer = window.setTimeout(() => history.replaceState(null, "", toHash(view)), 250);
  for (const listener of listeners) listener(view, changed);
}

window.addEventListener("popstate", () => {
  const next = fromHash(location.hash);
  const changed = new Set(
    (Object.keys(next) as (keyof View)[]).filter((key) => !same(view[key], next[key])),
  );
  view = next;
  if (changed.size) for (const listener of listeners) listener(view, changed);
});

/** The address that reopens this view. */
export function link(): string {
  return `${location.origin}${location.pathname}${toHash(view)}`;
}

const same = (one: unknown, other: unknown): boolean =>
  JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

export const samePeriod = (one: Period | null, other: Period | null): boolean =>
  one?.start === other?.start && one?.end === other?.end;

export function toHash(state: View): string {
  const parts = new URLSearchParams();
  if (state.area) parts.set("area", state.area);
  if (state.camera) {
    const { lon, lat, zoom } = state.camera;
    parts.set("at", `${lon.toFixed(5)},${lat.toFixed(5)},${zoom.toFixed(2)}`);
  }
  if (state.period) parts.set("period", written(state.period));
  if (state.compare) parts.set("compare", state.compare.map(written).join("~"));
  if (state.site) parts.set("site", state.site);
  if (state.tab !== "alerts") parts.set("tab", state.tab);
  const opacity = Object.entries(state.opacity).map(([name, value]) => `${name}:${value}`);
  if (opacity.length) parts.set("layers", opacity.join(","));
  return `#${parts.toString().replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
}

/** Whatever in an address cannot be read is left out. */
export function fromHash(hash: string): View {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const [lon, lat, zoom] = (parts.get("at") ?? "").split(",").map(Number);
  const there = [lon, lat, zoom].every((value) => value !== undefined && Number.isFinite(value));
  const tab = parts.get("tab") as Tab | null;
  const pair = (parts.get("compare") ?? "").split("~").map(readPeriod);
  const opacity: Record<string, number> = {};
  for (const part of (parts.get("layers") ?? "").split(",")) {
    const at = part.lastIndexOf(":");
    const value = Number(part.slice(at + 1));
    if (at > 0 && value >= 0 && value <= 1) opacity[part.slice(0, at)] = value;
  }
  return {
    area: parts.get("area"),
    period: readPeriod(parts.get("period") ?? ""),
    site: parts.get("site"),
    tab: tab && TABS.includes(tab) ? tab : "alerts",
    camera:
      there && Math.abs(lat!) <= 90 ? { lon: lon!, lat: lat!, zoom: Math.min(22, zoom!) } : null,
    compare: pair[0] && pair[1] ? [pair[0], pair[1]] : null,
    opacity,
  };
}

const written = (period: Period): string => `${period.start}/${period.end}`;

function readPeriod(words: string): Period | null {
  const [start, end] = words.split("/");
  return start && end && DAY.test(start) && DAY.test(end) ? { start, end } : null;
}
