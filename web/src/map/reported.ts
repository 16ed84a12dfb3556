// Mines that people reported and no scan found, on the map.

import type { ExpressionSpecification, GeoJSONSource, Map as GlMap, PointLike } from "maplibre-gl";

import * as api from "../base/api";
import type { ReportedMine } from "../base/types";
import { date, moment, t } from "../base/words";

const SOURCE = "reported";
const COLOUR = "#0d6e6e";
/** As images of the map are drawn: twice as fine as pixels of the page. */
const SCALE = 2;
const HIT_PX = 6;

export class Reported {
  private list: ReportedMine[] = [];
  private readonly listeners = new Set<(reports: readonly ReportedMine[]) => void>();
  private asked = 0;

  constructor(private readonly gl: GlMap) {
    gl.addImage("reported", flag(), { pixelRatio: SCALE });
    gl.addSource(SOURCE, { type: "geojson", data: collection([]) });
    const isPlace: ExpressionSpecification = ["==", ["geometry-type"], "Point"];
    const isShape: ExpressionSpecification = ["!=", ["geometry-type"], "Point"];
    const before = gl.getLayer("slot-labels") ? "slot-labels" : undefined;
    gl.addLayer({ id: "reported-fill", type: "fill", source: SOURCE, filter: isShape, paint: { "fill-color": COLOUR, "fill-opacity": 0.1 } }, before);
    gl.addLayer({ id: "reported-case", type: "line", source: SOURCE, filter: isShape, paint: { "line-color": "#ffffff", "line-width": 4, "line-opacity": 0.85 } }, before);
    gl.addLayer({ id: "reported-line", type: "line", source: SOURCE, filter: isShape, paint: { "line-color": COLOUR, "line-width": 2, "line-dasharray": [3, 1.5] } }, before);
    gl.addLayer({
      id: "reported-icon",
      type: "symbol",
      source: SOURCE,
      filter: isPlace,
      layout: { "icon-image": "reported", "icon-anchor": "bottom-left", "icon-allow-overlap": true },
    });
  }

  async load(area: string | null): Promise<void> {
    const mine = ++this.asked;
    const reports = await api.reportedMines(area);
    if (mine !== this.asked) return;
    this.list = reports;
    (this.gl.getSource(SOURCE) as GeoJSONSource).setData(collection(reports));
    for (const listener of this.listeners) listener(reports);
  }

  /** Tell the reports now and whenever there are others; gives what ends that. */
  watch(listener: (reports: readonly ReportedMine[]) => void): () => void {
    this.listeners.add(listener);
    listener(this.list);
    return () => this.listeners.delete(listener);
  }

  /** What is told of a report under the pointer. */
  told(point: { x: number; y: number }): string[] | null {
    const { x, y } = point;
    const around: [PointLike, PointLike] = [[x - HIT_PX, y - HIT_PX], [x + HIT_PX, y + HIT_PX]];
    const [found] = this.gl.queryRenderedFeatures(around, { layers: ["reported-icon", "reported-fill"] });
    const report = this.list.find((one) => one.label_id === found?.properties["id"]);
    if (!report) return null;
    if (report.redacted) return [t("reported_mine"), t("reported_withheld", { date: date(report.when) })];
    return [
      report.name ? `${t("reported_mine")}: ${report.name}` : t("reported_mine"),
      t("reported_by", { who: report.who ?? "", date: moment(report.when) }),
      report.note ?? "",
    ].filter(Boolean);
  }
}

function collection(reports: readonly ReportedMine[]): GeoJSON.FeatureCollection {
  const features = reports.flatMap(({ label_id: id, geometry }): GeoJSON.Feature[] => [
    { type: "Feature", properties: { id }, geometry },
    { type: "Feature", properties: { id }, geometry: { type: "Point", coordinates: middle(geometry) } },
  ]);
  return { type: "FeatureCollection", features };
}

function middle(geometry: GeoJSON.Geometry): number[] {
  const ring = (geometry.type === "Polygon" ? geometry.coordinates[0] : geometry.type === "MultiPolygon" ? geometry.coordinates[0]?.[0] : null) ?? [];
  const mean = (axis: 0 | 1): number => ring.slice(1).reduce((sum, one) => sum + one[axis]!, 0) / Math.max(1, ring.length - 1);
  return [mean(0), mean(1)];
}

function flag(): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 24 * SCALE;
  const brush = canvas.getContext("2d")!;
  brush.scale(SCALE, SCALE);
  brush.lineJoin = brush.lineCap = "round";
  const cloth = new Path2D("M4 3h14l-4 5 4 5H4z");
  const pole = new Path2D("M4 3v19");
  brush.strokeStyle = "#ffffff";
  brush.lineWidth = 5;
  brush.stroke(pole);
  brush.stroke(cloth);
  brush.fillStyle = brush.strokeStyle = COLOUR;
  brush.lineWidth = 2.2;
  brush.fill(cloth);
  brush.stroke(pole);
  return brush.getImageData(0, 0, canvas.width, canvas.height);
}
