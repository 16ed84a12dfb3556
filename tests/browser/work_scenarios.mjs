// Work that people do by drawing: analyses, outlines, reports.

import assert from "node:assert/strict";

import { graveFaults } from "./scenarios.mjs";

const ANALYSED_MS = 180_000;

/** Where on the page the map shows a place. */
const onPage = (page, [lon, lat]) =>
  page.evaluate(
    ([x, y]) => {
      const at = window.sluiceMap.project([x, y]);
      const { left, top } = window.sluiceMap.getContainer().getBoundingClientRect();
      return [left + at.x, top + at.y];
    },
    [lon, lat],
  );

async function press(page, place, how = "click") {
  const [x, y] = await onPage(page, place);
  if (how === "tap") await page.touchscreen.tap(x, y);
  else {
    await page.mouse.move(x, y);
    await page.mouse.click(x, y);
  }
  await page.waitForTimeout(120);
}

async function drag(page, from, to) {
  const [x, y] = await onPage(page, from);
  const [toX, toY] = await onPage(page, to);
  await page.mouse.move(x - 2, y - 2);
  await page.mouse.move(x, y);
  await page.mouse.down();
  // A drag begins near what is dragged, as a hand does.
  await page.mouse.move(x + 8 * Math.sign(toX - x), y + 8 * Math.sign(toY - y));
  await page.mouse.move((x + toX) / 2, (y + toY) / 2);
  await page.mouse.move(toX, toY);
  await page.mouse.up();
  await page.waitForTimeout(150);
}

/** Until something is so: the map draws some frames later. */
async function until(page, is, what) {
  for (let tries = 0; ; tries++) {
    if (await is()) return;
    assert.ok(tries < 200, what);
    await page.waitForTimeout(150);
  }
}

/** The polygon that terra-draw holds, as the map's source has it. */
const drawnRings = (page) =>
  page.evaluate(async () => {
    const { features } = await window.sluiceMap.getSource("td-polygon").getData();
    return features.map((one) => one.geometry.coordinates[0]);
  });

const look = (page, [lon, lat], zoom) =>
  page.evaluate(([x, y, z]) => window.sluiceMap.jumpTo({ center: [x, y], zoom: z }), [lon, lat, zoom]);

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

const send = (page) => page.locator(".work-form button[type=submit]");
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

async function redraw(tools) {
  const { page, open, settled, ask } = tools;
  await open();
  await page.locator("#list-alerts .row").first().click();
  await page.waitForSelector(".site h2");
  const id = await page.locator(".site h2 span").innerText();
  await settled();
  await page.keyboard.press("o");
  await page.waitForSelector(".drawing-panel.redraw");
  await settled();
  const save = page.locator(".drawing-panel .button.main");
  const [first] = await drawnRings(page);
  const n = first.length - 1;
  const middle = first.slice(1).reduce(([x, y], [a, b]) => [x + a / n, y + b / n], [0, 0]);
  const inward = ([x, y], share) => [x + share * (middle[0] - x), y + share * (middle[1] - y)];
  await tools.picture("redraw-begin");
  await drag(page, first[0], inward(first[0], 0.3));
  const same = async () => JSON.stringify((await drawnRings(page))[0]) === JSON.stringify(first);
  await until(page, async () => !(await same()), "the corner was dragged");
  await page.getByRole("button", { name: "Undo" }).click();
  await until(page, same, "undone");
  // An outline that crosses itself is told, and cannot be saved.
  const [own, next, across] = first;
  await drag(page, own, [0, 1].map((k) => (next[k] + across[k]) / 2 + 0.1 * (next[k] - own[k])));
  await page.waitForFunction(() => /crosses itself/.test(document.querySelector(".drawing-panel .fault").textContent));
  assert.equal(await save.isDisabled(), true);
  await tools.picture("redraw-crosses");
  await page.keyboard.press("Control+z");
  await page.waitForFunction(() => document.querySelector(".drawing-panel .fault").textContent === "");
  await until(page, same, "undone by key");
  await drag(page, first[0], inward(first[0], 0.4));
  // The same by keys: the second corner, to the right.
  await page.getByRole("button", { name: "Next corner" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  for (let k = 0; k < 5; k++) await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => /Corner 2 of/.test(document.querySelector(".corner").textContent));
  const second = ([x, y]) => Math.abs(x - first[1][0]) + Math.abs(y - first[1][1]);
  await until(page, async () => second((await drawnRings(page))[0][1]) > 0, "moved by keys");
  await page.waitForTimeout(500);
  await tools.picture("redraw-corner");
  const [ring] = await drawnRings(page);
  await save.click();
  await page.waitForSelector(".drawing-panel", { state: "detached" });
  await page.waitForSelector(".drawn-told");
  const { drawn, site } = await ask(`/api/sites/${id}`);
  assert.equal(site.verdict, "confirmed");
  assert.equal(drawn.length, 1);
  // It is shown as the outline that holds.
  const shown = await page.evaluate(async () => (await window.sluiceMap.getSource("outlines").getData()).features);
  assert.equal(shown.filter((one) => one.properties.drawn).length, 1);
  await settled();
  await tools.picture("redraw-saved");
  // What is drawn next begins with it; Escape leaves without a trace.
  await page.locator(".redraw-begin").click();
  await page.waitForSelector(".drawing-panel.redraw");
  await page.keyboard.press("Escape");
  await page.waitForSelector(".drawing-panel", { state: "detached" });
  assert.equal((await ask(`/api/sites/${id}`)).drawn.length, 1);
  return { site: id, ring, drawn: drawn[0].geometry };
}

/** An outline as scans leave them, given by the test, is kept as it is. */
async function redrawUntouched(tools) {
  const { page, open, ask, options } = tools;
  await page.route(`**/api/sites/${options.site}*`, async (route) => {
    const answer = await route.fetch();
    const told = await answer.json();
    const outlines = told.outlines.map((one) => ({ ...one, geometry: options.outline }));
    await route.fulfill({ json: { ...told, drawn: [], outlines } });
  });
  await open(`#area=ours&site=${options.site}`);
  await page.waitForSelector(".site h2");
  await page.keyboard.press("o");
  await page.waitForSelector(".drawing-panel.redraw");
  const save = page.locator(".drawing-panel .button.main");
  await until(page, () => save.isEnabled(), "it may be saved as it is");
  assert.equal(await page.locator(".drawing-panel .fault").textContent(), "");
  await tools.picture("redraw-untouched");
  await save.click();
  await page.waitForSelector(".drawing-panel", { state: "detached" });
  const { drawn } = await ask(`/api/sites/${options.site}`);
  return { drawn: drawn.at(-1).geometry };
}

async function reportByKeyboard(tools) {
  const { page, open, settled, ask } = tools;
  await open();
  const area = (await ask("/api/areas")).find((one) => one.name === "ours");
  const [west, south, east, north] = area.bbox;
  await look(page, [west + 0.3 * (east - west), south + 0.3 * (north - south)], 14);
  await page.locator(".tool-report").focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector(".drawing-panel.report-mine");
  const corner = page.getByRole("button", { name: "Corner at the cross" });
  await corner.focus();
  for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", null]) {
    await page.keyboard.press("Enter");
    await page.waitForTimeout(120);
    if (key) for (let k = 0; k < 2; k++) await page.keyboard.press(key);
    await page.waitForTimeout(120);
  }
  await tools.picture("report-drawing");
  await page.getByRole("button", { name: "Close the shape" }).focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector(".corner-pad");
  await page.locator("input[name=place]").fill("Kwesi's pit");
  await page.locator("textarea[name=note]").fill("two excavators <b>");
  assert.equal(await send(page).isDisabled(), false);
  await page.locator("input[name=place]").press("Enter");
  await page.waitForSelector(".reports .plain");
  const { reports } = await ask("/api/reported-mines");
  assert.equal(reports.length, 1);
  assert.deepEqual([reports[0].name, reports[0].note, reports[0].own], ["Kwesi's pit", "two excavators <b>", true]);
  await settled();
  await tools.picture("report-sent");
  // The map tells of it where it is pressed. Escape first leaves the field.
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.waitForSelector(".drawing-panel", { state: "detached" });
  const corners = reports[0].geometry.coordinates[0].slice(1);
  const centre = corners.reduce(([x, y], [a, b]) => [x + a / corners.length, y + b / corners.length], [0, 0]);
  await press(page, centre);
  await page.waitForSelector(".tip:not([hidden])");
  assert.match(await page.locator(".tip").innerText(), /Kwesi's pit/);
  assert.match(await page.locator(".tip").innerText(), /two excavators <b>/);
  await tools.picture("report-told");
  return { report: reports[0] };
}

async function takeBack(tools) {
  const { page, open, ask } = tools;
  await open();
  page.on("dialog", (dialog) => void dialog.accept());
  await page.locator(".tool-report").click();
  await page.locator(".reports .icon").first().click();
  await page.waitForFunction(() => !document.querySelector(".reports .plain"));
  assert.deepEqual((await ask("/api/reported-mines")).reports, []);
  return {};
}

/** More reports than one answer holds. */
async function manyReports(tools) {
  const { page, open, ask } = tools;
  const [west, south] = (await ask("/api/areas")).find((one) => one.name === "ours").bbox;
  const box = { type: "Polygon", coordinates: [[[0, 0], [0.001, 0], [0.001, 0.001], [0, 0]].map(([x, y]) => [west + x, south + y])] };
  const all = Array.from({ length: 1500 }, (_, n) => ({ label_id: `r${n}`, when: "2024-05-01T00:00:00Z", geometry: box }));
  await page.route("**/api/reported-mines?*", async (route) => {
    const asked = new URL(route.request().url()).searchParams;
    const [offset, limit] = [Number(asked.get("offset")), Number(asked.get("limit"))];
    await route.fulfill({ json: { reports: all.slice(offset, offset + limit), total: all.length } });
  });
  await open();
  const shown = () => page.evaluate(async () => (await window.sluiceMap.getSource("reported").getData()).features.map((one) => one.properties.id));
  await until(page, async () => new Set(await shown()).size === all.length, "all reports are on the map");
  return {};
}

async function workOnPhone(tools) {
  const { page, open, settled, options, ask } = tools;
  await open();
  const area = (await ask("/api/areas")).find((one) => one.name === "ours");
  const [west, south, east, north] = area.bbox;
  const at = (x, y) => [west + x * (east - west), south + y * (north - south)];
  await page.locator(".tool-report").tap();
  await page.waitForSelector(".drawing-panel.report-mine");
  await look(page, at(0.5, 0.3), 12.5);
  for (const place of [at(0.45, 0.62), at(0.6, 0.62), at(0.6, 0.5), at(0.45, 0.5)]) await press(page, place, "tap");
  await page.getByRole("button", { name: "Close the shape" }).tap();
  await page.waitForSelector(".corner-pad");
  await settled();
  await tools.picture("phone-report");
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wider <= 0, `the page is ${wider} px too wide`);
  const small = await page
    .locator(".drawing-panel button")
    .evaluateAll((all) => all.filter((one) => one.offsetHeight && one.offsetHeight < 32).map((one) => one.outerHTML));
  assert.deepEqual(small, [], "buttons too small for a thumb");
  await page.locator("input[name=place]").fill("By thumb");
  await send(page).tap();
  await page.waitForSelector(".reports .plain");
  await page.locator(".drawing-panel header button").tap();
  await settled();
  await tools.picture("phone-reported");
  await page.locator(".tool-analyse").tap();
  await page.waitForSelector(".drawing-panel.analyse");
  await page.waitForTimeout(300);
  await tools.picture("phone-analyse");
  await page.locator(".drawing-panel header button").tap();
  await page.locator("#list-alerts .row").first().tap();
  await page.waitForSelector(".site h2");
  await page.locator(".redraw-begin").tap();
  await page.waitForSelector(".drawing-panel.redraw");
  await settled();
  await page.waitForTimeout(300);
  await tools.picture("phone-redraw");
  return { box: options.box };
}

/** What each role is offered. */
async function roles(tools) {
  const { page, open } = tools;
  const offered = {};
  for (const role of ["viewer", "reviewer", "analyst"]) {
    await page.unrouteAll();
    await page.route("**/api/session", async (route) => {
      const answer = await route.fetch();
      const told = await answer.json();
      await route.fulfill({ json: { ...told, person: { ...told.person, role } } });
    });
    await page.goto("about:blank");
    await open();
    await page.locator("#list-alerts .row").first().click();
    await page.waitForSelector(".site h2");
    const there = {};
    for (const name of [".tool-report", ".tool-analyse", ".redraw-begin"]) there[name] = await page.locator(name).isVisible();
    offered[role] = there;
    await page.keyboard.press("o");
    if (role !== "viewer") await page.waitForSelector(".drawing-panel");
    await page.waitForTimeout(200);
    assert.equal(await page.locator(".drawing-panel").count(), role === "viewer" ? 0 : 1, `${role}: the key as the button`);
  }
  await page.unrouteAll();
  return offered;
}

export const work = { firstArea, startOfOthers, analyse, outlineOfFile, analyseLimits, analyseCancel, redraw, redrawUntouched, reportByKeyboard, takeBack, manyReports, workOnPhone, roles };
