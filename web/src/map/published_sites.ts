// Sites of a published folder on the map: marks from the list of sites, outlines from plain GeoJSON
// or, where there are many, from tiles in one file.

import { addProtocol, type GeoJSONSource, type Map as GlMap } from "maplibre-gl";

import { outlinesOf, sitesOf, statesOf } from "../base/published";
import type { Area, Level, Period, Site, Status } from "../base/types";
import { CLOSE_ZOOM, SITE_LAYERS, colourOf, emptyCollection } from "./style";

const OUTLINES = "site-outlines";
const TILES_LAYER = "sites";
const STATUS = ["coalesce", ["feature-state", "status"], ""] as const;

interface Shown {
  site: Site;
  status: Status;
  level: Level | null;
}

export class PublishedSites {
  private area: Area | null = null;
  private asked = 0;
  private shown: Shown[] = [];
  private sourceLayer: string | undefined;

  constructor(private readonly gl: GlMap) {
    gl.on("zoomend", () => void this.addOutlines());
  }

  /** Draw the sites of an area, in place of those of another one. */
  show(area: Area, period: Period | null): void {
    this.area = area;
    for (const id of ["sites-fill", "sites-line", "sites-icon"]) {
      if (this.gl.getLayer(id)) this.gl.removeLayer(id);
    }
    for (const id of [OUTLINES, "sites"]) if (this.gl.getSource(id)) this.gl.removeSource(id);
    this.gl.addSource("sites", { type: "geojson", data: emptyCollection() });
    const marks = SITE_LAYERS.find((layer) => layer.id === "sites-icon")!;
    const { "source-layer": _, filter: __, ...plain } = marks as typeof marks & { filter?: unknown; "source-layer"?: string };
    this.gl.addLayer(plain as typeof marks, "chosen-ring");
    void this.showPeriod(period);
  }

  async showPeriod(period: Period | null): Promise<void> {
    const { area } = this;
    if (!area) return;
    const mine = ++this.asked;
    const [sites, states] = await Promise.all([
      sitesOf(area.name),
      period ? statesOf(area.name, period).catch(() => []) : null,
    ]);
    // What was overtaken by another period or area is dropped.
    if (mine !== this.asked) return;
    this.shown = states
      ? states.flatMap(({ site, status, level }) => (sites[site] ? [{ site: sites[site], status, level }] : []))
      : sites.map((site) => ({ site, status: site.status, level: site.level }));
    const marks = this.gl.getSource("sites") as GeoJSONSource;
    const counts = countPlaces(this.shown.map(({ site }) => site));
    marks.setData({
      type: "FeatureCollection",
      features: this.shown.map(({ site, status, level }) => ({
        type: "Feature",
        geometry: { type: "Point", coordinates: [site.lon, site.lat] },
        properties: { id: site.site_id, status, level, verdict: site.verdict, priority: site.priority, count: counts(site) },
      })),
    });
    if (this.gl.getSource(OUTLINES)) this.paint();
    else await this.addOutlines();
  }

  statusOf(id: string | null): Status | null {
    return this.shown.find((one) => one.site.site_id === id)?.status ?? null;
  }

  /** From near enough; they are the larger part of what a map loads. */
  private async addOutlines(): Promise<void> {
    const { area } = this;
    if (!area || this.gl.getZoom() < CLOSE_ZOOM - 1 || this.gl.getSource(OUTLINES)) return;
    const found = await outlinesOf(area.name);
    if (!found || area !== this.area || this.gl.getSource(OUTLINES)) return;
    const promoteId = "id";
    if (found.tiled) {
      await startTiles();
      if (area !== this.area || this.gl.getSource(OUTLINES)) return;
      this.sourceLayer = TILES_LAYER;
      this.gl.addSource(OUTLINES, { type: "vector", url: `pmtiles://${found.url}`, promoteId });
    } else {
      this.sourceLayer = undefined;
      this.gl.addSource(OUTLINES, { type: "geojson", data: found.url, promoteId });
    }
    const from = { source: OUTLINES, minzoom: CLOSE_ZOOM, ...(this.sourceLayer ? { "source-layer": this.sourceLayer } : {}) };
    const known = ["case", ["==", STATUS, ""], 0] as const;
    this.gl.addLayer(
      { id: "sites-fill", type: "fill", ...from, paint: { "fill-color": colourOf(STATUS as never), "fill-opacity": [...known, 0.14] as never } },
      "chosen-ground",
    );
    this.gl.addLayer(
      {
        id: "sites-line",
        type: "line",
        ...from,
        paint: { "line-color": colourOf(STATUS as never), "line-width": 1.6, "line-opacity": [...known, 1] as never },
      },
      "chosen-ground",
    );
    this.paint();
  }

  /** Colour the outlines by what their sites were; those of which nothing is known are hidden. */
  private paint(): void {
    const target = { source: OUTLINES, ...(this.sourceLayer ? { sourceLayer: this.sourceLayer } : {}) };
    this.gl.removeFeatureState(target);
    for (const { site, status } of this.shown) this.gl.setFeatureState({ ...target, id: site.site_id }, { status });
  }
}

/** Of the first site of a place, how many stand there: cells in place of places hold several. */
function countPlaces(sites: readonly Site[]): (site: Site) => number {
  const key = ({ lon, lat }: Site): string => `${lon},${lat}`;
  const found = new Map<string, { first: Site; count: number }>();
  for (const site of sites) {
    const here = found.get(key(site));
    if (here) here.count++;
    else found.set(key(site), { first: site, count: 1 });
  }
  return (site) => {
    const here = found.get(key(site));
    return here?.first === site ? here.count : 1;
  };
}

let tiles: Promise<void> | null = null;

/** Teach the map to read tiles in one file; the program for it is loaded where there are any. */
function startTiles(): Promise<void> {
  tiles ??= import("./published_tiles").then(({ tileProtocol }) => addProtocol("pmtiles", tileProtocol));
  return tiles;
}
