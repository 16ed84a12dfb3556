// Work that people do by drawing: outlines and reports; and by whom.

import assert from "node:assert/strict";

import { coloursSeen, drag, drawnRings, look, press, send, until } from "./drawing.mjs";
import { fitsTheWindow } from "./scenarios.mjs";

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
  await page.waitForSelector('#toast:has-text("outline")');
  const { drawn } = await ask(`/api/sites/${options.site}`);
  return { drawn: drawn.at(-1).geometry };
}

async function reportByKeyboard(tools) {
  const { page, open, settled, ask, faults } = tools;
  await open();
  const area = (await ask("/api/areas")).find((one) => one.name === "ours");
  const [west, south, east, north] = area.bbox;
  await look(page, [west + 0.3 * (east - west), south + 0.3 * (north - south)], 14);
  await page.locator(".tool-report").focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector(".drawing-panel.report-mine");
  // There is room to draw: the legend folds, and the slider stands beside the panel.
  assert.equal(await page.locator(".legend").evaluate((legend) => legend.open), false);
  const [slider, panel] = await Promise.all([".slider", ".drawing-panel"].map((one) => page.locator(one).boundingBox()));
  assert.ok(slider.x + slider.width <= panel.x, "the slider lies under the panel");
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
  // The answer to it is lost after it was kept: it is sent again by hand.
  const lost = async (route) => {
    await route.fetch();
    await route.abort();
  };
  await page.route("**/api/reported-mines", lost, { times: 1 });
  await page.locator("input[name=place]").press("Enter");
  await page.waitForSelector(".report-mine .fault:not(:empty)");
  faults.splice(0, faults.length, ...faults.filter((fault) => !/ERR_FAILED/.test(fault)));
  assert.equal((await ask("/api/reported-mines")).reports.length, 1);
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
  assert.equal(await page.locator(".legend").evaluate((legend) => legend.open), true, "unfolded again");
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
  const stage = await page.locator(".stage").boundingBox();
  const panel = await page.locator(".drawing-panel").boundingBox();
  const left = { x: 10, y: stage.y + 10, width: stage.width - 60, height: panel.y - stage.y - 20 };
  assert.ok((await coloursSeen(page, left)) > 20, "the map is seen above the panel");
  await fitsTheWindow(page);
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
    await page.keyboard.press("?");
    const help = await page.locator("dialog").innerText();
    assert.equal(/Write a note|instead/.test(help), role !== "viewer", `${role}: help on keys that are theirs`);
    await page.keyboard.press("Escape");
    await page.keyboard.press("o");
    if (role !== "viewer") await page.waitForSelector(".drawing-panel");
    await page.waitForTimeout(200);
    assert.equal(await page.locator(".drawing-panel").count(), role === "viewer" ? 0 : 1, `${role}: the key as the button`);
  }
  await page.unrouteAll();
  return offered;
}

export const work = { redraw, redrawUntouched, reportByKeyboard, takeBack, manyReports, workOnPhone, roles };
