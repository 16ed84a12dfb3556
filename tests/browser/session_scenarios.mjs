// What becomes of unsent reviews where sessions end.

import assert from "node:assert/strict";

import { graveFaults, text } from "./scenarios.mjs";

/** The session ends in mid-review: the same person goes on, another one begins anew. */
async function sessionEnds(tools) {
  const { page, options, faults } = tools;
  const logInAs = async (name) => {
    await page.locator(".log-in input[name=name]").fill(name);
    await page.locator(".log-in input[type=password]").fill(options.password);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".log-in", { state: "detached" });
  };
  const at = (id) => page.waitForSelector(`.site h2:has-text("${id}")`);
  const said = async (id) => {
    const told = await page.evaluate((one) => fetch(`/api/sites/${one}`).then((answer) => answer.json()), id);
    return told.reviews.map(({ verdict, note, who }) => [verdict, note, who]);
  };
  const soonSaid = async (id) => {
    while (!(await said(id)).length) await page.waitForTimeout(100);
    return said(id);
  };
  const { name, other } = options;
  await page.goto(`${options.address}#tab=sites`);
  await logInAs(name);
  await tools.ready();
  await page.waitForSelector("#list-sites .row");
  const order = await page.locator("#list-sites .row").evaluateAll((rows) => rows.map((row) => row.dataset.site));
  // All are in the browser's memory before the session ends.
  for (const id of order.slice(0, 4)) {
    await page.locator("body").press("j");
    await at(id);
  }
  for (const id of order.slice(0, 3).reverse()) {
    await page.keyboard.press("k");
    await at(id);
  }
  await page.evaluate(() => (window.same = true));
  let end = null;
  const over = { error: { kind: "unauthenticated", message: "log in first" } };
  await page.route(/\/reviews$/, (route) => (end = () => route.fulfill({ status: 401, json: over })), { times: 1 });
  await page.keyboard.press("n");
  await page.keyboard.type("two excavators");
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await at(order[1]);
  await page.keyboard.press("u");
  await at(order[2]);
  await page.keyboard.press("n");
  await page.keyboard.type("half writ");
  await page.context().clearCookies();
  await end();
  await page.waitForSelector(".log-in");
  // Other requests notice it, too; and keys behind the form are nobody's verdict.
  await page.evaluate(() => {
    window.dispatchEvent(new Event("sluice:log-in"));
    document.activeElement.blur();
  });
  await page.keyboard.press("c");
  await page.waitForTimeout(500);
  assert.equal(await page.locator(".log-in").count(), 1);
  assert.match(await text(page, ".log-in"), /session has ended/);
  assert.equal(await page.locator(".log-in input[name=name]").inputValue(), name);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("session-ended");
  await logInAs(name);
  assert.deepEqual(await soonSaid(order[1]), [["unsure", "", name]]);
  assert.deepEqual(await said(order[0]), [["confirmed", "two excavators", name]]);
  assert.deepEqual(await said(order[2]), []);
  assert.equal(await page.evaluate(() => window.same), true, "the page is the same");
  assert.equal(await page.locator(".review textarea").inputValue(), "half writ");
  // Another page of the browser logs in: this one's token is not valid any more.
  const elsewhere = (who) =>
    page.evaluate(async ([known, password]) => {
      const body = JSON.stringify({ name: known, password });
      await fetch("/api/session", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    }, [who, options.password]);
  await elsewhere(name);
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  assert.deepEqual(await soonSaid(order[2]), [["confirmed", "half writ", name]], "the same person is not asked");
  await at(order[3]);
  assert.equal(await page.evaluate(() => window.same), true);
  await elsewhere(other);
  await page.keyboard.press("r");
  await page.keyboard.press("4");
  await page.waitForFunction(() => !window.same && document.documentElement.dataset.ready === "true");
  assert.match(await text(page, ".person"), new RegExp(other));
  await page.waitForTimeout(1000);
  assert.deepEqual(await said(order[3]), [], "nobody speaks for somebody else");
  assert.equal(await page.locator(".unsent").isVisible(), false);
  await page.locator(".person button").click();
  await page.waitForSelector(".log-in");
  await logInAs(name);
  await tools.ready();
  assert.deepEqual(await soonSaid(order[3]), [["rejected", "", name]]);
  await leavesNothing(tools);
  faults.splice(0, faults.length, ...faults.filter((fault) => !/401 \(|403 \(|ERR_FAILED/.test(fault)));
  return {};
}

/** Who logs out with a verdict that is not sent is asked, and leaves none behind. */
async function leavesNothing({ page }) {
  await page.route(/\/reviews$/, (route) => route.abort());
  await page.locator("body").press("u");
  const asked = [];
  page.on("dialog", (dialog) => {
    asked.push(dialog.message());
    return asked.length > 1 ? dialog.accept() : dialog.dismiss();
  });
  const kept = () => page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("sluice.unsent")).length);
  await page.locator(".person button").click();
  await page.waitForTimeout(300);
  assert.equal(await kept(), 1);
  await page.locator(".person button").click();
  await page.waitForSelector(".log-in");
  assert.equal(await kept(), 0);
  assert.match(asked.join(), /1 verdict is not sent yet.*1 verdict is not sent yet/);
}

export const sessions = { sessionEnds };
