// Starts the map: who asks, in which language, which areas; then the panels, kept in step with the view.

import "./style.css";

import { type App, areaLabel, currentArea, forgetSites, mayAnalyse, mayCompare, runWith, tell, tellFault } from "./app";
import * as api from "./base/api";
import { add, announce, el, liveRegion, replace } from "./base/dom";
import { areasFor } from "./base/everywhere";
import { go, link, look, watch } from "./base/state";
import type { BBox, Job } from "./base/types";
import { keepLanguage, loadWords, preferredLanguage, t } from "./base/words";
import { listenToKeys } from "./keys";
import type { Compare } from "./map/compare";
import { bestPair } from "./map/periods";
import { logInAgain, logInForm, person } from "./panels/dialogs";
import { Frame } from "./panels/frame";
import { IMAGE_OPACITY, PROBABILITY_OPACITY, opacityOf } from "./panels/legend";
import { reload } from "./panels/unsent";

/** Where people live, for a map without areas. */
const WORLD: BBox = [-170, -56, 179, 72];

async function start(): Promise<void> {
  // The lists stand before the map's engine, the largest part, has come and started.
  const engine = import("./map/engine");
  let session = await api.session();
  const words = loadWords(preferredLanguage(session.languages, session.published?.language));
  if (session.needs_login && !session.person) {
    await words;
    await logInForm();
    session = await api.session();
  }
  const [areas, registered, elevation] = await Promise.all([
    areasFor(session),
    // A map without its layers is better than none.
    api.layers().catch(() => []),
    api.elevation().catch(() => null),
    words,
  ]);
  // Of a raster of slopes the layer holds a frame only.
  const layers = registered.filter((layer) => layer.kind !== "slope");
  const root = document.getElementById("app")!;
  replace(root);
  const published = api.isPublished ? await import("./panels/published_parts") : null;
  const app = { session, areas, layers, elevation, published, detail: null, queue: [], more: null, given: new Map(), unsent: null } as unknown as App;
  const area = currentArea(app);
  if (!area && !(await mayDrawAreas(app))) {
    add(root, el("main", { class: "gate" }, el("h1", {}, "Sluice"), el("p", {}, t(mayAnalyse(app) ? "no_areas" : "no_areas_viewer")), person(app)));
    return;
  }
  // An address without an area is that of a map before the first one: it shows none of it.
  const camera = area && !look().area ? null : look().camera;
  // Without areas there is nothing that an old link could show.
  if (!area) go({ area: null, site: null, period: null, compare: null });
  else if (look().area !== area.name) go({ area: area.name });
  if (!mayCompare(app)) go({ compare: null });
  const frame = new Frame(app, { compare, language: (code) => void changeLanguage(code), reviewed, landed, followed });
  add(root, frame.root, published?.aboutStrip(app), liveRegion());
  const { slider, legend, site, alerts, sites, statistics } = frame;
  openTab();
  await painted();
  const { SiteMap, Compare, Graticule, Reported } = await engine;
  app.map = new SiteMap(frame.mapPlace, { camera, bounds: area?.bbox ?? WORLD, room: frame.room });
  const pair: Compare = new Compare(app, frame.mapPlace);

  function compare(): void {
    const here = currentArea(app);
    if (look().compare || !here) return go({ compare: null });
    const wanted = bestPair(here, app.detail);
    if (wanted) go({ compare: wanted });
    else tell(t("one_period"));
  }

  let redraw = 0;
  function reviewed(id: string): void {
    // Who came back to the site before its verdict had arrived sees it without.
    if (look().site === id) void site.show(id);
    // A hundred verdicts in a row ask for new tiles once in a while, not each.
    window.clearTimeout(redraw);
    redraw = window.setTimeout(() => app.map.refresh(), 600);
    for (const list of [alerts, sites]) list.render();
  }

  /** Maps of an analysis have landed: show what is new, without taking anybody from where they are. */
  function landed(job: Job): void {
    void (async () => {
      const before = currentArea(app)?.name;
      app.areas = await areasFor(session);
      forgetSites();
      frame.showAreas();
      if (job.area === before) {
        showNow();
        void site.show(look().site);
      } else if (!before ? app.areas.some(({ name }) => name === job.area) : job.state === "done" && !look().site) {
        goToNew(job.area);
      }
    })().catch(tellFault);
  }

  /** An area was added that has no maps yet. */
  async function followed(name: string): Promise<void> {
    app.areas = await areasFor(session);
    goToNew(name);
  }

  function goToNew(name: string): void {
    graticule?.remove();
    go({ area: name, period: null, site: null });
    frame.showAreas();
  }

  /** What the area holds now. */
  function showNow(): void {
    app.map.refresh();
    slider.show();
    legend.show();
    openTab();
    drawRasters();
  }

  function drawRasters(): void {
    const here = currentArea(app);
    if (!here || look().compare) return;
    const { period } = look();
    const wish = (name: string, otherwise: number): number => opacityOf(name, otherwise);
    const image = wish("@image", IMAGE_OPACITY);
    const probability = wish("@probability", PROBABILITY_OPACITY);
    app.map.showRaster("image", image ? runWith(here.runs, period, "has_image") : null, image);
    const run = probability ? runWith(here.runs, period, "has_probability") : null;
    app.map.showRaster("probability", run, probability);
  }

  function showReports(): void {
    frame.reported?.load(currentArea(app)?.name ?? null).catch(tellFault);
  }

  function openTab(): void {
    const { tab } = look();
    frame.showTab(tab);
    if (tab === "statistics") void statistics.load();
    else void (tab === "alerts" ? alerts : sites).load();
  }

  watch((view, changed) => {
    const here = currentArea(app);
    if (changed.has("area") && here) {
      app.map.showArea(here);
      frame.showAreas();
      if (!view.site) app.map.fit(here.bbox);
      slider.show();
      legend.show();
      openTab();
      showReports();
    }
    if (changed.has("tab")) openTab();
    if (changed.has("period") || changed.has("area")) {
      slider.show();
      app.map.showPeriod(view.period);
      if (view.tab === "statistics") void statistics.load();
    }
    if (changed.has("opacity")) app.map.showLayers(layers, view.opacity);
    if (changed.has("compare") && !view.compare) app.map.showPeriod(view.period);
    frame.showCompare(view.compare !== null);
    void pair.show(layers, app.detail).then(drawRasters);
    if (changed.has("site")) {
      frame.leaveSite();
      alerts.choose(view.site);
      sites.choose(view.site);
      frame.showSite(view.site !== null);
      void site.show(view.site).then(() => {
        if (view.compare) void pair.show(layers, app.detail);
      });
    } else if (changed.has("period") || changed.has("compare")) site.render();
    if (changed.has("camera") && view.camera && changed.size > 1) {
      app.map.gl.jumpTo({ center: [view.camera.lon, view.camera.lat], zoom: view.camera.zoom });
    }
  });

  listenToKeys({
    app,
    review: site.review,
    search: frame.search,
    slider,
    compare,
    copyLink: () => {
      navigator.clipboard
        .writeText(link())
        .then(() => tell(t("copied", { what: t("link") })))
        .catch(() => window.prompt(t("copy_by_hand"), link()));
    },
  });
  window.addEventListener("sluice:log-in", () =>
    logInAgain(app, () => {
      showNow();
      void site.show(look().site);
    }),
  );

  await app.map.ready;
  if (area) app.map.showArea(area);
  const graticule = area ? null : new Graticule(app.map.gl);
  app.map.showPeriod(look().period);
  app.map.showLayers(layers, look().opacity);
  drawRasters();
  frame.reported = new Reported(app.map.gl);
  showReports();
  frame.listenToMap();
  // What somebody asked for goes on while the page is closed, and is followed again.
  frame.jobs?.load().catch(tellFault);
  // As do the verdicts that an earlier page could not send.
  app.unsent?.wake();
  if (look().site) {
    frame.showSite(true);
    alerts.choose(look().site);
    sites.choose(look().site);
    await site.show(look().site);
  }
  frame.showCompare(look().compare !== null);
  await pair.show(layers, app.detail);
  announce(area ? t("ready", { area: areaLabel(area.name) }) : t("start_title"));
  // A handle for the browser's console, and for tests.
  Object.assign(window, { sluiceMap: app.map.gl });
  document.documentElement.dataset["ready"] = "true";
}

/** The person may draw the first area of a store. */
async function mayDrawAreas(app: App): Promise<boolean> {
  return mayAnalyse(app) && (await api.jobs()).limits.new_areas;
}

/** Once the browser has drawn what is there. */
function painted(): Promise<void> {
  return new Promise((done) => requestAnimationFrame(() => window.setTimeout(done, 0)));
}

/** The page is built anew in the other language; the address keeps the view. */
async function changeLanguage(code: string): Promise<void> {
  keepLanguage(code);
  reload();
}

start().catch((error: unknown) => {
  const root = document.getElementById("app")!;
  const place = el("main", { class: "gate" }, el("h1", {}, "Sluice"));
  // Without texts there is English.
  const gone = error instanceof api.ApiError && error.status === api.UNREACHABLE;
  add(place, el("p", { role: "alert" }, gone ? "The server cannot be reached." : String((error as Error).message)));
  replace(root, place);
  tellFault(error);
});
