// The ground in three dimensions, where the store has its heights.

import type { Map as GlMap } from "maplibre-gl";

import type { Elevation } from "../base/types";
import { duration } from "./style";

/** Hills of some ten metres, as gold is found among, are seen so. */
const EXAGGERATION = 1.5;

/** Raise the ground to its heights and let the map be tilted, or lay it flat. */
export function showTerrain(gl: GlMap, elevation: Elevation | null): void {
  if (!elevation) {
    gl.setTerrain(null);
    if (gl.getLayer("relief")) gl.removeLayer("relief");
    gl.jumpTo({ pitch: 0, bearing: 0 });
    gl.setMaxPitch(0);
    gl.dragRotate.disable();
    gl.touchPitch.disable();
    gl.touchZoomRotate.disableRotation();
    gl.keyboard.disableRotation();
    return;
  }
  if (!gl.getSource("elevation")) {
    const { bounds, maxzoom, attribution } = elevation;
    const tiles = elevation.tiles.map((path) => location.origin + path);
    gl.addSource("elevation", { type: "raster-dem", tiles, encoding: "terrarium", tileSize: 256, bounds, maxzoom, attribution });
    // A source of its own: the ground is asked for in other tiles than its shade.
    gl.addSource("relief", { type: "raster-dem", tiles, encoding: "terrarium", tileSize: 256, bounds, maxzoom });
  }
  const shade = { "hillshade-shadow-color": "#3b4a4f", "hillshade-exaggeration": 0.45 };
  gl.addLayer({ id: "relief", type: "hillshade", source: "relief", paint: shade }, "slot-image");
  gl.setTerrain({ source: "elevation", exaggeration: EXAGGERATION });
  gl.setMaxPitch(75);
  gl.dragRotate.enable();
  gl.touchPitch.enable();
  gl.touchZoomRotate.enableRotation();
  gl.keyboard.enableRotation();
  gl.easeTo({ pitch: 60, duration: duration() });
}
