// What people do with the map, step by step, with what must be true after each.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

import { until } from "./drawing.mjs";

const MOST_SCRIPT_BYTES = 600_000;
const GRAVE = new Set(["serious", "critical"]);

export async function graveFaults({ page, axeSource }) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(readFileSync(axeSource, "utf-8"));
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter((one) => GRAVE.has(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html} (${node.failureSummary})`).join(" | ")}`);
}

export async function fitsTheWindow(page) {
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wider <= 0, `the page is ${wider} px too wide`);
}

export const text = (page, selector) => page.locator(selector).first().innerText();
const mark = ({ id, status }) => `${id} ${status}`;
const ids = (page) => page.locator("#list-alerts .row").evaluateAll((rows) => rows.map((row) => row.dataset.site));

async function firstScreen(tools) {
  const { page, open, settled, marksAre, ask, requests } = tools;
  await open();
  await settled();
  const { alerts } = await ask("/api/alerts");
  assert.deepEqual(await ids(page), alerts.map((one) => one.site_id), "alerts, by priority");
  const { sites } = await ask("/api/sites");
  const wanted = sites.map((one) => `${one.site_id} ${one.status}`);
  await marksAre(mark, wanted, "each site is marked once, with its status");
  let bytes = 0;
  for (const request of requests.filter((one) => /\.m?js$/.test(new URL(one.url()).pathname))) {
    bytes += gzipSync(await (await request.response()).body()).length;
  }
  assert.ok(bytes > 100_000 && bytes < MOST_SCRIPT_BYTES, `${bytes} bytes of script`);
  assert.ok(!requests.some((one) => /\/draw-/.test(one.url())), "drawing is loaded when it is needed");
  assert.equal(await page.locator(".legend").isVisible(), true);
  assert.equal(await page.locator(".tool-terrain").count(), 0, "nothing to raise without heights");
  assert.match(await text(page, ".maplibregl-ctrl-scale"), /km|m/);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("first-screen");
  return { script_bytes: bytes, sites: sites.length };
}

async function slider(tools) {
  const { page, open, settled, marksAre, ask } = tools;
  await open();
  const [area] = await ask("/api/areas");
  const range = page.locator("#period");
  await range.focus();
  const seen = [];
  const { sites } = await ask("/api/sites");
  const told = await Promise.all(sites.map((one) => ask(`/api/sites/${one.site_id}`)));
  for (let at = area.periods.length - 1; at >= 0; at--) {
    await page.keyboard.press("ArrowLeft");
    const { start, end } = area.periods[at];
    await page.waitForFunction((wanted) => decodeURIComponent(location.hash).includes(wanted), `period=${start}/${end}`);
    await settled();
    const wanted = told.flatMap(({ site, periods }) =>
      periods.filter((one) => one.start === start).map((then) => `${site.site_id} ${then.status}`),
    );
    await marksAre(mark, wanted, `sites in ${start}`);
    seen.push(wanted.length);
  }
  assert.match(await range.getAttribute("aria-valuetext"), /2023/);
  await tools.picture("slider");
  return { seen };
}

async function site(tools) {
  const { page, open, ask, hash, ready } = tools;
  await open();
  const row = page.locator("#list-alerts .row").first();
  const id = await row.getAttribute("data-site");
  await row.click();
  await page.waitForSelector(`.site h2:has-text("${id}")`);
  const told = await ask(`/api/sites/${id}`);
  assert.equal(await page.locator(".chart .period").count(), told.periods.length);
  // An image of a quarter tells no day on which a mine began or was last there.
  const since = page.locator(".facts dt", { hasText: /^(Since when|Last detected|Last seen clearly)$/ }).locator("xpath=following-sibling::dd[1]");
  for (const words of await since.allInnerTexts()) assert.match(words, /(^|since |Began in )[A-Z][a-z]{2} – [A-Z][a-z]{2} \d{4}/);
  assert.ok((await hash()).includes(`site=${id}`));
  assert.deepEqual(await graveFaults(tools), []);
  // A bar of the chart shows that period.
  await page.locator(".chart .period").first().click();
  // The address follows a moment later.
  const chosen = encodeURIComponent(told.periods[0].start);
  await page.waitForFunction((text) => location.hash.includes(text), chosen);
  // The link reopens the same view.
  await page.keyboard.press("l");
  const link = await page.evaluate(() => navigator.clipboard.readText());
  await page.goto("about:blank");
  await page.goto(link);
  await ready();
  assert.match(await text(page, ".site h2"), new RegExp(id));
  await page.waitForFunction((text) => location.hash.includes(text), chosen);
  await page.locator(".site summary", { hasText: "Coordinates" }).click();
  await page.locator(".coordinates button").last().click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), told.coordinates.mgrs);
  await tools.picture("site");
  await page.keyboard.press("Escape");
  await page.waitForSelector(".site", { state: "hidden" });
  assert.ok(!(await hash()).includes("site="));
  return { site: id };
}

/** A site through which a river flows: its points of priority are explained. */
async function onTheRiver(tools) {
  const { page, open } = tools;
  await page.route(/\/api\/sites\/s-[^/]+$/, async (route) => {
    const answer = await route.fetch();
    const told = await answer.json();
    Object.assign(told.site.context, { river_m: 0, river_name: "Rio Claro", in_protected: true, protected_m: 0 });
    await route.fulfill({ json: told });
  });
  await open();
  await page.locator("#list-alerts .row").first().click();
  await page.waitForSelector(".site h2");
  const rows = await page.locator(".site .facts dt").evaluateAll((all) => all.map((one) => `${one.textContent}: ${one.nextSibling.textContent}`));
  assert.ok(rows.some((row) => /^Distance: river: 0\s*m · Rio Claro$/.test(row)), rows.join("\n"));
  assert.ok(!rows.some((row) => /^Distance: protected/.test(row)), "told already: it lies inside");
  // What the lines around it mean is in the legend, while a site is chosen.
  await page.locator(".legend summary").click();
  assert.match(await text(page, ".legend"), /Detected in the period[^]*All ground ever detected/);
  await page.keyboard.press("Escape");
  await page.waitForSelector(".site", { state: "hidden" });
  assert.equal(await page.locator(".of-chosen").isVisible(), false);
  return {};
}

async function reviewByKeyboard(tools) {
  const { page, open, marksAre, faults } = tools;
  await open();
  await page.locator("#tab-sites").click();
  await page.waitForSelector("#list-sites .row");
  const order = await page.locator("#list-sites .row").evaluateAll((rows) => rows.map((row) => row.dataset.site));
  await page.locator("body").press("j");
  const at = (id) => page.waitForSelector(`.site h2:has-text("${id}")`);
  await at(order[0]);
  // The answer to the first one is lost after it was written: it is sent again.
  const sent = [];
  await page.route(/\/reviews$/, async (route) => {
    sent.push(route.request().postDataJSON().review_id);
    if (sent.length > 1) return route.continue();
    await route.fetch();
    await route.abort();
  });
  await page.keyboard.press("c");
  await at(order[1]);
  await page.keyboard.press("r");
  await page.waitForSelector(".reasons:not([hidden])");
  await page.keyboard.press("4");
  await at(order[2]);
  // While a note is written letters are letters.
  await page.keyboard.press("n");
  await page.keyboard.type("cur?");
  await page.keyboard.press("Escape");
  await page.keyboard.press("u");
  await at(order[3]);
  await page.keyboard.press("k");
  await at(order[2]);
  await page.waitForSelector(".said");
  assert.match(await text(page, ".said"), /Unsure|unsure/);
  assert.match(await text(page, ".said"), /cur\?/);
  await page.waitForFunction(() => document.querySelectorAll("#list-sites .chip[class*=verdict]").length === 3);
  // The map shows the verdicts as well.
  await page.keyboard.press("Escape");
  await page.locator(".tools button").first().click();
  const verdicts = { [order[0]]: "confirmed", [order[1]]: "rejected", [order[2]]: "unsure" };
  const said = ({ id, verdict }) => `${id} ${id in verdicts ? verdict : ""}`;
  await marksAre(said, order.map((id) => `${id} ${verdicts[id] ?? ""}`), "the map shows the verdicts");
  await tools.picture("review");
  assert.equal(sent.length, 4);
  assert.equal(new Set(sent).size, 3);
  faults.splice(0, faults.length, ...faults.filter((fault) => !/ERR_FAILED/.test(fault)));
  return { order };
}

/** In a list of pages of two, of whose sites others have reviewed the first and the third. */
async function reviewPages(tools) {
  const { page, open, ask } = tools;
  const ids = (await ask("/api/sites")).sites.map((one) => one.site_id);
  await page.route(/limit=100/, (route) => route.continue({ url: route.request().url().replace("limit=100", "limit=2") }));
  await open("#area=ours&tab=sites");
  const list = page.locator("#list-sites");
  const rows = () => list.locator(".row").evaluateAll((all) => all.map((one) => one.dataset.site));
  const count = (words) => page.waitForFunction((told) => document.querySelector("#list-sites .count").innerText === told, words);
  await count("7 sites, by priority");
  assert.deepEqual(await rows(), ids.slice(0, 2));
  // The filter asks the service: what it counts is what there is to do.
  const filter = list.locator(".filters input");
  await filter.check();
  await count("5 sites, by priority");
  assert.deepEqual(await rows(), [ids[1], ids[3]]);
  await list.locator(".more").click();
  await page.waitForFunction(() => document.querySelectorAll("#list-sites .row").length === 4);
  assert.deepEqual(await rows(), [ids[1], ids[3], ids[4], ids[5]]);
  await filter.uncheck();
  await count("7 sites, by priority");
  // On from a site goes past the end of the page, and a verdict past what others have reviewed.
  const at = (id) => page.waitForSelector(`.site h2:has-text("${id}")`);
  await page.locator("body").press("j");
  await at(ids[0]);
  await page.keyboard.press("j");
  await at(ids[1]);
  for (const here of [1, 3, 4, 5]) {
    await at(ids[here]);
    await page.keyboard.press("c");
    await at(ids[here === 1 ? 3 : here + 1]);
    assert.doesNotMatch(await text(page, "#toast"), /last one/);
    assert.match(await text(page, ".tally"), /or more to go/);
  }
  await page.keyboard.press("c");
  await page.waitForSelector('#toast:has-text("last one")');
  await page.keyboard.press("Escape");
  await filter.check();
  await count("Nothing here is without a verdict.");
  assert.equal(await list.locator(".more").isVisible(), false);
  assert.ok((await ask("/api/sites")).sites.every((one) => one.verdict));
  return { ids };
}

async function phone(tools) {
  const { page, open, settled } = tools;
  await open();
  await settled();
  await fitsTheWindow(page);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("phone");
  await page.locator(".legend summary").tap();
  const [legend, slider] = await Promise.all([".legend", ".slider"].map((one) => page.locator(one).boundingBox()));
  assert.ok(legend.y + legend.height <= slider.y, "the slider hides layers of the legend");
  await page.locator(".legend summary").tap();
  await page.locator("#list-alerts .row").first().tap();
  await page.waitForSelector(".site h2");
  const heights = await page.locator(".verdict").evaluateAll((all) => all.map((one) => one.getBoundingClientRect()));
  for (const { height, bottom } of heights) {
    assert.ok(height >= 40, `a button of ${height} px is too small for a thumb`);
    assert.ok(bottom <= (await page.evaluate(() => window.innerHeight)));
  }
  const map = await page.locator(".map").boundingBox();
  assert.ok(map.height > 150, `${map.height} px are left for the map`);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("phone-site");
  return {};
}

async function french(tools) {
  const { page, open } = tools;
  await open();
  assert.equal(await page.locator("html").getAttribute("lang"), "fr");
  assert.equal(await text(page, "#tab-alerts"), "Alertes");
  await page.keyboard.press("?");
  assert.match(await text(page, "dialog"), /Raccourcis/);
  assert.deepEqual(await graveFaults(tools), []);
  await page.keyboard.press("Escape");
  await page.locator(".top select").last().selectOption("pt");
  await page.waitForFunction(() => document.documentElement.lang === "pt");
  await tools.ready();
  assert.equal(await text(page, "#tab-statistics"), "Estatísticas");
  return {};
}

async function compare(tools) {
  const { page, open, settled, hash } = tools;
  await open();
  await page.locator("#list-alerts .row").first().click();
  await page.waitForSelector(".site h2");
  await page.keyboard.press("b");
  await page.waitForSelector(".divider");
  await settled();
  const divider = page.locator(".divider");
  await divider.focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await divider.getAttribute("aria-valuenow"), "55");
  const left = page.locator(".compare-bar select").first();
  await left.selectOption({ index: 1 });
  assert.match(await hash(), /compare=2023-04-01/);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("compare");
  await page.keyboard.press("Escape");
  await page.waitForSelector(".divider", { state: "detached" });
  return {};
}

async function drawing(tools) {
  const { page, open, requests } = tools;
  await open();
  await page.locator(".tools button").nth(2).click();
  await page.waitForSelector(".drawing-panel");
  assert.ok(requests.some((one) => /\/draw-/.test(one.url())));
  const box = await page.locator(".map").boundingBox();
  const corners = [[0.32, 0.3], [0.56, 0.3], [0.56, 0.7], [0.32, 0.7], [0.32, 0.3]];
  for (const [x, y] of corners) {
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
    await page.mouse.click(box.x + x * box.width, box.y + y * box.height);
    await page.waitForTimeout(120);
  }
  await page.waitForSelector(".drawing-panel .told strong");
  await page.waitForFunction(() => document.querySelectorAll(".drawing-panel .told p").length === 2);
  await page.locator(".drawing-panel .told button").click();
  const shape = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  await tools.picture("drawing");
  return { shape, told: await text(page, ".drawing-panel .told") };
}

async function statistics(tools) {
  const { page, open, ask } = tools;
  await open("#tab=statistics");
  await page.waitForSelector(".sums tbody tr");
  const sums = await ask("/api/statistics?by=district");
  const rows = await page.locator(".sums tbody tr").evaluateAll((all) =>
    all.map((row) => [row.querySelector("th").innerText.trim(), row.querySelector("td").innerText]),
  );
  assert.deepEqual(rows.sort(), sums.map((one) => [one.name ?? "elsewhere", String(one.sites)]).sort());
  const csv = await page.locator(".statistics a").getAttribute("href");
  const answer = await fetch(new URL(csv, tools.options.address));
  assert.match(await answer.text(), /Westland/);
  assert.deepEqual(await graveFaults(tools), []);
  return { rows };
}

async function search(tools) {
  const { page, open, settled } = tools;
  await open();
  await page.keyboard.press("/");
  await page.keyboard.type("westl");
  await page.waitForSelector("#found-0");
  assert.match(await text(page, "#found-0"), /Westland/);
  await page.keyboard.press("Escape");
  await page.locator(".search input").fill("-6,51; -56,09");
  await page.waitForSelector('#found-0:has-text("-6.51")');
  await page.keyboard.press("Enter");
  await settled();
  const centre = await page.evaluate(() => window.sluiceMap.getBounds().contains([-56.09, -6.51]));
  assert.ok(centre);
  // Enter before the answer means what is written, not what was found for the words before.
  const field = page.locator(".search input");
  await field.fill("westl");
  await page.waitForSelector('#found-0:has-text("Westland")');
  await field.fill("-6.42, -56.03");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => {
    // Panels on the map leave the place beside its middle.
    return window.sluiceMap.getZoom() > 13 && window.sluiceMap.getBounds().contains([-56.03, -6.42]);
  });
  await page.waitForTimeout(500);
  assert.match(await field.inputValue(), /6\.42/);
  assert.equal(await page.locator("#found").isVisible(), false, "nothing opens afterwards");
  // Who has gone elsewhere before the answer came is not shown it.
  let answer = null;
  await page.route(/\/api\/search/, (route) => (answer = () => route.continue()), { times: 1 });
  await field.fill("westl");
  await until(page, () => answer, "it is asked for");
  await page.locator("#tab-sites").click();
  await page.waitForTimeout(300);
  const came = page.waitForResponse(/\/api\/search/);
  await answer();
  await came;
  await page.waitForTimeout(300);
  assert.equal(await page.locator("#found").isVisible(), false, "it opens over the map");
  await field.fill("no such place");
  await page.keyboard.press("Enter");
  await page.waitForSelector('#found:has-text("Nothing found")');
  return {};
}

async function links(tools) {
  const { page, open, options } = tools;
  await open();
  await page.locator(".top button", { hasText: "Export" }).click();
  const hrefs = await page.locator("dialog a").evaluateAll((all) => all.map((one) => one.getAttribute("href")));
  await page.keyboard.press("Escape");
  await page.locator("#list-alerts .row").first().click();
  await page.waitForSelector(".site .links a");
  hrefs.push(...(await page.locator(".site .links a").evaluateAll((all) => all.map((one) => one.getAttribute("href")))));
  for (const href of hrefs) {
    const answer = await fetch(new URL(href, options.address));
    assert.equal(answer.status, 200, href);
    assert.ok((await answer.arrayBuffer()).byteLength > 100, href);
  }
  return { hrefs };
}

/** Files are saved, and what the service refuses is told in its words. */
async function downloads(tools) {
  const { page, open, faults } = tools;
  await open();
  const saved = async (link, within) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator(`${within} a`, { hasText: link }).click()]);
    const words = readFileSync(await download.path(), "utf-8");
    await page.waitForSelector(`${within} .downloads:has-text("is saved")`);
    return [download.suggestedFilename(), words];
  };
  const told = { error: { kind: "bad_request", message: "pictures of 700 sites make too large a KMZ" } };
  const refuse = (route) => route.fulfill({ status: 400, json: told });
  await page.route(/exports\/sites.kmz/, refuse);
  await page.locator(".top button", { hasText: "Export" }).click();
  await page.locator("dialog a", { hasText: "KMZ" }).click();
  await page.waitForSelector("dialog .downloads.fault");
  assert.match(await text(page, "dialog .downloads"), /pictures of 700 sites/);
  await page.unroute(/exports\/sites.kmz/, refuse);
  assert.deepEqual(await graveFaults(tools), []);
  const [name, all] = await saved("GeoJSON", "dialog");
  assert.equal(name, "sluice-sites.geojson");
  assert.equal(await page.locator("dialog .downloads.fault").count(), 0);
  await page.keyboard.press("Escape");
  await page.locator("#list-alerts .row").first().click();
  const id = await page.locator("#list-alerts .row").first().getAttribute("data-site");
  await page.waitForSelector(`.site h2:has-text("${id}")`);
  const [own, one] = await saved("GeoJSON", ".site");
  assert.equal(own, `sluice-${id}.geojson`);
  const ids = (words) => JSON.parse(words).features.map((feature) => feature.properties.site_id);
  assert.deepEqual(ids(one), [id]);
  assert.ok(ids(all).length > 1 && ids(all).includes(id));
  const [, gpx] = await saved("GPX", ".site");
  assert.equal(gpx.split("<wpt ").length, 2);
  // Reports are made while somebody waits: the answer that others are before is told here, too.
  const busy = { error: { kind: "busy", message: "others are before this request" } };
  await page.route(/reports\/sites/, (route) => route.fulfill({ status: 429, json: busy }), { times: 1 });
  await page.locator(".site a", { hasText: "Report (PDF)" }).click();
  await page.waitForFunction(() => /others are before/.test(document.querySelector(".site .downloads.fault")?.innerText ?? ""));
  const [report, pdf] = await saved("Report (PDF)", ".site");
  assert.match(report, /\.pdf$/);
  assert.ok(pdf.startsWith("%PDF-"));
  await tools.picture("downloads");
  // The browser itself tells of the refusals that were meant.
  faults.splice(0, faults.length, ...faults.filter((fault) => !/400 \(Bad Request\)|429 \(Too Many Requests\)/.test(fault)));
  return {};
}

/** How long it takes until the map can be used, and until all is drawn; without a cache each time. */
async function speed({ page, open, settled, requests }) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.setCacheDisabled", { cacheDisabled: true });
  const ready = [];
  const drawn = [];
  for (let round = 0; round < 5; round++) {
    await page.goto("about:blank");
    requests.length = 0;
    const began = performance.now();
    await open();
    ready.push(performance.now() - began);
    await settled();
    drawn.push(performance.now() - began);
  }
  let bytes = 0;
  for (const request of requests.filter((one) => /\.m?js$/.test(new URL(one.url()).pathname))) {
    bytes += gzipSync(await (await request.response()).body()).length;
  }
  const middle = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
  return { ready_ms: middle(ready), drawn_ms: middle(drawn), rounds: ready.length, script_bytes: bytes };
}

export const scenarios = {
  speed,
  links,
  downloads,
  firstScreen,
  slider,
  site,
  onTheRiver,
  reviewByKeyboard,
  reviewPages,
  phone,
  french,
  compare,
  drawing,
  statistics,
  search,
};
