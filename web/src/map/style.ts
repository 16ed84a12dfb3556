// The map's own style: no glyphs and no sprite, so that nothing is fetched from elsewhere.

import type { ExpressionSpecification, FilterSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";

import { OUTLINES } from "./symbols";

export const LATEST = "9999-12-31";

export const emptyCollection = (): GeoJSON.FeatureCollection => ({
  type: "FeatureCollection",
  features: [],
});

export const featureOf = (geometry: GeoJSON.Geometry): GeoJSON.Feature => ({
  type: "Feature",
  properties: {},
  geometry,
});

/** Layers are drawn below the slot of their kind. */
const slot = (name: string): LayerSpecification => ({
  id: `slot-${name}`,
  type: "background",
  layout: { visibility: "none" },
  paint: {},
});

const POLYGON: FilterSpecification = ["==", ["geometry-type"], "Polygon"];
/** From which zoom on sites have outlines. */
export const CLOSE_ZOOM = 11;

export const colourOf = (status: ExpressionSpecification): ExpressionSpecification => [
  "match",
  status,
  "new",
  "#cf3f12",
  "growing",
  "#a8287e",
  "steady",
  "#0a5ea8",
  "inactive",
  "#4a5560",
  "recovering",
  "#0b7a55",
  "#6a747d",
];

const COLOUR = colourOf(["get", "status"]);

/** The marks of sites, above all names. */
function marks(id: string, layer: string, filter: FilterSpecification): LayerSpecification {
  const verdict: ExpressionSpecification = ["coalesce", ["get", "verdict"], ""];
  return {
    id,
    type: "symbol",
    source: "sites",
    "source-layer": layer,
    filter,
    layout: {
      "icon-image": [
        "concat",
        ["get", "status"],
        "-",
        ["match", verdict, ["confirmed", "rejected", "unsure"], ["get", "verdict"], "none"],
      ],
      "icon-size": ["match", ["coalesce", ["get", "level"], ""], ["highest", "high"], 0.95, "low", 0.8, 0.62],
      "icon-allow-overlap": true,
      "symbol-sort-key": ["coalesce", ["get", "priority"], 0],
      // Where sites crowd, one stands for several.
      "text-field": ["case", [">", ["coalesce", ["get", "count"], 1], 1], ["to-string", ["get", "count"]], ""],
      "text-font": ["sans-serif"],
      "text-size": 11,
      "text-offset": [0, 1.5],
      "text-optional": true,
    },
    paint: { "text-color": "#16262d", "text-halo-color": "#ffffff", "text-halo-width": 1.5 },
  };
}

/** What draws sites; from zoom 11 the tiles hold their outlines and places, before that places. */
export const SITE_LAYERS: LayerSpecification[] = [
  {
    id: "sites-fill",
    type: "fill",
    source: "sites",
    "source-layer": "sites",
    filter: POLYGON,
    paint: { "fill-color": COLOUR, "fill-opacity": 0.14 },
  },
  {
    id: "sites-line",
    type: "line",
    source: "sites",
    "source-layer": "sites",
    filter: POLYGON,
    paint: {
      "line-color": COLOUR,
      "line-width": 1.6,
      "line-opacity": ["case", ["==", ["get", "verdict"], "rejected"], 0.4, 1],
    },
  },
  marks("sites-icon", "sites", ["==", ["geometry-type"], "Point"]),
  marks("places-icon", "places", ["!=", ["get", "id"], ""]),
];

export function baseStyle(): StyleSpecification {
  return {
    version: 8,
    sources: {
      area: { type: "geojson", data: emptyCollection() },
      chosen: { type: "geojson", data: emptyCollection() },
      outlines: { type: "geojson", data: emptyCollection() },
      drawn: { type: "geojson", data: emptyCollection() },
    },
    layers: [
      { id: "background", type: "background", paint: { "background-color": "#dfe5e3" } },
      { id: "area-fill", type: "fill", source: "area", paint: { "fill-color": "#f6f7f2" } },
      slot("image"),
      slot("probability"),
      slot("fill"),
      slot("line"),
      slot("circle"),
      {
        id: "area-line",
        type: "line",
        source: "area",
        paint: { "line-color": "#10343c", "line-width": 1.6, "line-dasharray": [5, 2.5] },
      },
      {
        id: "chosen-ground",
        type: "line",
        source: "chosen",
        filter: ["!=", ["geometry-type"], "Point"],
        paint: { "line-color": OUTLINES.ground, "line-width": 1.6, "line-dasharray": [2, 2] },
      },
      {
        id: "outline-case",
        type: "line",
        source: "outlines",
        paint: { "line-color": "#ffffff", "line-width": 5, "line-opacity": 0.85 },
      },
      {
        id: "outline-line",
        type: "line",
        source: "outlines",
        paint: {
          // What somebody drew stands out from what was detected.
          "line-color": ["case", ["==", ["get", "drawn"], true], OUTLINES.drawn, OUTLINES.detected],
          "line-width": 2.6,
        },
      },
      slot("labels"),
      {
        id: "chosen-ring",
        type: "circle",
        source: "chosen",
        // Close by, the ground itself is outlined.
        maxzoom: 13,
        filter: ["==", ["geometry-type"], "Point"],
        paint: {
          "circle-radius": 17,
          "circle-color": "rgba(0,0,0,0)",
          "circle-stroke-color": "#10343c",
          "circle-stroke-width": 2.6,
        },
      },
      {
        id: "drawn-line",
        type: "line",
        source: "drawn",
        paint: { "line-color": "#10343c", "line-width": 2.4 },
      },
    ],
  };
}

/** Milliseconds of a flight; none for those who want no motion. */
export const duration = (): number => (matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 600);
