// A published folder behind a plain web server, which knows no range requests.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { fitsTheWindow, graveFaults, text } from "./scenarios.mjs";

const data = (tools, name) => JSON.parse(readFileSync(join(tools.options.folder, "data", name), "utf-8"));
const rows = ({ columns, rows: all }) => all.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])));
const told = (site) => `${site.site_id} ${site.status}`;

async function publishedMap(tools) {
  const { page, open, settled, marksAre, options } = tools;
  await open();
  await settled();
  const sites = rows(data(tools, "areas/0/sites.json"));
  const mark = ({ id, status }) => `${id} ${status}`;
  await marksAre(mark, sites.map(told), "each site is marked once");
  const listed = await page.locator("#list-alerts .row").evaluateAll((all) => all.map((one) => one.dataset.site));
  assert.deepEqual(listed, rows(data(tools, "areas/0/alerts.json")).map((one) => one.site_id));
  const strip = await text(page, ".about-strip");
  for (const words of options.strip) assert.ok(strip.includes(words), `${words} in: ${strip}`);
  for (const absent of [".verdict", ".review:visible", "a[href*=reports]", "a[href*=exports]", ".log-in", ".person"]) {
    assert.equal(await page.locator(absent).count(), 0, absent);
  }
  assert.equal(await page.locator(".tools button").count(), 1, "neither drawing nor comparing");
  assert.equal(await page.locator(".top button").count(), 1, "help alone, no export");
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`${options.title}-first`);
  // Back through time.
  const [area] = data(tools, "published.json").areas;
  const range = page.locator("#period");
  for (const { start, end } of [...area.periods].reverse()) {
    await range.focus();
    await page.keyboard.press("ArrowLeft");
    await page.waitForFunction((wanted) => decodeURIComponent(location.hash).includes(wanted), `period=${start}/${end}`);
    await settled();
    const states = rows(data(tools, `areas/0/${start}_${end}.json`));
    const wanted = states.map((one) => `${sites[one.site].site_id} ${one.status}`);
    await marksAre(mark, wanted, `sites in ${start}`);
  }
  return { sites: sites.length, requests: tools.requests.map((one) => new URL(one.url()).pathname) };
}

async function publishedSite(tools) {
  const { page, open, settled, options, ready } = tools;
  await open("#tab=sites");
  const id = await page.locator("#list-sites .row").first().getAttribute("data-site");
  await page.locator("#list-sites .row").first().click();
  await page.waitForSelector(`.site h2:has-text("${id}")`);
  const known = data(tools, `sites/${id}.json`);
  assert.equal(await page.locator(".chart .period").count(), known.periods.length);
  assert.equal(await page.locator(".verdict:visible").count(), 0);
  // Keys that review do nothing.
  for (const key of ["c", "r", "u", "b"]) await page.keyboard.press(key);
  assert.ok((await text(page, ".site h2")).includes(id));
  await settled();
  const outlines = await page.evaluate(() => {
    const found = window.sluiceMap.queryRenderedFeatures({ layers: ["sites-fill"] });
    return found.map((one) => [one.properties.id, one.state.status, one.source]);
  });
  assert.ok(outlines.some(([site, status]) => site === id && status === known.site.status), JSON.stringify(outlines));
  const pictures = await page.locator(".pictures img").evaluateAll((all) =>
    Promise.all(all.map((one) => one.decode().then(() => [one.naturalWidth, one.alt]))),
  );
  assert.equal(pictures.length, options.pictured);
  const words = await text(page, ".site");
  assert.doesNotMatch(words, /NaN|undefined|Invalid/);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture(`${options.title}-site`);
  // The address reopens it.
  const link = page.url();
  await page.goto("about:blank");
  await page.goto(link);
  await ready();
  assert.ok((await text(page, ".site h2")).includes(id));
  await page.keyboard.press("Escape");
  await page.locator("#tab-statistics").click();
  await page.waitForSelector(".sums tbody tr");
  assert.equal(await page.locator(".statistics a:visible").count(), 0);
  await page.locator(".search input").fill(id);
  await page.waitForSelector(`#found-0:has-text("${id}")`);
  await page.locator(".search input").fill("-6,51 -56,09");
  await page.waitForSelector('#found-0:has-text("-6.510000, -56.090000")');
  await page.keyboard.press("?");
  return { pictures, tiled: tools.requests.some((one) => one.url().endsWith(".pmtiles")) };
}

async function publishedPhone(tools) {
  const { page, open, settled } = tools;
  await open();
  await settled();
  await fitsTheWindow(page);
  assert.equal(await page.locator("html").getAttribute("lang"), "fr");
  assert.match(await text(page, ".about-strip"), /indice à vérifier/);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("published-phone");
  await page.locator(".about-strip button").tap();
  assert.match(await text(page, "dialog"), /Copernicus/);
  await page.keyboard.press("Escape");
  await page.locator("#list-alerts .row").first().tap();
  await page.waitForSelector(".site h2");
  await tools.picture("published-phone-site");
  return {};
}

/** A named area, and beside it those whose names may not be told, together. */
async function publishedNameless(tools) {
  const { page, open, settled, ready, options } = tools;
  const alertsOf = (number) => rows(data(tools, `areas/${number}/alerts.json`)).map((one) => one.site_id);
  const shows = (wanted) =>
    page.waitForFunction(
      (ids) => JSON.stringify([...document.querySelectorAll("#list-alerts .row")].map((one) => one.dataset.site)) === ids,
      JSON.stringify(wanted),
    );
  await open();
  const chooser = page.locator(".top select").first();
  assert.deepEqual(await chooser.locator("option").allTextContents(), ["Wide land", options.name]);
  await shows(alertsOf(0));
  await chooser.selectOption({ label: options.name });
  await shows(alertsOf(1));
  await settled();
  await tools.picture(`nameless-${options.name}`);
  await page.locator("#list-alerts .row").first().click();
  await page.waitForSelector(`.site h2:has-text("${alertsOf(1)[0]}")`);
  assert.equal(await chooser.inputValue(), "*");
  assert.doesNotMatch(await text(page, "body"), /map\.published|published_nameless/);
  // A link of either language opens the same place.
  const link = page.url();
  await page.goto("about:blank");
  await page.goto(options.link ?? link);
  await ready();
  await page.waitForSelector(`.site h2:has-text("${alertsOf(1)[0]}")`);
  assert.equal(await chooser.locator("option:checked").textContent(), options.name);
  await shows(alertsOf(1));
  // From one area to a site of the other, and back to an area by its name.
  await page.locator(".search input").fill(alertsOf(0)[0]);
  await page.locator("#found-0").click();
  await page.waitForFunction(() => document.querySelector(".top select").value === "Wide land");
  await page.locator(".search input").fill(options.name);
  await page.locator("#found-0").click();
  await page.waitForFunction(() => document.querySelector(".top select").value === "*");
  return { link };
}

export const published = { publishedMap, publishedSite, publishedPhone, publishedNameless };
