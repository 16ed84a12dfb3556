// What is known of a site: figures, evidence, surroundings, images.

import { el, svg, type Attributes } from "../base/dom";
import type { Look, Period, Scene, Site, SiteDetail } from "../base/types";
import {
  areaOf,
  capital,
  date,
  hectares,
  metres,
  number,
  percent,
  period as periodWords,
  periodWith,
  sentences,
  t,
  text,
  word,
} from "../base/words";

const INSIDE = ["concession", "protected", "indigenous", "settlement", "road", "expert"];
const FLAG: Record<string, string> = { settlement: "in_settlement", road: "on_road" };
const NEAR = ["river", "road", "settlement", "airstrip", "concession", "protected", "indigenous"];
const COVER = ["forest", "farmland", "water", "bare"] as const;
const LOST = ["forest", "farmland", "water"] as const;
const MOST_SCENES = 60;

type Row = [string, string | Node];

/** What is withheld of a place is absent. */
export const isTold = <T>(value: T | null | undefined): value is T => value !== null && value !== undefined;

export function facts(rows: Row[]): HTMLElement {
  const list = el("dl", { class: "facts" });
  for (const [name, value] of rows) list.append(el("dt", {}, name), el("dd", {}, value));
  return list;
}

export function section(title: string, open: boolean, ...content: (Node | null | false)[]): HTMLElement {
  const attributes: Attributes = { class: "section", open };
  return el("details", attributes, el("summary", {}, el("h3", {}, title)), ...content);
}

export function areaWithInterval(site: Site): string {
  if (site.area_ha === null) return t("no_area");
  if (!isTold(site.area_low_ha) || !isTold(site.area_high_ha) || site.area_ha === 0) return areaOf(site);
  return text("common.interval", {
    area: hectares(site.area_ha),
    low: number(site.area_low_ha, 1),
    high: hectares(site.area_high_ha),
  });
}

/** @param known Periods that there are. */
export function mainFigures(site: Site, known: readonly Period[]): HTMLElement {
  const first = periodWith("start", site.first_seen, known);
  const began = t(site.known_before ? "began" : "may_be_older", { period: first });
  const rows: (Row | false)[] = [
    [t("area"), areaWithInterval(site)],
    isTold(site.posterior) && [t("probability"), percent(site.posterior)],
    [t("since_when"), began],
    [t("last_seen"), periodWith("end", site.last_seen, known)],
    isTold(site.last_observed) && [t("last_observed"), periodWith("end", site.last_observed, known)],
    isTold(site.cumulative_ha) && [t("ever_detected"), hectares(site.cumulative_ha)],
  ];
  return facts(rows.filter((row) => row !== false));
}

/** The points that make up the priority, as a stacked bar with words. */
export function priorityParts(site: Site): HTMLElement {
  const parts = Object.entries(site.priority_parts).filter(([, points]) => points > 0);
  const colours = ["#0f5c66", "#a8287e", "#2e7d32", "#2f83b7", "#a66a00"];
  let at = 0;
  const bar = svg("svg", { viewBox: "0 0 100 6", class: "stack", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(svg("rect", { width: 100, height: 6, fill: "#e4e9e8" }));
  parts.forEach(([, points], index) => {
    bar.append(svg("rect", { x: at, width: points, height: 6, fill: colours[index % colours.length] }));
    at += points;
  });
  return el(
    "div",
    { class: "parts" },
    el("p", {}, el("strong", {}, t("priority_of_100", { points: number(site.priority, 0) }))),
    bar,
    el(
      "ul",
      {},
      ...parts.map(([name, points], index) => {
        const key = el("i", { class: "key" });
        key.style.background = colours[index % colours.length]!;
        return el("li", {}, key, `${capital(word("part", name))} ${number(points, 0)}`);
      }),
    ),
  );
}

/** How the looks of each kind of satellite weigh, as alerts and reports take them. */
export function evidence(detail: SiteDetail): HTMLElement {
  const sensors = [...new Set(detail.looks.map((look) => look.satellites))];
  const rows = sensors.map((sensor) => {
    const looks = detail.looks.filter((look) => look.satellites === sensor);
    const ratios = looks.map((look) => look.log_lr).filter((value) => value !== null);
    const seen = looks.reduce((sum, look) => sum + look.observed_share, 0) / looks.length;
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, word("sensor", sensor)),
      el("td", {}, t("detected_in", { n: looks.length, k: looks.filter((look) => look.detected).length })),
      el("td", {}, percent(seen)),
      el("td", {}, weight(ratios)),
    );
  });
  const head = ["sensor", "looks", "observed_share", "ratio"].map((name) =>
    el("th", { scope: "col" }, capital(text(`evidence.${name}`))),
  );
  return el(
    "div",
    {},
    el("p", { class: "hint" }, text("evidence.intro")),
    el(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": text("evidence.table") },
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)),
    ),
    sensors.includes("s1") && el("p", { class: "hint" }, text("evidence.radar_note")),
  );
}

function weight(ratios: readonly number[]): string {
  if (!ratios.length) return text("evidence.no_weight");
  const mean = ratios.reduce((sum, value) => sum + value, 0) / ratios.length;
  const factor = Math.exp(Math.abs(mean));
  if (factor < 1.05) return text("evidence.neither");
  const ratio = number(factor, factor < 10 ? 1 : 0);
  return text(mean > 0 ? "evidence.for_mine" : "evidence.against_mine", { ratio });
}

const said = (value: unknown): value is string | number =>
  (typeof value === "string" && value !== "") || (typeof value === "number" && Number.isFinite(value));

/** What registered layers say of the place. */
export function surroundings(context: Record<string, unknown>): Row[] {
  const rows: Row[] = [];
  if (said(context["district"])) rows.push([capital(word("layer", "district")), String(context["district"])]);
  for (const stem of INSIDE) {
    const flag = context[FLAG[stem] ?? `in_${stem}`];
    if (typeof flag !== "boolean") continue;
    const told = [text(flag ? "common.yes" : "common.no")];
    const share = context[`${stem}_share`];
    if (flag && typeof share === "number" && share < 0.995) told[0] += ` (${percent(share)})`;
    if (flag) {
      for (const name of [`${stem}_name`, `${stem}_id`]) {
        if (said(context[name])) told.push(String(context[name]));
      }
      const dates = [context[`${stem}_start`], context[`${stem}_end`]];
      if (dates.some(said)) told.push(dates.map((day) => (said(day) ? date(String(day)) : "…")).join(" – "));
      const valid = context[`${stem}_valid_share`];
      if (typeof valid === "number") told.push(text("context.valid_share", { share: percent(valid) }));
    }
    rows.push([capital(text("context.inside", { what: word("layer", stem) })), told.join(" · ")]);
  }
  for (const stem of NEAR) {
    const distance = context[`${stem}_m`];
    // Told above, where the site lies inside; at 0 m of what nothing lies inside of, a river, it is told here.
    if (typeof distance !== "number" || context[FLAG[stem] ?? `in_${stem}`] === true) continue;
    const name = context[`${stem}_name`];
    rows.push([
      capital(text("context.distance", { what: word("layer", stem) })),
      metres(distance) + (said(name) ? ` · ${name}` : ""),
    ]);
  }
  if (typeof context["slope_deg"] === "number") {
    rows.push([capital(word("layer", "slope")), `${number(context["slope_deg"])}°`]);
  }
  return rows;
}

/** Ground cover in the last look that tells it, for sites without another one to compare. */
function lastCover(looks: readonly Look[]): HTMLElement | null {
  const last = looks.filter((look) => COVER.some((cover) => look[`${cover}_ha`] !== null)).at(-1);
  if (!last) return null;
  const rows = COVER.map((cover): Row => {
    const value = last[`${cover}_ha`] ?? null;
    return [capital(text(`context.${cover}`)), value === null ? "–" : hectares(value)];
  });
  return facts(rows);
}

/** Ground cover before and after, and what was lost, or where that is not known, the difference. */
export function groundCover({ looks, cover }: SiteDetail): HTMLElement | null {
  if (!cover) return lastCover(looks);
  const hasLosses = LOST.some((name) => cover[`${name}_lost_ha`] !== null);
  const periodFrom = (start: string): string => {
    const look = looks.filter((one) => one.start === start).at(-1);
    return look ? periodWords(look.start, look.end) : date(start);
  };
  const rows = COVER.map((name) => {
    const [before, after] = [cover[`${name}_before_ha`], cover[`${name}_after_ha`]];
    const lost = name === "bare" ? null : cover[`${name}_lost_ha`];
    const change = hasLosses ? (lost === null ? "–" : hectares(lost)) : signed(after - before);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, capital(text(`context.${name}`))),
      ...[hectares(before), hectares(after), change].map((told) => el("td", {}, told)),
    );
  });
  const head = [periodFrom(cover.cover_before), periodFrom(cover.cover_after), text(`context.${hasLosses ? "loss" : "change"}`)];
  return el(
    "div",
    { class: "cover" },
    el("h4", {}, text("context.cover")),
    el(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": text("context.cover") },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, el("td", {}), ...head.map((words) => el("th", { scope: "col" }, capital(words))))),
        el("tbody", {}, ...rows),
      ),
    ),
    !cover.known_before && el("p", { class: "hint" }, t("cover_since")),
    el("p", { class: "hint" }, text("context.cover_note")),
  );
}

function signed(change: number): string {
  if (Math.abs(change) < 0.05) return hectares(0);
  return `${change > 0 ? "+" : "\u2212"}${hectares(Math.abs(change))}`;
}

export function legality(site: Site): HTMLElement {
  return el(
    "div",
    {},
    el("p", { class: `law law-${site.legality}` }, word("legality", site.legality)),
    el("p", { class: "hint" }, sentences(site.legality_why)),
    el("p", { class: "hint" }, text("context.law_note")),
  );
}

export function scenes(detail: SiteDetail): HTMLElement {
  if (!detail.scenes.length) return el("p", {}, text("method.no_scenes"));
  const shown = [...detail.scenes]
    .sort((one, other) => (other.acquired ?? "").localeCompare(one.acquired ?? ""))
    .slice(0, MOST_SCENES);
  const runs = new Map(detail.runs.map((run) => [run.run_id, run]));
  return el(
    "ul",
    { class: "scenes" },
    ...shown.map((scene: Scene) => {
      const run = runs.get(scene.run_id);
      const when = scene.acquired ? date(scene.acquired) : run ? periodWords(run.start, run.end) : "";
      return el("li", {}, el("span", {}, when), el("code", {}, scene.scene_id));
    }),
    detail.scenes.length > shown.length &&
      el("li", {}, t("more_scenes", { n: detail.scenes.length - shown.length })),
  );
}
