// A site's area over time: bars with their 80 % interval; a ring where it was clearly observed and
// nothing was found; hatching where it was hidden, which says nothing.

import { el, svg } from "../base/dom";
import { samePeriod } from "../base/state";
import type { Period, SitePeriod, Status } from "../base/types";
import { areaOf, capital, number, percent, period as periodWords, t, text, word } from "../base/words";
import { MARKS } from "../map/symbols";

const WIDTH = 340;
const HEIGHT = 150;
const LEFT = 34;
const TOP = 10;
const FLOOR = 122;

/** A round number at or above one. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.1)));
  const step = [1, 2, 5, 10].find((one) => one * power >= value) ?? 10;
  return step * power;
}

export function historyChart(
  told: readonly SitePeriod[],
  chosen: Period | null,
  choose: (period: SitePeriod) => void,
): HTMLElement {
  const periods = told.map(whole);
  if (!periods.length) return el("p", {}, text("history.empty"));
  const highest = Math.max(...periods.map((one) => one.area_high_ha ?? one.area_ha ?? 0), 1);
  const top = roundUp(highest);
  const y = (value: number): number => FLOOR - ((FLOOR - TOP) * value) / top;
  const step = (WIDTH - LEFT - 6) / periods.length;
  const width = Math.min(26, step * 0.62);
  const chart = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "chart",
    role: "group",
    "aria-label": text("history.chart_alt"),
  });
  chart.append(
    svg(
      "defs",
      {},
      svg(
        "pattern",
        { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        svg("rect", { width: 6, height: 6, fill: "#f3f4f2" }),
        svg("path", { d: "M0 0v6", stroke: "#b4bcc0", "stroke-width": 2 }),
      ),
    ),
  );
  for (const value of [0, top / 2, top]) {
    chart.append(
      svg("path", { d: `M${LEFT} ${y(value)}H${WIDTH}`, stroke: value ? "#e1e6e5" : "#7b878d" }),
      svg(
        "text",
        { x: LEFT - 5, y: y(value) + 3.5, "text-anchor": "end", class: "axis" },
        number(value, value % 1 ? 1 : 0),
      ),
    );
  }
  periods.forEach((one, index) => {
    const middle = LEFT + step * (index + 0.5);
    chart.append(bar(one, middle, width, step, y, samePeriod(one, chosen), () => choose(one)));
    const year = one.start.slice(0, 4);
    if (index === 0 || periods[index - 1]!.start.slice(0, 4) !== year) {
      chart.append(svg("text", { x: middle - width / 2, y: HEIGHT - 6, class: "axis" }, year));
    }
  });
  return el(
    "figure",
    { class: "history" },
    el("figcaption", { class: "axis-name" }, text("history.axis")),
    chart,
  );
}

const WORKED: readonly Status[] = ["new", "growing", "steady"];

/** Of a place that is withheld it is not told when it was hidden; its status says what was found. */
function whole(one: SitePeriod): SitePeriod {
  if (one.observed !== undefined) return one;
  return { ...one, observed: true, detected: WORKED.includes(one.status), area_low_ha: null, area_high_ha: null };
}

/** What happened in one period, in words. */
export function periodTold(one: SitePeriod): string {
  const when = periodWords(one.start, one.end);
  const size = areaOf(one);
  return [when, capital(word("status", one.status)), size, one.posterior === undefined ? "" : percent(one.posterior)]
    .filter(Boolean)
    .join(" · ");
}

function bar(
  one: SitePeriod,
  middle: number,
  width: number,
  step: number,
  y: (value: number) => number,
  chosen: boolean,
  choose: () => void,
): SVGElement {
  const told = periodTold(one);
  const group = svg("g", {
    class: chosen ? "period chosen" : "period",
    role: "button",
    tabindex: 0,
    "aria-label": t("show_period", { what: told }),
    "aria-pressed": chosen ? "true" : "false",
    onclick: choose,
    onkeydown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    },
  });
  group.append(
    svg("title", {}, told),
    svg("rect", {
      x: middle - step / 2 + 1,
      y: TOP - 6,
      width: step - 2,
      height: FLOOR - TOP + 12,
      class: "field",
      rx: 3,
      ...(one.observed ? {} : { fill: "url(#hatch)" }),
    }),
  );
  const { colour } = MARKS[one.status];
  if (one.detected && one.area_ha !== null) {
    group.append(
      svg("rect", {
        x: middle - width / 2,
        y: y(one.area_ha),
        width,
        height: Math.max(1, y(0) - y(one.area_ha)),
        fill: colour,
        rx: 1.5,
      }),
    );
    if (one.area_low_ha !== null && one.area_high_ha !== null) {
      const [low, high] = [y(one.area_low_ha), y(one.area_high_ha)];
      const d = `M${middle} ${low}V${high}M${middle - 4} ${low}h8M${middle - 4} ${high}h8`;
      group.append(
        svg("path", { d, stroke: "#ffffff", "stroke-width": 3, "stroke-opacity": 0.55, fill: "none" }),
        svg("path", { d, stroke: "#26343b", "stroke-width": 1.4, fill: "none" }),
      );
    }
  } else if (one.observed) {
    group.append(
      svg("circle", { cx: middle, cy: y(0), r: 4.4, fill: "#ffffff", stroke: colour, "stroke-width": 2 }),
    );
  } else {
    group.append(
      svg("path", {
        d: `M${middle - 4} ${y(0) - 12}l8 8m0-8l-8 8`,
        stroke: colour,
        "stroke-width": 1.8,
        fill: "none",
      }),
    );
  }
  return group;
}
