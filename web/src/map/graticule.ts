// Meridians and parallels, for finding a place by its coordinates where the map shows nothing else.

import type { GeoJSONSource, LayerSpecification, Map as GlMap } from "maplibre-gl";

import { emptyCollection } from "./style";

const SOURCE = "graticule";
/** Degrees between lines. */
const STEPS = [45, 30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
/** Of the shorter side of the map, at least. */
const LINES = 5;
const POLE = 85;
const COLOUR = "#5d7076";

const LAYERS: LayerSpecification[] = [
  {
    id: "graticule-line",
    type: "line",
    source: SOURCE,
    paint: { "line-color": COLOUR, "line-width": 0.8, "line-opacity": ["case", ["get", "main"], 0.9, 0.45] },
  },
  {
    id: "graticule-told",
    type: "symbol",
    source: SOURCE,
    layout: {
      "symbol-placement": "line",
      "symbol-spacing": 320,
      "text-field": ["get", "told"],
      "text-font": ["sans-serif"],
      "text-size": 11,
    },
    paint: { "text-color": "#34474d", "text-halo-color": "#dfe5e3", "text-halo-width": 2 },
  },
];

export class Graticule {
  private readonly draw = (): void => {
    (this.gl.getSource(SOURCE) as GeoJSONSource | undefined)?.setData(lines(this.gl));
  };

  constructor(private readonly gl: GlMap) {
    gl.addSource(SOURCE, { type: "geojson", data: emptyCollection() });
    for (const layer of LAYERS) gl.addLayer(layer, "slot-image");
    gl.on("moveend", this.draw);
    gl.on("resize", this.draw);
    this.draw();
  }

  remove(): void {
    this.gl.off("moveend", this.draw);
    this.gl.off("resize", this.draw);
    for (const { id } of LAYERS) if (this.gl.getLayer(id)) this.gl.removeLayer(id);
    if (this.gl.getSource(SOURCE)) this.gl.removeSource(SOURCE);
  }
}

/** Those that cross the map, and somewhat beyond it. */
function lines(gl: GlMap): GeoJSON.FeatureCollection {
  const bounds = gl.getBounds();
  const [west, east] = [bounds.getWest(), bounds.getEast()];
  const [south, north] = [Math.max(-POLE, bounds.getSouth()), Math.min(POLE, bounds.getNorth())];
  const side = Math.min(east - west, north - south);
  const step = STEPS.find((one) => side / one >= LINES) ?? STEPS.at(-1)!;
  const features: GeoJSON.Feature[] = [];
  const put = (degrees: number, letters: string, ends: [number, number][]): void => {
    const told = `${Number(Math.abs(degrees).toFixed(3))}°${degrees % 180 ? letters[degrees > 0 ? 1 : 0] : ""}`;
    features.push({ type: "Feature", properties: { told, main: degrees === 0 }, geometry: { type: "LineString", coordinates: ends } });
  };
  for (let n = Math.ceil(west / step) - 1; n <= east / step + 1; n++) {
    // The map repeats itself: 190° is 170° west.
    put(((((n * step + 180) % 360) + 360) % 360) - 180, "WE", [[n * step, south - side], [n * step, north + side]].map(within));
  }
  for (let n = Math.ceil(south / step) - 1; n <= north / step + 1; n++) {
    if (Math.abs(n * step) <= POLE) put(n * step, "SN", [[west - side, n * step], [east + side, n * step]].map(within));
  }
  return { type: "FeatureCollection", features };
}

const within = ([lon = 0, lat = 0]: number[]): [number, number] => [lon, Math.max(-POLE, Math.min(POLE, lat))];
