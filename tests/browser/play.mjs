// Opens the map in Chromium, plays scenarios and prints what each found as a line of JSON.
//
//     node play.mjs SCENARIO '{"address": …, "chromium": …, "pictures": …}'
//     node play.mjs          lines of {"scenario": …, "options": …} on its input, one answer each
//
// Whatever scenario: no page error, no broken content policy, and no request to anywhere else.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";

import { analyses } from "./analysis_scenarios.mjs";
import { until } from "./drawing.mjs";
import { looks } from "./look_scenarios.mjs";
import { published } from "./published.mjs";
import { scenarios as served } from "./scenarios.mjs";
import { sessions } from "./session_scenarios.mjs";
import { work } from "./work_scenarios.mjs";

const scenarios = { ...served, ...looks, ...analyses, ...work, ...sessions, ...published };

// As on a machine without a graphics card: pages are drawn by the processor, the map's WebGL by
// SwiftShader. To have pages drawn by SwiftShader as well takes twice as long.
const FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
// A machine that is busy with other things needs more.
const PATIENCE_MS = 1000 * Number(process.env.SLUICE_PATIENCE_S ?? 60);
const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");

let browser = null;

/** In a context of its own: no cache, cookie or word kept by another scenario. */
async function play(name, options) {
  const { address, width = 1280, height = 800, locale = "en-GB", mobile = false, hash = "", scale = 1, patience = PATIENCE_MS } = options;
  browser ??= await chromium.launch({ executablePath: options.chromium, args: FLAGS });
  const context = await browser.newContext({
    viewport: { width, height },
    deviceScaleFactor: scale,
    locale,
    isMobile: mobile,
    hasTouch: mobile,
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const faults = [];
  const requests = [];
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.on("pageerror", (error) => faults.push(`page error: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => requests.push(request));

  const takePicture = (title) => page.screenshot({ path: join(options.pictures, `${title}.png`) });
  const tools = {
    page,
    options,
    requests,
    faults,
    axeSource: require.resolve("axe-core/axe.min.js"),
    /** Ask the service itself. */
    ask: async (path) => {
      const answer = await fetch(new URL(path, address), { signal: AbortSignal.timeout(patience) });
      assert.equal(answer.status, 200, `${path}: ${answer.status}`);
      return answer.json();
    },
    open: async (behind = hash) => {
      await page.goto(address + behind);
      await tools.ready();
    },
    ready: () => page.waitForFunction(() => document.documentElement.dataset.ready === "true"),
    /** Until the map has drawn all it asked for. */
    settled: () =>
      page.waitForFunction(() => window.sluiceMap.loaded() && window.sluiceMap.areTilesLoaded() && !window.sluiceMap.isMoving()),
    /** Sites that the map draws as marks. */
    marks: () =>
      page.evaluate(() => {
        const layers = ["sites-icon", "places-icon"].filter((id) => window.sluiceMap.getLayer(id));
        const found = window.sluiceMap.queryRenderedFeatures({ layers });
        return found.map((one) => one.properties);
      }),
    /** Until the marks are these; they come from a worker of the map's, some time after its tiles. */
    marksAre: async (tell, wanted, what) => {
      const drawn = async () => (await tools.marks()).map(tell).sort();
      const sorted = [...wanted].sort();
      await until(page, async () => isDeepStrictEqual(await drawn(), sorted), what).catch(() => undefined);
      assert.deepEqual(await drawn(), sorted, what);
    },
    hash: () => page.evaluate(() => new URLSearchParams(location.hash.slice(1)).toString()),
    /** For people to look at: to draw one takes seconds without a graphics card. */
    picture: async (title) => {
      if (options.keep) await takePicture(title);
    },
  };
  try {
    const found = (await scenarios[name](tools)) ?? {};
    assert.deepEqual(faults, [], "faults in the page");
    const origin = new URL(address).origin;
    const strangers = requests
      .map((request) => request.url())
      .filter((url) => !/^(data|blob):/.test(url) && new URL(url).origin !== origin);
    assert.deepEqual(strangers, [], "requests that left the service");
    return { found };
  } catch (error) {
    await takePicture(`failed-${name}`).catch(() => undefined);
    return { failed: [error.stack, ...faults].join("\n") };
  } finally {
    // A request in work when a scenario ends is nobody's fault.
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();
  }
}

const [name, given] = process.argv.slice(2);
if (name) {
  const { found, failed } = await play(name, JSON.parse(given));
  if (failed) console.error(failed);
  else console.log(JSON.stringify(found));
  process.exitCode = failed ? 1 : 0;
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    const { scenario, options } = JSON.parse(line);
    console.log(JSON.stringify(await play(scenario, options)));
  }
}
await browser?.close();
