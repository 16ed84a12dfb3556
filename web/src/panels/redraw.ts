// The outline of a site, drawn anew by whoever reviews it.

import { type App, tell } from "../app";
import { button, el } from "../base/dom";
import { go, look, samePeriod } from "../base/state";
import type { SiteDetail } from "../base/types";
import { period, t } from "../base/words";
import { boxOfRings, outerRings, type Ring } from "../map/rings";
import type { SketchState } from "../map/sketch";
import { openSketch } from "../map/sketch_panel";
import type { ReviewBox } from "./review";

/** Let a person correct the outline of a site; the verdict that follows takes it along. */
export function startRedrawing(
  app: App,
  detail: SiteDetail,
  review: ReviewBox,
  place: HTMLElement,
  ended: () => void,
): () => void {
  const { rings, of } = presentOutline(detail, review.outlineOf(detail.site.site_id));
  // The label is of the last period with a detection: that is what has to be seen.
  const chosen = look().period;
  if (of && chosen && !samePeriod(of, chosen)) go({ period: of });
  let state: SketchState | null = null;
  const save = button(t("redraw_save"), () => review.give("confirmed", null), {
    class: "button main",
    "aria-keyshortcuts": "C",
  });
  const panel = openSketch(app, {
    title: t("redraw_of", { site: detail.site.site_id }),
    place,
    start: rings,
    several: true,
    corrects: true,
    changed: (now) => {
      state = now;
      save.disabled = !now.shape || now.drawing || now.fault !== null;
    },
    ended: () => {
      review.outline = null;
      ended();
    },
  });
  review.outline = {
    shape: () => {
      if (!state?.shape || state.drawing || state.fault) {
        tell(t(state?.fault === "overlaps" ? "fault_overlaps" : state?.fault ? "fault_crosses" : "draw_first"), "fault");
        return null;
      }
      return state.shape;
    },
    saved: () => panel.stop(),
  };
  panel.root.classList.add("redraw");
  if (of) panel.below.append(el("p", { class: "hint" }, t("redraw_when", { period: period(of.start, of.end) })));
  panel.below.append(
    el("div", { class: "links" }, save, button(t("cancel"), panel.stop, { class: "button" })),
    el("p", { class: "hint of-wide" }, t("redraw_verdicts")),
  );
  if (rings.length) app.map.fit(boxOfRings(rings), 17);
  return panel.stop;
}

/** What somebody drew last, here or elsewhere, else the last detection, else all ground of the site. */
function presentOutline(detail: SiteDetail, own: GeoJSON.Geometry | null): { rings: Ring[]; of: { start: string; end: string } | null } {
  const drawn = [...detail.drawn].sort((one, other) => one.when.localeCompare(other.when)).at(-1);
  const last = [...detail.outlines].sort((one, other) => one.end.localeCompare(other.end)).at(-1);
  const geometry = own ?? drawn?.geometry ?? last?.geometry ?? detail.geometry;
  return {
    rings: geometry ? outerRings(geometry) : [],
    of: last ? { start: last.start, end: last.end } : null,
  };
}
