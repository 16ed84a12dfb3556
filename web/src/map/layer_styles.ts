// How registered layers look on the map and in the legend.

import type { LayerSpecification } from "maplibre-gl";

import { svg } from "../base/dom";
import { text, word } from "../base/words";

export interface LayerLook {
  colour: string;
  /** The opacity that a layer has at first. */
  opacity: number;
  fill: "none" | "plain" | "stripes-concession" | "stripes-indigenous";
  width: number;
  dash?: number[];
  labels: boolean;
}

const LOOKS: Record<string, LayerLook> = {
  districts: { colour: "#5c6b73", opacity: 0.8, fill: "none", width: 1.2, dash: [4, 3], labels: true },
  rivers: { colour: "#2f83b7", opacity: 0.9, fill: "plain", width: 2, labels: true },
  roads: { colour: "#8d8578", opacity: 0.9, fill: "none", width: 1.4, labels: false },
  settlements: { colour: "#77706a", opacity: 0.8, fill: "plain", width: 1, labels: true },
  protected: { colour: "#2e7d32", opacity: 0.8, fill: "plain", width: 1.8, labels: true },
  indigenous: { colour: "#6a3d9a", opacity: 0.8, fill: "stripes-indigenous", width: 1.6, labels: true },
  concessions: { colour: "#8a5a00", opacity: 0.8, fill: "stripes-concession", width: 1.6, labels: true },
  airstrips: { colour: "#333b42", opacity: 0.9, fill: "none", width: 2.4, labels: true },
  expert: { colour: "#9a1f40", opacity: 0.7, fill: "plain", width: 1.4, dash: [2, 2], labels: false },
};
const OTHER: LayerLook = { colour: "#555555", opacity: 0.8, fill: "none", width: 1.4, labels: true };
/** The catalogue's words for layers are singular. */
const SINGULAR: Record<string, string> = {
  settlements: "settlement",
  roads: "road",
  concessions: "concession",
  rivers: "river",
  districts: "district",
  airstrips: "airstrip",
};

export const layerLook = (kind: string): LayerLook => LOOKS[kind] ?? OTHER;

/** What a layer is called: its own name where it is not just its kind. */
export function layerName(name: string, kind: string): string {
  const plural = text(`map.layer_${kind}`);
  const known = plural === `map.layer_${kind}` ? kind : plural;
  return name === kind ? known : `${name} (${known})`;
}

export const layerWord = (kind: string): string => word("layer", SINGULAR[kind] ?? kind);

/** The MapLibre layers that draw one registered layer, lowest first. */
export function layersOf(source: string, kind: string, opacity: number): LayerSpecification[] {
  const { colour, fill, width, dash, labels } = layerLook(kind);
  const tiles = { source, "source-layer": source.replace(/^layer-/, "") };
  const found: LayerSpecification[] = [];
  if (fill !== "none") {
    found.push({
      id: `${source}-fill`,
      type: "fill",
      ...tiles,
      filter: ["==", ["geometry-type"], "Polygon"],
      paint:
        fill === "plain"
          ? { "fill-color": colour, "fill-opacity": 0.16 * opacity }
          : { "fill-pattern": fill, "fill-opacity": 0.35 * opacity },
    });
  }
  found.push({
    id: `${source}-line`,
    type: "line",
    ...tiles,
    filter: ["!=", ["geometry-type"], "Point"],
    layout: { "line-join": "round", "line-cap": dash ? "butt" : "round" },
    paint: {
      "line-color": colour,
      "line-width": width,
      "line-opacity": opacity,
      ...(dash ? { "line-dasharray": dash } : {}),
    },
  });
  found.push({
    id: `${source}-point`,
    type: "circle",
    ...tiles,
    filter: ["==", ["geometry-type"], "Point"],
    paint: {
      "circle-color": colour,
      "circle-radius": 4,
      "circle-opacity": opacity,
      "circle-stroke-color": "#ffffff",
      "circle-stroke-width": 1.2,
      "circle-stroke-opacity": opacity,
    },
  });
  if (labels) {
    found.push({
      id: `${source}-label`,
      type: "symbol",
      ...tiles,
      minzoom: 8,
      layout: {
        // Without `glyphs` in the style MapLibre draws text with the system's own fonts.
        "text-field": ["coalesce", ["get", "name"], ""],
        "text-font": ["sans-serif"],
        "text-size": 11.5,
        "text-offset": [0, 0.9],
        "text-optional": true,
        "text-max-width": 9,
      },
      paint: {
        "text-color": colour,
        "text-halo-color": "#ffffff",
        "text-halo-width": 1.6,
        "text-opacity": opacity,
      },
    });
  }
  return found;
}

/** The sample of a layer in the legend. */
export function swatch(kind: string): SVGSVGElement {
  const { colour, fill, width, dash } = layerLook(kind);
  const line = ["rivers", "roads", "airstrips"].includes(kind);
  const attributes = {
    stroke: colour,
    "stroke-width": width,
    "stroke-dasharray": dash ? dash.map((part) => part * width).join(" ") : null,
  };
  return svg(
    "svg",
    { viewBox: "0 0 26 16", width: 26, height: 16, class: "swatch", "aria-hidden": "true" },
    line
      ? svg("path", { d: "M2 12C8 2 16 14 24 5", fill: "none", ...attributes })
      : svg("rect", {
          x: 2,
          y: 2,
          width: 22,
          height: 12,
          fill: fill === "none" ? "none" : colour,
          "fill-opacity": 0.18,
          ...attributes,
        }),
    fill.startsWith("stripes")
      ? svg("path", { d: "M4 14L14 2M12 14L22 2", stroke: colour, "stroke-width": 1, opacity: 0.5 })
      : null,
  );
}
