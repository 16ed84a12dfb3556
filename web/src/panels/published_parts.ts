// What only a published map has: who made it from what, and pictures of sites.

import type { App } from "../app";
import { fileAddress } from "../base/published";
import { button, el, replace } from "../base/dom";
import type { Picture, SiteDetail } from "../base/types";
import { language, percent, period as periodWords, t, text } from "../base/words";
import { dialog } from "./dialogs";

const linesOf = (app: App): string[] => app.session.published?.about[language] ?? [];

/** Below the map: that a detection is a lead, whose data it is, when it was made. */
export function aboutStrip(app: App): HTMLElement {
  const lines = linesOf(app);
  return el(
    "footer",
    { class: "about-strip" },
    el("p", {}, ...lines.map((line) => el("span", {}, line, " "))),
    button(t("published_about"), () => showAbout(app)),
  );
}

export function showAbout(app: App): void {
  dialog(t("published_about"), ...linesOf(app).map((line) => el("p", {}, line)), el("p", {}, t("published_help")));
}

/** Before and after, where the publisher had images. */
export function pictures(detail: SiteDetail): HTMLElement | null {
  const { before, after } = detail.pictures ?? {};
  if (!before && !after) return null;
  const place = el("div", { class: "pictures" });
  const shown = [before && figure("before", before), after && figure("after", after)];
  replace(place, el("h3", {}, text("pictures.heading")), ...shown);
  if (before && after) place.append(el("p", { class: "hint" }, text(after.same_tones ? "pictures.same_tones" : "pictures.own_tones")));
  return place;
}

function figure(when: "before" | "after", picture: Picture): HTMLElement {
  // Whose ground was marked before as well has no picture without a detection.
  const name = text(when === "before" && picture.detected ? "pictures.earlier" : `pictures.${when}`);
  const seen = text(picture.detected ? "export.detected" : "export.not_detected");
  const told = `${name} · ${periodWords(picture.start, picture.end)} · ${seen}`;
  const { file, width, height, hidden_share: hidden } = picture;
  return el(
    "figure",
    {},
    el("figcaption", {}, told),
    el("img", { src: fileAddress(file), alt: told, width, height, loading: "lazy", decoding: "async" }),
    hidden > 0 && el("p", { class: "hint" }, text("pictures.hidden", { share: percent(hidden) })),
  );
}
