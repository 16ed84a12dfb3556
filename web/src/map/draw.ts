// All that is drawn, loaded when someone draws: here a shape that is measured.

import { type App, currentArea, tell, tellFault } from "../app";
import * as api from "../base/api";
import { button, el, replace } from "../base/dom";
import { hectares, t } from "../base/words";
import { boxOfRings, inside, type Ring } from "./rings";
import type { SketchState } from "./sketch";
import { openSketch } from "./sketch_panel";

export { startAnalysing } from "../panels/analyse";
export { startRedrawing } from "../panels/redraw";
export { startReporting } from "../panels/report_mine";

const MOST_SITES = 1000;

/** Let a person draw one polygon; the panel beside it tells its size and its sites. */
export function startDrawing(app: App, place: HTMLElement, ended: () => void): () => void {
  const told = el("div", { class: "told", role: "status" });
  let shown = "";
  const changed = ({ rings, drawing, hectares: size }: SketchState): void => {
    const now = JSON.stringify(rings);
    if (drawing || !rings.length) replace(told);
    else if (now !== shown) void tellPolygon(app, rings[0]!, size, told);
    shown = drawing ? "" : now;
  };
  const { below, stop } = openSketch(app, { title: t("draw"), place, changed, ended });
  below.append(told);
  return stop;
}

async function tellPolygon(app: App, ring: Ring, size: number, told: HTMLElement): Promise<void> {
  const geometry = JSON.stringify({ type: "Polygon", coordinates: [ring] });
  const sizeTold = el("p", {}, el("strong", {}, hectares(size)));
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
  replace(told, sizeTold, copyIt);
  try {
    const { sites } = await api.sites({
      area: currentArea(app)?.name,
      bbox: boxOfRings([ring]).join(","),
      limit: MOST_SITES,
    });
    const within = sites.filter((site) => inside(ring, site.lon, site.lat));
    const total = within.reduce((sum, site) => sum + (site.area_ha ?? 0), 0);
    const words = t("drawn_sites", { n: within.length, area: hectares(total) });
    if (sizeTold.isConnected) replace(told, sizeTold, el("p", {}, words), copyIt);
  } catch (error) {
    tellFault(error);
  }
}
