// How the map looks, with images and without, and who is let in.

import assert from "node:assert/strict";

import { fitsTheWindow, graveFaults, text } from "./scenarios.mjs";

/** Whether two elements lie over one another, in pixels of height. */
async function overlap(page, one, other) {
  const [a, b] = await Promise.all([one, other].map((found) => page.locator(found).first().boundingBox()));
  const across = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  return across > 0 ? Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) : 0;
}

async function pictured(tools) {
  const { page, open, settled, options } = tools;
  await open();
  await settled();
  assert.match(await text(page, ".maplibregl-ctrl-attrib"), options.mobile ? /^$|Copernicus/ : /Copernicus/);
  const over = await overlap(page, ".maplibregl-ctrl-attrib", ".slider");
  assert.ok(over <= 0, `the sources reach ${over} px into the slider`);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`pictured-${options.title}`);
  return {};
}

async function swipe(tools) {
  const { page, open, settled, ask, options } = tools;
  await open();
  await page.locator("#list-alerts .row").first().click();
  await page.waitForSelector(".site h2");
  await settled();
  await page.keyboard.press("b");
  const divider = page.locator(".divider");
  await divider.waitFor();
  await settled();
  // Both dates are named: above the halves, and where they are chosen.
  const [area] = await ask("/api/areas");
  const years = await page.locator(".half-when").allInnerTexts();
  assert.equal(years.length, 2);
  assert.notEqual(years[0], years[1]);
  const chosen = await page.locator(".compare-bar select").evaluateAll((all) => all.map((one) => one.selectedOptions[0].text));
  assert.deepEqual(years, chosen);
  assert.equal(await page.locator(".compare-bar select").first().locator("option").count(), area.periods.length);
  const at = async () => Number(await divider.getAttribute("aria-valuenow"));
  const edge = async () => {
    const box = await divider.boundingBox();
    return box.x + box.width / 2;
  };
  const first = [await at(), await edge()];
  await divider.focus();
  await page.keyboard.press("ArrowLeft");
  assert.equal(await at(), first[0] - 5);
  assert.ok((await edge()) < first[1] - 10, "the line moves with its value");
  await page.keyboard.press("Home");
  assert.equal(await at(), 0);
  await page.keyboard.press("End");
  assert.equal(await at(), 100);
  // By the pointer: to a third of the map's width.
  await page.keyboard.press("ArrowLeft");
  const map = await page.locator(".map").boundingBox();
  const y = map.y + map.height / 2;
  await page.mouse.move(await edge(), y);
  await page.mouse.down();
  await page.mouse.move(map.x + map.width * 0.6, y, { steps: 4 });
  await page.mouse.move(map.x + map.width / 3, y, { steps: 4 });
  await page.mouse.up();
  assert.ok(Math.abs((await at()) - 33) <= 1, `${await at()}`);
  assert.ok(Math.abs((await edge()) - (map.x + map.width / 3)) < 3);
  await page.mouse.move(map.x + map.width * 0.8, y);
  assert.ok(Math.abs((await at()) - 33) <= 1, "let go, it stays");
  assert.ok((await overlap(page, ".maplibregl-ctrl-attrib", ".compare-bar")) <= 0);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`swipe-${options.title}`);
  return { years };
}

/** Of a site that is seen in the first two images only, and one that began after the last image. */
async function swipeImages(tools) {
  const { page, open, hash, options } = tools;
  await open(`#area=ours&site=${options.old}`);
  await page.waitForSelector(".site h2");
  const pair = async () => new URLSearchParams(await hash()).get("compare");
  const nothing = () => page.locator(".half-none").evaluateAll((all) => all.map((one) => [one.className, one.innerText]));
  await page.keyboard.press("b");
  await page.locator(".divider").waitFor();
  assert.equal(await pair(), "2023-01-01/2023-03-31~2023-04-01/2023-06-30");
  assert.deepEqual(await nothing(), []);
  // The second image is another owner's: each is named, and for its own.
  const sources = () => text(page, ".maplibregl-ctrl-attrib-inner");
  await page.waitForFunction(() => /Planet/.test(document.querySelector(".maplibregl-ctrl-attrib-inner").innerText));
  assert.doesNotMatch(await sources(), /Copernicus/);
  assert.match(await text(page, ".half-credit"), /Copernicus/);
  await page.locator(".compare-bar select").last().selectOption({ index: 3 });
  await page.waitForSelector(".half-none");
  assert.deepEqual(await nothing(), [["half-none after", "No image of this period"]]);
  const sides = await overlap(page, ".half-none", ".half-when.after");
  assert.ok(sides <= 0, `one covers ${sides} px of the other`);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("swipe-no-image");
  await page.keyboard.press("Escape");
  await page.goto("about:blank");
  await open(`#area=ours&site=${options.late}`);
  await page.waitForSelector(".site h2");
  await page.keyboard.press("b");
  await page.locator(".divider").waitFor();
  assert.equal(await pair(), "2023-01-01/2023-03-31~2023-07-01/2023-09-30", "there is an image on both sides");
  await page.waitForFunction(() => /Copernicus/.test(document.querySelector(".maplibregl-ctrl-attrib-inner").innerText));
  assert.doesNotMatch(await sources(), /Planet/);
  assert.equal(await page.locator(".half-credit").count(), 0);
  return {};
}

/** Probabilities with their key, and each half of a comparison with those of its own period. */
async function probability(tools) {
  const { page, open, settled, ask, requests, options } = tools;
  await open("#area=ours");
  await settled();
  const runs = (await ask("/api/areas")).find((one) => one.name === "ours").runs;
  const of = (start) => runs.find((one) => one.start === start).run_id;
  const shown = () =>
    page.evaluate(() => {
      const { sluiceMap: map } = window;
      const source = map.getSource("probability");
      return source ? [source.tiles[0].split("/")[4], map.getPaintProperty("probability", "raster-opacity")] : null;
    });
  const shows = (run, opacity) =>
    page.waitForFunction(
      ([id, wanted]) => {
        const { sluiceMap: map } = window;
        const source = map.getSource("probability");
        return source?.tiles[0].includes(id) && map.getPaintProperty("probability", "raster-opacity") === wanted;
      },
      [run, opacity],
    );
  assert.equal(await shown(), null);
  const key = page.locator(".probability-key");
  assert.equal(await key.isVisible(), false, "no key of what is not shown");
  const row = page.locator(".layer", { hasText: options.layer });
  await row.locator("input[type=checkbox]").check();
  await shows(of("2023-10-01"), 0.7);
  assert.deepEqual(await key.locator(".shares span").allTextContents(), options.shares);
  assert.equal((await key.locator(".gone").textContent()).toLowerCase(), options.unseen);
  assert.deepEqual(await graveFaults(tools), []);
  await settled();
  await tools.picture(`probability-${options.unseen}`);
  await row.locator("input[type=range]").fill("40");
  await row.locator("input[type=range]").dispatchEvent("change");
  await shows(of("2023-10-01"), 0.4);
  // Side by side: the first period with the last one.
  const tilesOf = (run) => requests.filter((one) => one.url().includes(`/imagery/${run}/probability/`)).length;
  assert.equal(tilesOf(of("2023-01-01")), 0);
  await page.keyboard.press("b");
  await page.locator(".divider").waitFor();
  await page.locator(".compare-bar select").first().selectOption({ index: 0 });
  await page.locator(".compare-bar select").last().selectOption({ index: 2 });
  await shows(of("2023-07-01"), 0.4);
  for (let k = 0; k < 100 && !tilesOf(of("2023-01-01")); k++) await page.waitForTimeout(100);
  assert.ok(tilesOf(of("2023-01-01")) > 0, "the half before has its own");
  await settled();
  await tools.picture("probability-compared");
  // None where it is taken away.
  await row.locator("input[type=checkbox]").uncheck();
  await page.waitForFunction(() => !window.sluiceMap.getSource("probability"));
  assert.equal(await key.isVisible(), false);
  await row.locator("input[type=checkbox]").check();
  await page.keyboard.press("Escape");
  await shows(of("2023-10-01"), 0.7);
  return {};
}

async function coverChange(tools) {
  const { page, open, options } = tools;
  await open(`#area=ours&site=${options.site}`);
  await page.waitForSelector(".site h2");
  const table = page.locator(".site .cover table");
  const rows = await table.locator("tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
  const hint = await text(page, ".site .cover");
  assert.deepEqual(await graveFaults(tools), []);
  await table.scrollIntoViewIfNeeded();
  await tools.picture("cover");
  return { rows, hint };
}

async function terrain(tools) {
  const { page, open, settled, requests } = tools;
  await open();
  await settled();
  const asked = () => requests.filter((one) => one.url().includes("/elevation/")).length;
  assert.equal(asked(), 0, "no heights before they are wanted");
  const button = page.locator(".tool-terrain");
  assert.equal(await button.getAttribute("aria-pressed"), "false");
  assert.equal(await page.evaluate(() => window.sluiceMap.getPitch()), 0);
  await button.click();
  await settled();
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  assert.ok(asked() > 0);
  assert.ok((await page.evaluate(() => window.sluiceMap.getPitch())) > 30);
  const lifted = (place) => page.evaluate((at) => window.sluiceMap.queryTerrainElevation(at), place);
  // Heights are drawn larger than they are, by half.
  await page.waitForFunction((at) => window.sluiceMap.queryTerrainElevation(at) !== null, tools.options.high);
  const steps = [await lifted(tools.options.low), await lifted(tools.options.high)];
  await tools.picture("terrain");
  assert.deepEqual(await graveFaults(tools), []);
  await button.click();
  assert.equal(await page.evaluate(() => window.sluiceMap.getPitch()), 0);
  assert.equal(await page.evaluate(() => window.sluiceMap.getTerrain()), null);
  await settled();
  return { rise_m: steps[1] - steps[0] };
}

async function logIn(tools) {
  const { page, options, faults } = tools;
  await page.goto(options.address);
  await page.waitForSelector(".log-in");
  assert.equal(await page.locator(".frame").count(), 0, "nothing is shown before");
  assert.equal(await page.evaluate(() => document.activeElement.name), "name");
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`log-in-${options.title}`);
  await fitsTheWindow(page);
  await page.keyboard.type("Kofi");
  await page.keyboard.press("Tab");
  await page.keyboard.type("not the password");
  await page.keyboard.press("Enter");
  await page.waitForSelector('.log-in [role="alert"]:not(:empty)');
  assert.match(await text(page, '.log-in [role="alert"]'), new RegExp(options.refused));
  assert.equal(await page.locator(".log-in input[type=password]").inputValue(), "");
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`log-in-refused-${options.title}`);
  await page.keyboard.type(options.password);
  await page.keyboard.press("Enter");
  await tools.ready();
  assert.equal(await page.locator(".log-in").count(), 0);
  assert.match(await text(page, ".person"), /Kofi/);
  assert.ok((await page.locator("#list-alerts .row").count()) > 0);
  await tools.picture(`logged-in-${options.title}`);
  await page.locator(".person button").click();
  await page.waitForSelector(".log-in");
  const answer = await page.evaluate(() => fetch("/api/sites").then((one) => one.status));
  assert.equal(answer, 401, "logged out, nothing is told");
  // The browser itself tells of the two refusals that were meant.
  const meant = /401 \(Unauthorized\)/;
  faults.splice(0, faults.length, ...faults.filter((fault) => !meant.test(fault)));
  return {};
}

/** An area with a long name that was never analysed, beside others and alone. */
async function longName(tools) {
  const { page, open, options } = tools;
  for (const alone of [false, true]) {
    if (alone) {
      await page.route("**/api/areas", async (route) => {
        const all = await (await route.fetch()).json();
        await route.fulfill({ json: all.filter(({ name }) => name === options.area) });
      });
      await page.goto("about:blank");
    }
    await open(`#area=${encodeURIComponent(options.area)}`);
    const { width } = page.viewportSize();
    const parts = await page.locator(".top > *").evaluateAll((all) =>
      all.map((one) => [one.className, one.getBoundingClientRect()]).map(([name, { left, right, top, bottom }]) => ({ name, left, right, top, bottom })),
    );
    for (const { name, left, right } of parts) assert.ok(left >= 0 && right <= width, `${name} from ${left} to ${right} px`);
    for (const one of parts) {
      const under = parts.filter((other) => other !== one && Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1);
      assert.deepEqual(under.map(({ name }) => name), [], `what lies over ${one.name}`);
    }
    const search = await page.locator(".search").boundingBox();
    assert.ok(search.width >= 180, `the search is ${search.width} px wide`);
    const bar = await page.locator(".top").boundingBox();
    assert.ok(bar.height < (options.mobile ? 150 : 60), `the bar is ${bar.height} px high`);
    await tools.picture(`long-name-${alone ? "alone" : "beside"}-${width}`);
  }
  const said = { alerts: await text(page, "#list-alerts .count") };
  await page.evaluate(() => document.getElementById("tab-sites").click());
  await page.waitForFunction(() => document.querySelector("#list-sites .count").textContent);
  said.sites = await page.locator("#list-sites .count").textContent();
  await page.locator(".top button", { hasText: "Export" }).click();
  said.exports = await text(page, "dialog");
  await page.unrouteAll();
  return said;
}

/** An area across 180 degrees opens as near as any other. */
async function acrossTheLine(tools) {
  const { page, open, options, ask } = tools;
  await open(`#area=${encodeURIComponent(options.area)}`);
  const { bbox } = (await ask("/api/areas")).find(({ name }) => name === options.area);
  const seen = () => page.evaluate(() => {
    const { lng, lat } = window.sluiceMap.getCenter().wrap();
    return { lng, lat, zoom: window.sluiceMap.getZoom() };
  });
  const first = await seen();
  await page.evaluate(() => window.sluiceMap.jumpTo({ center: [0, 0], zoom: 2 }));
  await page.locator(".tools button").first().click();
  await page.waitForFunction(() => !window.sluiceMap.isMoving() && window.sluiceMap.getZoom() > 4);
  await tools.picture("across-180");
  return { bbox, first, again: await seen() };
}

/** Somebody from whom places are withheld, and no area may be named to whom. */
async function withheldPlaces(tools) {
  const { page, settled, marks, options } = tools;
  await page.goto(options.address);
  await page.locator(".log-in input[name=name]").fill(options.name);
  await page.locator(".log-in input[name=password]").fill(options.password);
  await page.locator(".log-in button").click();
  await tools.ready();
  await settled();
  const here = (path) => page.evaluate((one) => fetch(one).then((answer) => answer.json()), path);
  const { alerts } = await here("/api/alerts");
  const { sites } = await here("/api/sites");
  const areas = (await here("/api/areas")).map(({ name }) => name);
  const listed = (tab) => page.locator(`#list-${tab} .row`).evaluateAll((rows) => rows.map((row) => row.dataset.site));
  assert.deepEqual(await listed("alerts"), alerts.map((one) => one.site_id));
  assert.match(await text(page, "#list-alerts"), /cell of a fixed grid of 5(\.0)?\s*km/);
  assert.ok((await marks()).length > 0, "the cells lie on the part of the map that is shown");
  assert.equal(await page.locator(".slider").isVisible(), true, "periods of what has no name");
  const details = await Promise.all(sites.map((one) => here(`/api/sites/${one.site_id}`)));
  const known = new Set(details.flatMap(({ periods }) => periods.map((one) => `${one.start}/${one.end}`)));
  assert.equal(Number(await page.locator("#period").getAttribute("max")), known.size, "one step for each of their periods");
  const offered = await page.locator(".area-place option").allInnerTexts();
  const shown = offered.length ? offered[0] : await text(page, ".area-name");
  assert.equal(shown, "All places");
  await tools.picture(`withheld-${areas.length}`);
  await page.locator("#tab-sites").click();
  await page.waitForSelector("#list-sites .row");
  assert.deepEqual(await listed("sites"), sites.map((one) => one.site_id));
  await page.locator("#list-sites .row").first().click();
  await page.waitForSelector(`.site h2:has-text("${sites[0].site_id}")`);
  assert.equal(new URLSearchParams(await tools.hash()).get("area"), "*", "a site leads nowhere else");
  // No image is theirs to compare.
  assert.equal(await page.getByRole("button", { name: /compare|before and after/i }).count(), 0);
  await page.keyboard.press("b");
  assert.equal(new URLSearchParams(await tools.hash()).get("compare"), null);
  await page.locator(".top button", { hasText: "Export" }).click();
  assert.match(await text(page, "dialog"), /All sites but rejected ones, in/);
  await page.keyboard.press("Escape");
  await page.reload();
  await tools.ready();
  assert.ok((await text(page, ".site h2")).includes(sites[0].site_id));
  await page.keyboard.press("Escape");
  let nothing = null;
  if (areas.length) {
    await page.locator(".area-place select").selectOption(areas[0]);
    await page.waitForFunction(() => document.querySelectorAll("#list-sites .row").length === 0);
    nothing = await text(page, "#list-sites .count");
  }
  assert.deepEqual(await graveFaults(tools), []);
  return { sites: sites.length, areas, offered, nothing };
}

/** What goes wrong is told in the language of the map; the service's own sentence stands below. */
async function faultsInLanguage(tools) {
  const { page, open, ask, faults, options } = tools;
  const words = await ask(`/api/messages/${options.language}`);
  const refuse = (status, kind, message) => (route) => route.fulfill({ status, json: { error: { kind, message } } });
  const same = async (place, key, message) => {
    const own = page.locator(`${place} small[lang="en"]`);
    await own.filter({ hasText: message }).waitFor();
    const [first] = (await text(page, place)).split("\n");
    assert.equal(first, words[key]);
    assert.equal(await own.innerText(), message);
  };
  const job = { area: "ours", first: "2023-01-01", last: "2023-03-31", every: "none", stage: "ended", created: "2024-01-01T00:00:00Z" };
  const failed = { ...job, job_id: "1", by: "x", state: "failed", finished: "2024-01-02T00:00:00Z", started: null, done: 0, total: 0, part: 0, parts: 1, message: "no image fits", cancel_asked: false, run_ids: [], version: 1 };
  await page.route(/\/api\/jobs\?/, async (route) => {
    const answer = await (await route.fetch()).json();
    return route.fulfill({ json: { ...answer, jobs: [failed] } });
  });
  await page.route(/\/exports\/sites.kmz/, refuse(400, "bad_request", "pictures of 700 sites make too large a KMZ"));
  await open();
  await page.locator(".top .of-areas").click();
  await page.locator("dialog a", { hasText: "KMZ" }).click();
  await same("dialog .downloads", "fault_kind.bad_request", "pictures of 700 sites make too large a KMZ");
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`fault-${options.language}`);
  await page.keyboard.press("Escape");
  // In passing; and a kind that the map does not know yet.
  for (const [kind, key] of [["store_busy", "store_busy"], ["of_another_time", "error"]]) {
    await page.route(/\/api\/search/, refuse(503, kind, `said of ${kind}`));
    await page.locator(".search input").fill(`somewhere ${kind}`);
    await same("#toast", `fault_kind.${key}`, `said of ${kind}`);
    await page.unroute(/\/api\/search/);
  }
  await tools.picture(`fault-toast-${options.language}`);
  await page.locator(".tool-analyse").click();
  await same(".job.failed .fault", "map.job_why", "no image fits");
  await page.route(/\/api\/jobs$/, refuse(429, "busy", "20 analyses wait already"));
  await page.locator(".where select").selectOption("ours");
  await page.locator('.work-form button[type="submit"]').click();
  await same(".work-form > .fault", "fault_kind.busy", "20 analyses wait already");
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`fault-analysis-${options.language}`);
  faults.splice(0, faults.length, ...faults.filter((fault) => !/400 \(|429 \(|503 \(/.test(fault)));
  return {};
}

/** On a phone the bar of both periods lies over nothing that is to be touched. */
async function comparePhone(tools) {
  const { page, open, settled } = tools;
  await open();
  for (const withSite of [false, true]) {
    if (withSite) {
      await page.locator("#list-alerts .row").first().tap();
      await page.waitForSelector(".site h2");
    }
    await page.locator(withSite ? ".site .walk button" : ".tools button").nth(withSite ? 2 : 1).tap();
    await page.waitForSelector(".compare-bar");
    await settled();
    await tools.picture(`phone-compare-${withSite ? "site" : "all"}-${page.viewportSize().width}`);
    const bar = await page.locator(".compare-bar").boundingBox();
    const stage = await page.locator(".stage").boundingBox();
    assert.ok(bar.x >= 0 && bar.x + bar.width <= stage.width, "the bar is as wide as the map at most");
    for (const part of [".tools", ".maplibregl-ctrl-top-right .maplibregl-ctrl", ".legend", ".side", ".site", ".top"]) {
      const box = await page.locator(part).first().boundingBox();
      if (!box) continue;
      const wide = Math.min(bar.x + bar.width, box.x + box.width) - Math.max(bar.x, box.x);
      const high = Math.min(bar.y + bar.height, box.y + box.height) - Math.max(bar.y, box.y);
      assert.ok(wide <= 0 || high <= 0, `the bar lies over ${part}: ${wide} by ${high} px`);
    }
    for (const one of await page.locator(".compare-bar select, .compare-bar button").all()) {
      assert.ok((await one.boundingBox()).height >= 40, "large enough for a thumb");
    }
    assert.deepEqual(await graveFaults(tools), []);
    await page.locator(".compare-bar button").tap();
    await page.waitForSelector(".compare-bar", { state: "detached" });
  }
  return {};
}

export const looks = { comparePhone, faultsInLanguage, withheldPlaces, acrossTheLine, longName, pictured, swipe, swipeImages, probability, coverChange, terrain, logIn };
