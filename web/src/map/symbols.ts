// The marks of sites: one drawing for map, list and legend. Status is told by shape as well as by
// colour (hues apart for all common kinds of colour blindness), the verdict by a badge.

import type { Map as GlMap } from "maplibre-gl";

import { svg } from "../base/dom";
import { STATUSES, type Status, type Verdict } from "../base/types";

interface Mark {
  /** In a field of 24 by 24. */
  path: string;
  colour: string;
  hollow: boolean;
}

export const MARKS: Record<Status, Mark> = {
  new: { path: "M12 2.2L21.8 12 12 21.8 2.2 12z", colour: "#cf3f12", hollow: false },
  growing: { path: "M12 2.6l10 17.8H2z", colour: "#a8287e", hollow: false },
  steady: { path: "M12 3.4a8.6 8.6 0 1 0 0 17.2 8.6 8.6 0 0 0 0-17.2z", colour: "#0a5ea8", hollow: false },
  inactive: { path: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z", colour: "#4a5560", hollow: true },
  recovering: { path: "M2.4 4.4h19.2L12 21.4z", colour: "#0b7a55", hollow: true },
  not_observed: { path: "M4 4h16v16H4zM4 20L20 4", colour: "#6a747d", hollow: true },
};

const BADGES: Record<Verdict, { path: string; colour: string }> = {
  confirmed: { path: "M-3 0l2.2 2.4L3.2-2.6", colour: "#0b6b3a" },
  rejected: { path: "M-2.6-2.6l5.2 5.2M2.6-2.6l-5.2 5.2", colour: "#333b42" },
  unsure: { path: "M-1.9-1.4C-1.9-4 2-4 2-1.4 2 .4 0 .2 0 2M0 3.6v.4", colour: "#7a5b00" },
};
const VERDICTS: readonly (Verdict | "none")[] = ["none", "confirmed", "rejected", "unsure"];

/** Lines around the chosen site: what was detected in a period, ever, and what somebody drew. */
export const OUTLINES = { detected: "#f0a202", ground: "#10343c", drawn: "#00857c" } as const;

/** A piece of such a line, for the legend. */
export function outlineSample(kind: keyof typeof OUTLINES): SVGSVGElement {
  const ground = kind === "ground";
  return svg(
    "svg",
    { viewBox: "0 0 18 18", width: 18, height: 18, class: "mark", "aria-hidden": "true" },
    svg("rect", {
      x: 2,
      y: 4,
      width: 14,
      height: 10,
      fill: "none",
      stroke: OUTLINES[kind],
      "stroke-width": ground ? 1.6 : 2.6,
      "stroke-dasharray": ground ? "3 3" : "none",
    }),
  );
}

/** The mark of a status, for the page. */
export function mark(status: Status, verdict: Verdict | null = null, size = 20): SVGSVGElement {
  const { path, colour, hollow } = MARKS[status];
  const badge = verdict ? BADGES[verdict] : null;
  return svg(
    "svg",
    { viewBox: "0 0 28 28", width: size, height: size, class: "mark", "aria-hidden": "true" },
    svg(
      "g",
      { transform: "translate(1 3)", opacity: verdict === "rejected" ? 0.4 : 1 },
      svg("path", {
        d: path,
        fill: hollow ? "#ffffff" : colour,
        stroke: hollow ? colour : "#ffffff",
        "stroke-width": hollow ? 3 : 1.6,
        "stroke-linejoin": "round",
      }),
    ),
    badge &&
      svg(
        "g",
        { transform: "translate(21 7)" },
        svg("circle", { r: 6, fill: badge.colour, stroke: "#ffffff", "stroke-width": 1.4 }),
        svg("path", {
          d: badge.path,
          fill: "none",
          stroke: "#ffffff",
          "stroke-width": 1.7,
          "stroke-linecap": "round",
        }),
      ),
  );
}

const FIELD = 28;
const SCALE = 2;

function draw(status: Status, verdict: Verdict | "none"): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = FIELD * SCALE;
  const brush = canvas.getContext("2d")!;
  brush.scale(SCALE, SCALE);
  brush.lineJoin = brush.lineCap = "round";
  const { path, colour, hollow } = MARKS[status];
  const shape = new Path2D(path);
  brush.save();
  brush.translate(1, 3);
  if (verdict === "rejected") brush.globalAlpha = 0.4;
  brush.strokeStyle = "#ffffff";
  brush.lineWidth = hollow ? 6 : 3.4;
  brush.stroke(shape);
  brush.fillStyle = hollow ? "#ffffff" : colour;
  brush.fill(shape);
  if (hollow) {
    brush.strokeStyle = colour;
    brush.lineWidth = 3;
    brush.stroke(shape);
  }
  brush.restore();
  if (verdict !== "none") {
    const badge = BADGES[verdict];
    brush.translate(21, 7);
    brush.beginPath();
    brush.arc(0, 0, 6, 0, 2 * Math.PI);
    brush.fillStyle = badge.colour;
    brush.fill();
    brush.strokeStyle = "#ffffff";
    brush.lineWidth = 1.4;
    brush.stroke();
    brush.lineWidth = 1.7;
    brush.stroke(new Path2D(badge.path));
  }
  return brush.getImageData(0, 0, FIELD * SCALE, FIELD * SCALE);
}

/** Stripes for areas that must be told apart without colour. */
function stripes(colour: string): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const brush = canvas.getContext("2d")!;
  brush.strokeStyle = colour;
  brush.lineWidth = 2;
  for (const at of [-16, 0, 16]) {
    brush.beginPath();
    brush.moveTo(at, 16);
    brush.lineTo(at + 16, 0);
    brush.stroke();
  }
  return brush.getImageData(0, 0, 16, 16);
}

export function addImages(map: GlMap): void {
  for (const status of STATUSES) {
    for (const verdict of VERDICTS) {
      map.addImage(`${status}-${verdict}`, draw(status, verdict), { pixelRatio: SCALE });
    }
  }
  map.addImage("stripes-concession", stripes("#8a5a00"), { pixelRatio: 2 });
  map.addImage("stripes-indigenous", stripes("#6a3d9a"), { pixelRatio: 2 });
}
