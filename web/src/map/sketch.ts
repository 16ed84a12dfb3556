// What somebody draws, by mouse, finger or keyboard. A cross marks where keys and the button set
// corners; a chosen corner moves by arrow keys. Loaded only when someone draws.

import type { GeoJSONSource } from "maplibre-gl";
import {
  TerraDraw,
  TerraDrawModeUndoRedo,
  TerraDrawPolygonMode,
  TerraDrawRectangleMode,
  TerraDrawSelectMode,
  type GeoJSONStoreFeatures,
} from "terra-draw";
import { TerraDrawMapLibreGLAdapter } from "terra-draw-maplibre-gl-adapter";

import { el } from "../base/dom";
import { crossesItself, faultOf, ringHectares, shapeOf, type Fault, type Position, type Ring } from "./rings";
import type { SiteMap } from "./site_map";
import { emptyCollection, featureOf } from "./style";

const COLOUR = "#10343c";
const BAD = "#b3261e";
const CORNER_LAYER = "drawn-corner";
/** Keys that nobody has: drawing is ended by the panel's own. */
const FINISH_KEY = "SluiceFinish";
const MOST_CHECKED = 800;
const MOST_UNDONE = 100;

export type Tool = "polygon" | "rectangle";

export interface SketchState {
  shape: GeoJSON.Polygon | GeoJSON.MultiPolygon | null;
  rings: readonly Ring[];
  hectares: number;
  fault: Fault;
  /** A shape is being begun or has no end yet. */
  drawing: boolean;
  tool: Tool;
  mayUndo: boolean;
  /** Of the corner that keys move, from 1, and how many there are. */
  corner: [number, number] | null;
}

interface Options {
  /** What is there to begin with. */
  start?: Ring[];
  /** More than one polygon. */
  several?: boolean;
  changed: (state: SketchState) => void;
}

type Drawn = GeoJSONStoreFeatures<GeoJSON.Polygon>;

export class Sketch {
  private readonly draw: TerraDraw;
  private readonly cross = el("div", { class: "draw-cross", "aria-hidden": "true" });
  private readonly past: Ring[][] = [];
  private rings: Ring[] = [];
  private tool: Tool = "polygon";
  private chosen: number | null = null;
  private moved: number | null = null;
  private byCross = false;
  private frame = 0;
  private held = false;
  private stopped = false;
  private readonly followCross = (): void => this.placeCross();
  private readonly hold = (): void => {
    this.held = true;
  };
  /** A drag that ends beside the map ends all the same. */
  private readonly release = (event: PointerEvent): void => {
    if (this.held && event.isTrusted && event.target !== this.map.gl.getCanvas()) {
      this.point("pointerup", event.clientX, event.clientY);
    }
    this.held = false;
    window.setTimeout(() => this.settle(), 0);
  };

  constructor(
    private readonly map: SiteMap,
    private readonly options: Options,
  ) {
    const { gl } = map;
    this.draw = new TerraDraw({
      adapter: new TerraDrawMapLibreGLAdapter({ map: gl }),
      modes: modes(),
      undoRedo: { modeLevel: new TerraDrawModeUndoRedo() },
    });
    this.draw.start();
    gl.addLayer({
      id: CORNER_LAYER,
      type: "circle",
      source: "drawn",
      paint: {
        "circle-radius": 9,
        "circle-color": "#f2c14e",
        "circle-stroke-color": COLOUR,
        "circle-stroke-width": 2.5,
      },
    });
    gl.getContainer().append(this.cross);
    gl.on("move", this.followCross);
    gl.on("resize", this.followCross);
    gl.getCanvas().addEventListener("pointerdown", this.hold);
    document.addEventListener("pointerup", this.release);
    document.addEventListener("pointercancel", this.release);
    this.draw.on("finish", (id) => {
      if (this.draw.getMode() !== "select") {
        if (!this.options.several) this.draw.removeFeatures(this.polygons().map((one) => one.id!).filter((one) => one !== id));
        this.draw.setMode("select");
        this.draw.selectFeature(id);
        this.placeCross();
      }
      this.settle();
    });
    this.draw.on("change", () => this.tell());
    this.restore(options.start ?? []);
  }

  get state(): SketchState {
    const rings = this.drawing ? this.rings : this.polygons().map(ringOf);
    return {
      shape: shapeOf(rings),
      rings,
      hectares: rings.reduce((sum, ring) => sum + ringHectares(ring), 0),
      fault: faultOf(rings),
      drawing: this.drawing,
      tool: this.tool,
      mayUndo: (this.drawing && this.draw.canUndo()) || this.past.length > 0,
      corner: this.chosen === null ? null : [this.chosen + 1, this.corners().length],
    };
  }

  private get drawing(): boolean {
    return this.draw.getMode() !== "select";
  }

  /** Begin a shape: the next one of several, or another in place of the only one. */
  begin(tool: Tool): void {
    this.tool = tool;
    this.choose(null);
    if (!this.options.several && this.rings.length) {
      this.keep();
      this.draw.clear();
      this.rings = [];
    }
    this.draw.setMode(tool);
    this.placeCross();
    this.tell();
  }

  undo(): void {
    if (this.drawing && this.draw.canUndo()) this.draw.undo();
    else {
      const before = this.past.pop();
      if (!before) return;
      this.restore(before);
    }
    this.moved = null;
    this.tell();
  }

  /** Put other rings in place of what is there. */
  take(rings: Ring[]): void {
    this.keep();
    this.restore(rings);
    this.tell();
  }

  /** Set a corner where the cross is. */
  cornerHere(): void {
    this.byCross = true;
    for (const type of ["pointermove", "pointerdown", "pointerup"]) this.point(type);
    this.tell();
  }

  /** Join the last corner with the first. */
  close(): void {
    this.map.gl.getCanvas().dispatchEvent(new KeyboardEvent("keyup", { key: FINISH_KEY }));
    this.tell();
  }

  panBy(x: number, y: number): void {
    this.map.gl.panBy([x, y], { duration: 0 });
  }

  chooseNext(step: 1 | -1): void {
    const { length } = this.corners();
    if (!length) return;
    this.choose(this.chosen === null ? (step > 0 ? 0 : length - 1) : (this.chosen + step + length) % length);
    const at = this.cornerAt();
    if (at && !this.map.gl.getBounds().contains(at)) this.map.gl.panTo(at, { duration: 0 });
    this.tell();
  }

  /** Move the chosen corner by pixels. */
  moveCorner(x: number, y: number): void {
    const at = this.cornerAt();
    if (!at) return;
    const { gl } = this.map;
    const point = gl.project(at);
    const { lng, lat } = gl.unproject([point.x + x, point.y + y]);
    if (this.moved !== this.chosen) this.keep();
    this.moved = this.chosen;
    this.change((ring, index) => ring.splice(index, 1, [lng, lat]));
  }

  removeCorner(): void {
    const at = this.chosen === null ? undefined : this.corners()[this.chosen];
    if (!at || at.ring.length <= 4) return;
    this.keep();
    this.change((ring, index) => ring.splice(index, 1));
    this.choose(Math.min(this.chosen!, this.corners().length - 1));
    this.tell();
  }

  /** A corner in the middle of the way to the next one. */
  addCorner(): void {
    if (this.chosen === null) return;
    this.keep();
    this.change((ring, index) => {
      const [x1, y1] = ring[index]!;
      const [x2, y2] = ring[(index + 1) % ring.length]!;
      ring.splice(index + 1, 0, [(x1 + x2) / 2, (y1 + y2) / 2]);
    });
    this.choose(this.chosen + 1);
    this.tell();
  }

  stop(): void {
    const { gl } = this.map;
    this.stopped = true;
    cancelAnimationFrame(this.frame);
    gl.getCanvas().removeEventListener("pointerdown", this.hold);
    document.removeEventListener("pointerup", this.release);
    document.removeEventListener("pointercancel", this.release);
    gl.off("move", this.followCross);
    gl.off("resize", this.followCross);
    this.cross.remove();
    (gl.getSource("drawn") as GeoJSONSource).setData(emptyCollection());
    gl.removeLayer(CORNER_LAYER);
    this.draw.stop();
  }

  private polygons(): Drawn[] {
    return this.draw
      .getSnapshot()
      .filter((one): one is Drawn => one.geometry.type === "Polygon" && !one.properties["currentlyDrawing"]);
  }

  private corners(): { id: string | number; ring: Ring; index: number }[] {
    return this.polygons().flatMap((one) => {
      const ring = ringOf(one);
      return ring.slice(1).map((_, index) => ({ id: one.id!, ring, index }));
    });
  }

  private cornerAt(): Position | null {
    const found = this.chosen === null ? undefined : this.corners()[this.chosen];
    return found ? found.ring[found.index]! : null;
  }

  private choose(index: number | null): void {
    this.chosen = index;
    const at = this.cornerAt();
    const data = at ? featureOf({ type: "Point", coordinates: at }) : emptyCollection();
    (this.map.gl.getSource("drawn") as GeoJSONSource).setData(data);
  }

  /** Change the open ring that the chosen corner belongs to. */
  private change(edit: (ring: Position[], index: number) => void): void {
    const found = this.chosen === null ? undefined : this.corners()[this.chosen];
    if (!found) return;
    const open = found.ring.slice(0, -1).map(([x, y]): Position => [x, y]);
    edit(open, found.index);
    const ring = [...open, open[0]!].map(([x, y]): Position => [fixed(x), fixed(y)]);
    this.draw.selectFeature(found.id);
    this.draw.updateFeatureGeometry(found.id, { type: "Polygon", coordinates: [ring] });
    this.rings = this.polygons().map(ringOf);
    this.choose(this.chosen);
    this.tell();
  }

  private keep(): void {
    this.past.push(this.rings);
    if (this.past.length > MOST_UNDONE) this.past.shift();
  }

  /** What a pointer changed is a step that can be undone. */
  private settle(): void {
    if (this.stopped || this.drawing) return;
    const now = this.polygons().map(ringOf);
    if (JSON.stringify(now) === JSON.stringify(this.rings)) return;
    this.keep();
    this.rings = now;
    this.moved = null;
    this.choose(null);
    this.tell();
  }

  private restore(rings: Ring[]): void {
    this.choose(null);
    this.draw.clear();
    this.rings = rings;
    const ids = rings.map((ring) => {
      const id = this.draw.getFeatureId();
      const coordinates = [ring.map(([x, y]) => [fixed(x), fixed(y)])];
      this.draw.addFeatures([
        { id, type: "Feature", properties: { mode: "polygon" }, geometry: { type: "Polygon", coordinates } },
      ]);
      return id;
    });
    if (ids.length) {
      this.draw.setMode("select");
      this.draw.selectFeature(ids[0]!);
    } else this.draw.setMode(this.tool);
    this.placeCross();
  }

  /** What the panel leaves free of the map has the cross in its middle. */
  private placeCross(): void {
    this.cross.hidden = !this.drawing;
    const { x, y } = this.crossAt();
    this.cross.style.left = `${x}px`;
    this.cross.style.top = `${y}px`;
    if (this.byCross && this.draw.getModeState() === "drawing") this.point("pointermove");
  }

  private crossAt(): { x: number; y: number } {
    const { clientWidth: width, clientHeight: height } = this.map.gl.getContainer();
    const panel = document.querySelector<HTMLElement>(".drawing-panel");
    const below = panel && panel.offsetWidth > 0.8 * width ? panel.offsetTop : height;
    return { x: Math.round(width / 2), y: Math.round(below / 2) };
  }

  /** As a pointer would, at the cross if nowhere else. */
  private point(type: string, clientX?: number, clientY?: number): void {
    const canvas = this.map.gl.getCanvas();
    const { left, top } = canvas.getBoundingClientRect();
    const { x, y } = this.crossAt();
    canvas.dispatchEvent(
      new PointerEvent(type, {
        clientX: clientX ?? left + x,
        clientY: clientY ?? top + y,
        isPrimary: true,
        button: type === "pointermove" ? -1 : 0,
        buttons: type === "pointerdown" ? 1 : 0,
        pointerType: "mouse",
      }),
    );
  }

  private tell(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.options.changed(this.state));
  }
}

const ringOf = (one: Drawn): Ring => one.geometry.coordinates[0] as Ring;

/** As many decimals as terra-draw takes. */
const fixed = (value: number): number => Math.round(value * 1e9) / 1e9;

function isBad(feature: GeoJSONStoreFeatures): boolean {
  if (feature.geometry.type !== "Polygon") return false;
  const ring = feature.geometry.coordinates[0] as Ring;
  return ring.length <= MOST_CHECKED && crossesItself(ring);
}

function modes(): [TerraDrawPolygonMode, TerraDrawRectangleMode, TerraDrawSelectMode] {
  const coarse = matchMedia("(pointer: coarse)").matches;
  const styles = { fillColor: COLOUR, fillOpacity: 0.12, outlineColor: COLOUR, outlineWidth: 2.5 } as const;
  const feature = {
    draggable: false,
    // A shape that crosses itself is shown red, and told: to be stopped without a word is worse.
    selfIntersectable: true,
    coordinates: { midpoints: { draggable: true }, draggable: true, deletable: true },
  };
  const colour = (one: GeoJSONStoreFeatures): typeof COLOUR | typeof BAD => (isBad(one) ? BAD : COLOUR);
  return [
    new TerraDrawPolygonMode({
      pointerDistance: coarse ? 30 : 16,
      keyEvents: { cancel: null, finish: FINISH_KEY },
      showCoordinatePoints: true,
      styles: {
        ...styles,
        closingPointColor: COLOUR,
        closingPointWidth: coarse ? 8 : 5,
        coordinatePointColor: "#ffffff",
        coordinatePointOutlineColor: COLOUR,
        coordinatePointOutlineWidth: 2,
        coordinatePointWidth: 4,
      },
    }),
    new TerraDrawRectangleMode({ keyEvents: { cancel: null, finish: FINISH_KEY }, styles }),
    new TerraDrawSelectMode({
      pointerDistance: coarse ? 36 : 18,
      keyEvents: null,
      allowManualDeselection: false,
      flags: { polygon: { feature }, rectangle: { feature } },
      styles: {
        selectedPolygonColor: colour,
        selectedPolygonOutlineColor: colour,
        selectedPolygonOutlineWidth: 2.5,
        selectedPolygonFillOpacity: 0.12,
        selectionPointColor: "#ffffff",
        selectionPointOutlineColor: colour,
        selectionPointOutlineWidth: 2.5,
        selectionPointWidth: coarse ? 8 : 5.5,
        midPointColor: "#ffffff",
        midPointOutlineColor: "#6f8a90",
        midPointOutlineWidth: 1.5,
        midPointWidth: coarse ? 5 : 3.5,
      },
    }),
  ];
}
