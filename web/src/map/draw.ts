// Drawing a polygon, and what is inside it. Loaded only when someone draws.

import { TerraDraw, TerraDrawPolygonMode, TerraDrawSelectMode } from "terra-draw";
import { TerraDrawMapLibreGLAdapter } from "terra-draw-maplibre-gl-adapter";

import { type App, currentArea, tell, tellFault } from "../app";
import * as api from "../base/api";
import { button, el, icon, iconButton, replace } from "../base/dom";
import type { BBox } from "../base/types";
import { hectares, t } from "../base/words";

type Ring = [number, number][];

const MAJOR_M = 6_378_137;
const ECCENTRICITY = 0.081_819_190_842_622;
const COLOUR = "#10343c";
const MOST_SITES = 1000;

/**
 * Hectares of a ring of degrees, on the WGS 84 ellipsoid in the equal-area cylindrical projection
 * (Snyder 1987, equations 3-12 and 10-15).
 */
export function ringHectares(ring: readonly (readonly number[])[]): number {
  const e = ECCENTRICITY;
  let twice = 0;
  const points = ring.map(([lon = 0, lat = 0]) => {
    const s = Math.sin((lat * Math.PI) / 180);
    const q = (1 - e * e) * (s / (1 - e * e * s * s) - Math.log((1 - e * s) / (1 + e * s)) / (2 * e));
    return [(MAJOR_M * lon * Math.PI) / 180, (MAJOR_M * q) / 2] as const;
  });
  points.forEach(([x, y], index) => {
    const [nextX, nextY] = points[(index + 1) % points.length]!;
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2 / 10_000;
}

export function inside(ring: Ring, lon: number, lat: number): boolean {
  let found = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [x1, y1] = ring[i]!;
    const [x2, y2] = ring[j]!;
    if (y1 > lat !== y2 > lat && lon < ((x2 - x1) * (lat - y1)) / (y2 - y1) + x1) found = !found;
  }
  return found;
}

function box(ring: Ring): BBox {
  const [lons, lats] = [ring.map((one) => one[0]), ring.map((one) => one[1])];
  return [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)];
}

/** Let a person draw one polygon; the panel beside it tells its size and its sites. */
export function startDrawing(app: App, place: HTMLElement, ended: () => void): () => void {
  const told = el("div", { class: "told", role: "status" }, t("draw_hint"));
  const draw = new TerraDraw({
    adapter: new TerraDrawMapLibreGLAdapter({ map: app.map.gl }),
    modes: [
      new TerraDrawPolygonMode({
        styles: {
          fillColor: COLOUR,
          fillOpacity: 0.1,
          outlineColor: COLOUR,
          outlineWidth: 2,
          closingPointColor: COLOUR,
        },
      }),
      new TerraDrawSelectMode({
        flags: {
          polygon: {
            feature: {
              draggable: true,
              coordinates: { midpoints: true, draggable: true, deletable: true },
            },
          },
        },
      }),
    ],
  });
  const stop = (): void => {
    draw.stop();
    panel.remove();
    ended();
  };
  const again = (): void => {
    draw.clear();
    draw.setMode("polygon");
    replace(told, t("draw_hint"));
  };
  const panel = el(
    "section",
    { class: "drawing-panel", "aria-label": t("draw") },
    el("header", {}, el("h3", {}, t("draw")), iconButton(icon("close"), t("close"), stop)),
    told,
    el(
      "div",
      { class: "links" },
      button(t("draw_view"), () => takeView(), { class: "button" }),
      button(t("draw_again"), again, { class: "button" }),
    ),
  );
  place.append(panel);
  draw.start();
  draw.setMode("polygon");
  const show = (): void => {
    const drawn = draw.getSnapshot().filter((one) => one.geometry.type === "Polygon")[0];
    const ring = drawn?.geometry.coordinates[0] as Ring | undefined;
    if (ring && ring.length > 3) void tellPolygon(app, ring, told);
  };
  draw.on("finish", (id) => {
    if (draw.getMode() === "polygon") {
      draw.setMode("select");
      draw.selectFeature(id);
    }
    show();
  });
  // For those who do not use a pointer: what is on the screen.
  const takeView = (): void => {
    const bounds = app.map.gl.getBounds();
    const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()]
      .map((value) => Math.round(value * 1e6) / 1e6) as BBox;
    draw.clear();
    draw.addFeatures([
      {
        type: "Feature",
        properties: { mode: "polygon" },
        geometry: {
          type: "Polygon",
          coordinates: [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
      },
    ]);
    draw.setMode("select");
    show();
  };
  return stop;
}

async function tellPolygon(app: App, ring: Ring, told: HTMLElement): Promise<void> {
  const size = hectares(ringHectares(ring));
  const geometry = JSON.stringify({ type: "Polygon", coordinates: [ring] });
  const copyIt = button(
    t("copy_geojson"),
    () => {
      navigator.clipboard
        .writeText(geometry)
        .then(() => tell(t("copied", { what: "GeoJSON" })))
        .catch(() => window.prompt(t("copy_by_hand"), geometry));
    },
    { class: "button" },
  );
  replace(told, el("p", {}, el("strong", {}, size)), copyIt);
  try {
    const { sites } = await api.sites({
      area: currentArea(app)?.name,
      bbox: box(ring).join(","),
      limit: MOST_SITES,
    });
    const within = sites.filter((site) => inside(ring, site.lon, site.lat));
    const total = within.reduce((sum, site) => sum + (site.area_ha ?? 0), 0);
    const words = t("drawn_sites", { n: within.length, area: hectares(total) });
    replace(told, el("p", {}, el("strong", {}, size)), el("p", {}, words), copyIt);
  } catch (error) {
    tellFault(error);
  }
}
