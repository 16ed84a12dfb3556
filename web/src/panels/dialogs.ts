// What comes before the rest: logging in, help on keys, exports, about.

import { type App, currentArea, faultOf, mayCompare, mayReview, showFault, tellFault } from "../app";
import * as api from "../base/api";
import { add, button, el, icon, iconButton } from "../base/dom";
import { language, t, text, word, capital } from "../base/words";
import { REASONS } from "../base/types";
import { downloadLink, downloadsTold } from "./downloads";
import { REASON_KEYS } from "./review";
import { reload } from "./unsent";

const ASK_AGAIN_MS = 5000;

/** A dialog of the browser's own: it keeps the focus, and Escape closes it. */
export function dialog(title: string, ...content: (Node | null | false | "")[]): HTMLDialogElement {
  const made = el("dialog", { "aria-label": title });
  const close = iconButton(icon("close"), t("close"), () => made.close());
  add(made, el("header", {}, el("h2", {}, title), close), ...content);
  made.addEventListener("close", () => made.remove());
  document.body.append(made);
  made.showModal();
  return made;
}

export function showHelp(app: App): void {
  const reviews = mayReview(app);
  const reviewing: [string, string][] = [
    ["C", t("confirm")],
    ["R", t("key_reject")],
    ["U", t("unsure")],
    ["N", t("key_note")],
    ["O", t("redraw")],
  ];
  const comparing: [string, string][] = [["B", t("before_after")]];
  const keys: [string, string][] = [
    ...(reviews ? reviewing : []),
    ...(mayCompare(app) ? comparing : []),
    ["J / K", t("key_walk")],
    ["← / →", t("key_period")],
    ["/", t("search")],
    ["L", t("key_link")],
    ["?", t("key_help")],
    ["Esc", t("key_escape")],
  ];
  const rows = (pairs: [string, string][]): HTMLElement =>
    el("dl", { class: "keys" }, ...pairs.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]));
  const reasons = REASONS.map((reason, index): [string, string] => [
    REASON_KEYS[index]!.toUpperCase(),
    capital(word("reason", reason)),
  ]);
  dialog(
    t("help_title"),
    el("p", {}, text("common.lead")),
    el("p", {}, t(reviews ? "help_intro" : "published_help")),
    el(
      "div",
      { class: "columns" },
      el("div", {}, el("h3", {}, t("help_keys")), rows(keys)),
      reviews && el("div", {}, el("h3", {}, t("help_reasons")), rows(reasons)),
    ),
  );
}

const FORMATS: [string, string][] = [
  ["geojson", "GeoJSON"],
  ["gpkg", "GeoPackage (QGIS)"],
  ["kmz", "KMZ (Google Earth)"],
  ["csv", "CSV"],
  ["gpx", "GPX"],
  ["zip", "Shapefile"],
  ["parquet", "GeoParquet"],
  ["pmtiles", "PMTiles"],
];

export function showExports(app: App): void {
  const chosen = currentArea(app)?.name ?? api.EVERYWHERE;
  const area = chosen === api.EVERYWHERE ? null : chosen;
  const told = downloadsTold();
  dialog(
    t("export"),
    el("p", {}, area ? t("export_intro", { area }) : t("export_intro_all")),
    el(
      "ul",
      { class: "formats" },
      ...FORMATS.map(([suffix, name]) =>
        el(
          "li",
          {},
          downloadLink(name, api.address(`/exports/sites.${suffix}`, { area, language }), told),
        ),
      ),
    ),
    told,
    area &&
      el(
        "p",
        {},
        downloadLink(
          t("report_pdf"),
          api.address(`/reports/areas/${encodeURIComponent(area)}.pdf`, { language }),
          told,
        ),
      ),
    el("p", { class: "hint" }, t("export_programs")),
    el("p", {}, el("code", {}, `${location.origin}/ogc`)),
  );
}

let renewing: Promise<void> | null = null;

/**
 * A session has ended, as told by however many requests: ask once, and go on where the person was.
 *
 * @param renewed Called when the same person is logged in again; for another one the page opens anew.
 */
export function logInAgain(app: App, renewed: () => void): void {
  renewing ??= renew(app)
    .then(renewed)
    .catch((error: unknown) => {
      tellFault(error);
      window.setTimeout(() => app.unsent?.wake(), ASK_AGAIN_MS);
    })
    .finally(() => (renewing = null));
}

async function renew(app: App): Promise<void> {
  const { person: before } = app.session;
  // Another page of this browser may have done so already.
  let now = await api.session();
  if (!now.person) {
    await logInForm(before?.name);
    now = await api.session();
  } else if (now.csrf === app.session.csrf) {
    // The session stands, and a request was told otherwise: not at once again.
    await new Promise((done) => window.setTimeout(done, ASK_AGAIN_MS));
  }
  if (now.person?.name !== before?.name || now.person?.role !== before?.role) {
    // Nothing of the one before is sent for the other, however long the new page takes to come.
    app.unsent?.close();
    reload();
    return new Promise(() => undefined);
  }
  Object.assign(app.session, now);
  app.unsent?.wake();
}

/**
 * Ask for name and password until the server takes them.
 *
 * @param who Whose session has ended; the page waits behind the form as it is.
 */
export function logInForm(who?: string): Promise<void> {
  const behind = document.getElementById("app")!;
  const held = document.activeElement;
  // A dialog of the browser's own would lie over the form.
  for (const open of document.querySelectorAll<HTMLDialogElement>("dialog[open]")) open.close();
  behind.inert = true;
  return new Promise<void>((done) => {
    const name = el("input", { name: "name", autocomplete: "username", required: true });
    name.value = who ?? "";
    const password = el("input", {
      name: "password",
      type: "password",
      autocomplete: "current-password",
      required: true,
    });
    const fault = el("p", { class: "fault", role: "alert" });
    const send = el("button", { type: "submit", class: "button main" }, t("log_in"));
    const form = el(
      "form",
      {
        class: "log-in",
        onsubmit: (event: Event) => {
          event.preventDefault();
          send.disabled = true;
          api
            .logIn(name.value, password.value)
            .then(() => {
              made.remove();
              done();
            })
            .catch((error: unknown) => {
              const refused = error instanceof api.ApiError && error.status === 401;
              showFault(fault, refused ? { words: t("log_in_refused"), own: "" } : faultOf(error));
              password.value = "";
              password.focus();
            })
            .finally(() => (send.disabled = false));
        },
      },
      el("h1", {}, "Sluice"),
      who !== undefined && el("p", {}, t("log_in_again")),
      el("label", {}, t("name"), name),
      el("label", {}, t("password"), password),
      fault,
      send,
    );
    const made = el("main", { class: "gate" }, form);
    document.body.append(made);
    (who === undefined ? name : password).focus();
  }).finally(() => {
    behind.inert = false;
    if (held instanceof HTMLElement) held.focus({ preventScroll: true });
  });
}

export function person(app: App): HTMLElement | null {
  const who = app.session.person;
  if (!who || !app.session.csrf) return null;
  return el(
    "span",
    { class: "person" },
    who.name,
    button(t("log_out"), () => {
      app.unsent?.adopt();
      const n = (app.unsent?.waiting.length ?? 0) + (app.unsent?.returned.length ?? 0);
      // Others may use this computer: what somebody wrote stays in it no longer than they do.
      if (n && !window.confirm(t("log_out_unsent", { n }))) return;
      api
        .logOut()
        .then(() => {
          app.unsent?.clear();
          reload();
        })
        .catch(tellFault);
    }),
  );
}

