// Analyses that people ask for on the map.

import assert from "node:assert/strict";

import { look, press, send, until } from "./drawing.mjs";
import { graveFaults } from "./scenarios.mjs";

const ANALYSED_MS = 180_000;

async function askForAnalysis(page, [west, south, east, north], { first, last, name }, closed = true) {
  if (closed) await page.locator(".tool-analyse").click();
  await page.waitForSelector(".drawing-panel.analyse");
  await page.getByRole("button", { name: "Rectangle" }).click();
  await press(page, [west, north]);
  await press(page, [east, south]);
  await page.locator(".work-form input[name=first]").fill(first);
  await page.locator(".work-form input[name=last]").fill(last);
  if (name) await page.locator(".work-form input[name=area]").fill(name);
}

const faults = (page) => page.locator(".drawing-panel .faults li").allInnerTexts();
const stateOf = (page, area) => page.locator(".job", { hasText: area }).first();

async function analyse(tools) {
  const { page, open, settled, marks, ask, options } = tools;
  const [west, south, east, north] = options.box;
  const before = await ask("/api/areas");
  await open();
  await look(page, [(west + east) / 2, (south + north) / 2], 12.4);
  await askForAnalysis(page, options.box, { first: "2022-03", last: "2022-05", name: "phantom" });
  await page.waitForFunction(() => !document.querySelector(".work-form button[type=submit]").disabled);
  assert.match(await page.locator(".drawing-panel").innerText(), /Model: toy/);
  await tools.picture("analyse-form");
  await send(page).click();
  await page.waitForSelector(".job");
  assert.match(await page.locator(".tool-analyse").getAttribute("aria-label"), /1 running or waiting/);
  // It lives in the store: the page may be opened anew.
  await page.reload();
  await tools.ready();
  await page.waitForFunction(() => document.querySelector(".tool-analyse").dataset.open === "1");
  await page.evaluate(() => (window.stayed = true));
  await page.locator(".tool-analyse").click();
  await page.waitForSelector(".job.running progress", { timeout: ANALYSED_MS });
  await tools.picture("analyse-running");
  await page.waitForSelector(".job.done", { timeout: ANALYSED_MS });
  // What was found is there without a reload.
  await page.waitForFunction(() => decodeURIComponent(location.hash).includes("area=phantom"));
  await page.locator(".drawing-panel header button").click();
  await settled();
  const { sites } = await ask("/api/sites?area=phantom");
  assert.ok(sites.length > 0);
  const drawn = new Set((await marks()).map((one) => one.id));
  assert.ok(sites.every((one) => drawn.has(one.site_id)), "the map shows what was found");
  await page.locator("#tab-sites").click();
  await page.waitForFunction((n) => document.querySelectorAll("#list-sites .row").length === n, sites.length);
  assert.equal(await page.evaluate(() => window.stayed), true);
  assert.equal((await ask("/api/areas")).length, before.length + 1);
  await tools.picture("analyse-done");
  return { sites: sites.length };
}

/** Of a store without areas: to what the first analysis found. */
async function firstArea(tools) {
  const { page, open, settled, marks, ask, options } = tools;
  const [west, south, east, north] = options.box;
  assert.deepEqual(await ask("/api/areas"), []);
  // As a link to another store would have it.
  await open("#area=gone&site=s-1&period=2024-01-01/2024-03-31");
  await page.waitForSelector(".start h2");
  assert.match(await page.locator(".start").innerText(), /outline from a file, and ask for its first analysis/);
  for (const name of [".tabs", ".list", ".legend", ".slider", ".tool-report", ".tool-measure", ".tool-home"])
    for (const one of await page.locator(name).all()) assert.equal(await one.isVisible(), false, name);
  const told = () => page.evaluate(async () => (await window.sluiceMap.getSource("graticule").getData()).features.map((one) => one.properties.told));
  assert.ok((await told()).includes("0°"));
  await settled();
  await tools.picture("start");
  await page.locator("[role=combobox]").fill(`${(south + north) / 2}, ${(west + east) / 2}`);
  await page.locator("#found li").first().click();
  await page.waitForFunction(() => window.sluiceMap.getZoom() > 13 && !window.sluiceMap.isMoving());
  await look(page, [(west + east) / 2, (south + north) / 2], 12.2);
  assert.ok((await told()).some((one) => /^\d+\.\d+°[SW]$/.test(one)), "lines are told close by, too");
  await page.locator(".start .button.main").click();
  await askForAnalysis(page, options.box, { first: "2022-03", last: "2022-05", name: "first" }, false);
  await page.waitForFunction(() => !document.querySelector(".work-form button[type=submit]").disabled);
  await tools.picture("start-drawn");
  await send(page).click();
  await page.waitForSelector(".job");
  assert.match(await page.locator(".start").innerText(), /on its way/);
  // Somebody looks elsewhere meanwhile.
  await page.locator(".drawing-panel header button").click();
  await look(page, [0, 10], 2);
  await page.waitForFunction(() => decodeURIComponent(location.hash).includes("area=first"), null, { timeout: ANALYSED_MS });
  await page.waitForFunction(() => !document.querySelector(".first-area"));
  await settled();
  const { sites } = await ask("/api/sites?area=first");
  assert.ok(sites.length > 0);
  await until(page, async () => (await marks()).length > 0, "the map shows what was found");
  const isThere = async () => {
    const seen = await page.evaluate(() => window.sluiceMap.getBounds().toArray().flat());
    assert.ok(seen[0] < west && seen[1] < south && seen[2] > east && seen[3] > north, "all of the area");
    assert.ok(seen[2] - seen[0] < 10 * (east - west), "the map is there");
  };
  await isThere();
  await page.locator("#tab-sites").click();
  await page.waitForFunction((n) => document.querySelectorAll("#list-sites .row").length === n, sites.length);
  assert.equal(await page.evaluate(() => window.sluiceMap.getSource("graticule") === undefined), true);
  await tools.picture("start-landed");
  // Nor does the address of the empty map keep anybody away from it.
  await page.goto("about:blank");
  await open("#at=10,0,2");
  await isThere();
  return { sites: sites.length };
}

/** The same as those see it who may not draw, and on phones in each language. */
async function startOfOthers(tools) {
  const { page, open } = tools;
  const said = {};
  await open();
  for (const language of ["fr", "es", "pt"]) {
    await page.evaluate((code) => localStorage.setItem("sluice.language", code), language);
    await page.reload();
    await tools.ready();
    said[language] = await page.locator(".start").innerText();
    await tools.picture(`start-phone-${language}`);
  }
  await page.route("**/api/session", async (route) => {
    const answer = await route.fetch();
    const told = await answer.json();
    await route.fulfill({ json: { ...told, csrf: "x", person: { ...told.person, role: "viewer" } } });
  });
  await page.goto(tools.options.address);
  await page.waitForSelector(".gate p");
  assert.deepEqual(await graveFaults(tools), []);
  const [name, leave] = await page.locator(".gate .person").evaluate((one) => {
    const range = document.createRange();
    range.selectNodeContents(one.firstChild);
    return [range.getBoundingClientRect().right, one.querySelector("button").getBoundingClientRect().left];
  });
  assert.ok(leave - name >= 8, `the button is ${leave - name} px from the name`);
  said.viewer = await page.locator(".gate").innerText();
  await tools.picture("start-viewer");
  await page.unrouteAll();
  return said;
}

/** An outline in a file becomes an area that is followed, ready to be analysed. */
async function outlineOfFile(tools) {
  const { page, open, ask, options, faults: noted } = tools;
  await open();
  await page.locator(".tool-analyse").click();
  const field = page.locator(".where input[type=file]");
  const give = (name, text) => field.setInputFiles([{ name, mimeType: "application/octet-stream", buffer: Buffer.from(text) }]);
  await give("broken.geojson", "{");
  await page.waitForFunction(() => document.querySelector(".where .fault").innerText.includes("broken.geojson"));
  assert.equal(await page.locator(".where select").inputValue(), "");
  for (const area of ["Rio de São João 2", "Rio de São João 2 2"]) {
    await give("Rio de São João (2).geojson", options.outline);
    await page.waitForFunction((name) => document.querySelector(".where select").value === name, area);
    assert.equal(await page.locator(".where .fault").innerText(), "");
    assert.ok((await ask("/api/areas")).some((one) => one.name === area), area);
    assert.equal(await page.locator(".sketch").isVisible(), false, "nothing is to be drawn");
    assert.equal(await page.locator(".draw-cross").isVisible(), false, "nor is there a cross to draw with");
    await page.waitForFunction((name) => new URLSearchParams(location.hash.slice(1)).get("area") === name, area);
    await page.waitForFunction(() => !document.querySelector(".work-form button[type=submit]").disabled);
    await tools.picture("outline-of-file");
    await page.locator(".where select").selectOption("");
    assert.equal(await page.locator(".draw-cross").isVisible(), true);
  }
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("outline-or-drawing");
  // The browser itself tells of the refusal that was meant.
  noted.splice(0, noted.length, ...noted.filter((one) => !/status of 4(00|22)/.test(one)));
  return {};
}

async function analyseLimits(tools) {
  const { page, open, options } = tools;
  const [west, south, east, north] = options.box;
  await open();
  // Small enough to lie between the legend and the form.
  await look(page, [(west + east) / 2, (south + north) / 2], 8.5);
  const wide = [west - 0.1, south - 0.1, east + 0.1, north + 0.1];
  await askForAnalysis(page, wide, { first: "2022-03", last: "2022-05" });
  await page.waitForFunction(() => /km² are too many/.test(document.querySelector(".faults").innerText));
  assert.equal(await send(page).isDisabled(), true);
  await page.locator(".work-form input[name=last]").fill("2029-05");
  assert.match((await faults(page)).join(" "), /days are too many/);
  await page.locator(".work-form input[name=last]").fill("2021-01");
  assert.match((await faults(page)).join(" "), /before the first/);
  await tools.picture("analyse-limits");
  // A time without images: why it failed is told. Nothing has to be drawn again for a known area.
  await page.locator(".where select").selectOption("ours");
  await page.locator(".work-form input[name=first]").fill("2020-01");
  await page.locator(".work-form input[name=last]").fill("2020-02");
  await page.waitForFunction(() => !document.querySelector(".work-form button[type=submit]").disabled);
  await send(page).click();
  await stateOf(page, "ours").waitFor();
  await page.waitForSelector(".job.failed .fault", { timeout: ANALYSED_MS });
  const why = await page.locator(".job.failed .fault").innerText();
  assert.doesNotMatch(why, /Traceback|Error:/);
  await tools.picture("analyse-failed");
  return { why };
}

async function analyseCancel(tools) {
  const { page, open, options, ask } = tools;
  const [west, south, east, north] = options.box;
  await open();
  await look(page, [(west + east) / 2, (south + north) / 2], 12.4);
  // One that ends before it hears of it is done all the same; it is asked for anew then.
  for (let tries = 1; ; tries++) {
    const name = `not wanted ${tries}`;
    await askForAnalysis(page, options.box, { first: "2022-03", last: "2022-05", name });
    await send(page).click();
    await stateOf(page, name).getByRole("button", { name: /Cancel/ }).click();
    const ended = page.locator(".job.cancelled, .job.done", { hasText: name });
    await ended.waitFor({ timeout: ANALYSED_MS });
    // What had landed by then stays.
    const job = (await ask("/api/jobs")).jobs.find((one) => one.area === name);
    const there = (await ask("/api/areas")).some((one) => one.name === name);
    assert.equal(there, job.run_ids.length > 0);
    if (job.state === "cancelled") return {};
    assert.ok(tries < 5, "none was cancelled");
    await page.locator(".drawing-panel header button").click();
    await look(page, [(west + east) / 2, (south + north) / 2], 12.4);
  }
}

export const analyses = { firstArea, startOfOthers, analyse, outlineOfFile, analyseLimits, analyseCancel };
