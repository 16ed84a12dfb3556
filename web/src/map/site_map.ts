// One MapLibre map that shows an area and its sites; comparing takes two of them.

import {
  AttributionControl,
  Map as GlMap,
  NavigationControl,
  ScaleControl,
  setWorkerUrl,
  type GeoJSONSource,
  type MapMouseEvent,
  type PointLike,
  type RasterTileSource,
  type VectorTileSource,
} from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";

import { address, isPublished, periodName } from "../base/api";
import { samePeriod } from "../base/state";
import { unrolled } from "../base/boxes";
import type { Area, BBox, LayerInfo, Period, Run, SiteDetail } from "../base/types";
import { credits, t } from "../base/words";
import { layerLook, layersOf } from "./layer_styles";
import { PublishedSites } from "./published_sites";
import { LATEST, SITE_LAYERS, baseStyle, duration, emptyCollection, featureOf } from "./style";
import { addImages } from "./symbols";

setWorkerUrl(workerUrl);

/** Pixels across below which the sources are folded. */
const SMALL = 600;

export interface Camera {
  lon: number;
  lat: number;
  zoom: number;
}

export interface Options {
  camera: Camera | null;
  bounds: BBox | null;
  /** What panels cover of the map, in pixels; null of a map without controls. */
  room: (() => Room) | null;
}

export interface Room {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

/** What lies under the pointer. */
export interface Hit {
  site: string | null;
  status: string | null;
  layers: { kind: string; name: string }[];
}

export class SiteMap {
  readonly gl: GlMap;
  readonly ready: Promise<void>;
  private readonly room: () => Room;
  private area: Area | null = null;
  private period: Period | null = null;
  private layers: LayerInfo[] = [];
  private readonly credited = new Map<string, string>();
  private readonly published: PublishedSites | null;

  constructor(container: HTMLElement, options: Options) {
    const { camera, bounds, room } = options;
    this.room = room ?? (() => ({ top: 0, bottom: 0, left: 0, right: 0 }));
    this.gl = new GlMap({
      container,
      style: baseStyle(),
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      maxPitch: 0,
      maxZoom: 19,
      fadeDuration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 150,
      ...(camera
        ? { center: [camera.lon, camera.lat] as [number, number], zoom: camera.zoom }
        : bounds
          ? { bounds: unrolled(bounds), fitBoundsOptions: { padding: this.room() } }
          : {}),
      locale: {
        "Map.Title": t("map_label"),
        "NavigationControl.ZoomIn": t("zoom_in"),
        "NavigationControl.ZoomOut": t("zoom_out"),
        "ScaleControl.Meters": "m",
        "ScaleControl.Kilometers": "km",
        "AttributionControl.ToggleAttribution": t("attribution"),
      },
      // What a review changed is asked for again; what is the same is answered from the cache.
      transformRequest: (url) => ({ url, cache: "no-cache" }),
    });
    this.published = isPublished ? new PublishedSites(this.gl) : null;
    this.gl.touchZoomRotate.disableRotation();
    this.gl.keyboard.disableRotation();
    if (room) {
      this.gl.addControl(new NavigationControl({ showCompass: false }), "top-right");
      this.gl.addControl(new ScaleControl({ maxWidth: 120, unit: "metric" }), "bottom-left");
      this.gl.addControl(new AttributionControl({ compact: true }), "bottom-right");
      this.makeRoomForSources(container);
    }
    // A tile that is missing is not worth a word: the place stays empty.
    this.gl.on("error", () => undefined);
    this.ready = new Promise((done) => {
      this.gl.once("load", () => {
        addImages(this.gl);
        done();
      });
    });
  }

  /** What stands at the foot of the map stays above the sources; a small map folds them. */
  private makeRoomForSources(container: HTMLElement): void {
    const sources = container.querySelector<HTMLElement>(".maplibregl-ctrl-attrib");
    if (!sources) return;
    let folded = container.clientWidth >= SMALL;
    const fit = (): void => {
      const empty = sources.classList.contains("maplibregl-attrib-empty");
      // They unfold by themselves with the first source.
      if (!folded && !empty) {
        sources.classList.remove("maplibregl-compact-show");
        sources.removeAttribute("open");
        folded = true;
      }
      const height = empty ? 0 : sources.offsetHeight;
      container.parentElement?.style.setProperty("--sources", `${height}px`);
    };
    new ResizeObserver(fit).observe(sources);
  }

  get camera(): Camera {
    const { lng, lat } = this.gl.getCenter();
    return { lon: lng, lat, zoom: this.gl.getZoom() };
  }

  /** Show a box whole, no closer than a zoom. */
  fit(bbox: BBox, most = 15): void {
    this.gl.fitBounds(unrolled(bbox), { padding: this.room(), maxZoom: most, duration: duration() });
  }

  flyTo(lon: number, lat: number, zoom: number): void {
    const { top, bottom, left, right } = this.room();
    const offset: [number, number] = [(left - right) / 2, (top - bottom) / 2];
    this.gl.flyTo({ center: [lon, lat], zoom, offset, duration: duration() });
  }

  showArea(area: Area): void {
    this.area = area;
    (this.gl.getSource("area") as GeoJSONSource).setData(featureOf(area.geometry));
    if (this.published) return this.published.show(area, this.period);
    if (this.gl.getSource("sites")) {
      for (const layer of SITE_LAYERS) this.gl.removeLayer(layer.id);
      this.gl.removeSource("sites");
    }
    this.gl.addSource("sites", {
      type: "vector",
      tiles: [this.siteTiles()],
      maxzoom: 14,
      promoteId: "id",
    });
    for (const layer of SITE_LAYERS) {
      this.gl.addLayer(layer, layer.type === "symbol" ? "chosen-ring" : "chosen-ground");
    }
  }

  showPeriod(period: Period | null): void {
    if (samePeriod(period, this.period)) return;
    this.period = period;
    this.refresh();
  }

  /** Ask for the sites' tiles again. */
  refresh(): void {
    if (this.published) return void this.published.showPeriod(this.period);
    (this.gl.getSource("sites") as VectorTileSource | undefined)?.setTiles([this.siteTiles()]);
  }

  private siteTiles(): string {
    const query = { area: this.area?.name, period: this.period ? periodName(this.period) : null };
    return `${location.origin}${address("/tiles/sites/{z}/{x}/{y}.pbf", query)}`;
  }

  /** Draw the image or the probability of a run, or nothing. */
  showRaster(slot: "image" | "probability", run: Run | null, opacity: number): void {
    const tiles = run ? [`${location.origin}/imagery/${run.run_id}/${slot}/{z}/{x}/{y}.png`] : null;
    const attribution = credits(run?.owners ?? []);
    let source = this.gl.getSource(slot) as RasterTileSource | undefined;
    // A source keeps whom it was credited to.
    if (source && (!tiles || !this.area || this.credited.get(slot) !== attribution)) {
      this.gl.removeLayer(slot);
      this.gl.removeSource(slot);
      source = undefined;
    }
    if (!tiles || !this.area) return;
    if (source) {
      // A source that was just added has none yet.
      if (source.tiles?.[0] !== tiles[0]) source.setTiles(tiles);
    } else {
      const [west, south, east, north] = this.area.bbox;
      this.credited.set(slot, attribution);
      this.gl.addSource(slot, {
        type: "raster",
        tiles,
        tileSize: 256,
        maxzoom: 16,
        // Of a source none crosses 180 degrees.
        bounds: west > east ? [-180, south, 180, north] : [west, south, east, north],
        attribution,
      });
      this.gl.addLayer({ id: slot, type: "raster", source: slot }, `slot-${slot}`);
    }
    this.gl.setPaintProperty(slot, "raster-opacity", opacity);
  }

  showLayers(layers: LayerInfo[], opacity: Record<string, number>): void {
    this.layers = layers;
    for (const { name, kind, features } of layers) {
      if (!features) continue;
      const source = `layer-${name}`;
      if (this.gl.getSource(source)) this.dropLayer(source, kind);
      const shown = opacity[name] ?? layerLook(kind).opacity;
      if (shown === 0) continue;
      if (!this.gl.getSource(source)) {
        const path = `/tiles/layers/${encodeURIComponent(name)}/{z}/{x}/{y}.pbf`;
        this.gl.addSource(source, { type: "vector", tiles: [location.origin + path], maxzoom: 14 });
      }
      for (const layer of layersOf(source, kind, shown)) {
        const slot = layer.type === "symbol" ? "slot-labels" : `slot-${layer.type}`;
        this.gl.addLayer(layer, this.gl.getLayer(slot) ? slot : "slot-line");
      }
    }
  }

  private dropLayer(source: string, kind: string): void {
    for (const { id } of layersOf(source, kind, 1)) {
      if (this.gl.getLayer(id)) this.gl.removeLayer(id);
    }
  }

  /** Draw the chosen site: its place, all its ground, and its outline in the period. */
  showSite(detail: SiteDetail | null, period: Period | null): void {
    const chosen = this.gl.getSource("chosen") as GeoJSONSource;
    const outlines = this.gl.getSource("outlines") as GeoJSONSource;
    if (!detail) {
      chosen.setData(emptyCollection());
      outlines.setData(emptyCollection());
      return;
    }
    const { lon, lat } = detail.site;
    const place = featureOf({ type: "Point", coordinates: [lon, lat] });
    chosen.setData({
      type: "FeatureCollection",
      features: detail.geometry ? [featureOf(detail.geometry), place] : [place],
    });
    const ends = detail.outlines.map((outline) => outline.end).sort();
    const wanted = period ?? { end: ends.at(-1) ?? LATEST };
    const shown = <One extends { end: string | null; geometry: GeoJSON.Geometry }>(all: readonly One[]): One[] =>
      all.filter((outline) => outline.end === wanted.end);
    // Of what people drew the last one holds.
    const drawn = shown(detail.drawn).slice(-1);
    outlines.setData({
      type: "FeatureCollection",
      features: [
        ...shown(detail.outlines).map((outline) => featureOf(outline.geometry)),
        ...drawn.map((outline) => ({ ...featureOf(outline.geometry), properties: { drawn: true } })),
      ],
    });
  }

  hit(event: MapMouseEvent): Hit {
    const { x, y } = event.point;
    const around: [PointLike, PointLike] = [
      [x - 5, y - 5],
      [x + 5, y + 5],
    ];
    const sites = this.gl.queryRenderedFeatures(around, {
      layers: SITE_LAYERS.map((layer) => layer.id).filter((id) => this.gl.getLayer(id)),
    });
    const mine = sites[0]?.properties;
    const id = (mine?.["id"] as string | undefined) ?? null;
    const kinds = new Map(this.layers.map((layer) => [`layer-${layer.name}`, layer.kind]));
    const seen = new Set<string>();
    const layers: Hit["layers"] = [];
    for (const found of this.gl.queryRenderedFeatures(event.point)) {
      const kind = kinds.get(found.source);
      const name = found.properties["name"] as unknown;
      if (!kind || typeof name !== "string" || seen.has(`${kind}/${name}`)) continue;
      seen.add(`${kind}/${name}`);
      layers.push({ kind, name });
    }
    return {
      site: id,
      status: (mine?.["status"] as string | undefined) ?? this.published?.statusOf(id) ?? null,
      layers,
    };
  }

  remove(): void {
    this.gl.remove();
  }
}
