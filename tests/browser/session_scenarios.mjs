// What becomes of reviews where the line is away, or a session ends.

import assert from "node:assert/strict";

import { graveFaults, text } from "./scenarios.mjs";

/** The line is away, the page is closed, and one verdict is refused: nothing that was written is lost. */
async function reviewsWait(tools) {
  const { page, open, ask, faults, ready } = tools;
  await open("#area=ours&tab=sites");
  await page.waitForSelector("#list-sites .row");
  const order = await page.locator("#list-sites .row").evaluateAll((rows) => rows.map((row) => row.dataset.site));
  const at = (id) => page.waitForSelector(`.site h2:has-text("${id}")`);
  const field = page.locator(".review textarea");
  const write = async (words) => {
    await page.keyboard.press("n");
    await page.keyboard.type(words);
  };
  const sent = [];
  await page.route(/\/reviews$/, (route) => {
    sent.push(route.request().postDataJSON());
    return route.abort();
  });
  await page.locator("body").press("j");
  await at(order[0]);
  await write("two excavators");
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await at(order[1]);
  await write("half writ");
  await page.waitForSelector('.unsent:has-text("1 verdict not sent yet")');
  while (sent.length < 3) await page.waitForTimeout(100);
  assert.match(await text(page, ".site h2"), new RegExp(order[1]), "one goes on meanwhile");
  assert.equal(await field.inputValue(), "half writ");
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("unsent");
  // A note that was begun is there again when one comes back.
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await at(order[2]);
  assert.equal(await field.inputValue(), "");
  await page.keyboard.press("k");
  await at(order[1]);
  assert.equal(await field.inputValue(), "half writ");
  await page.keyboard.press("u");
  await at(order[2]);
  await page.waitForSelector('.unsent:has-text("2 verdicts not sent yet")');
  const asked = [];
  page.on("dialog", (dialog) => {
    asked.push(dialog.type());
    return dialog.accept();
  });
  await page.reload();
  await ready();
  assert.deepEqual(asked, ["beforeunload"]);
  await page.waitForSelector('.unsent:has-text("2 verdicts not sent yet")');
  await page.unrouteAll();
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await page.waitForSelector(".unsent", { state: "hidden" });
  const said = await Promise.all(order.slice(0, 3).map((id) => ask(`/api/sites/${id}`)));
  assert.deepEqual(
    said.map(({ reviews }) => reviews.map(({ verdict, note }) => [verdict, note])),
    [[["confirmed", "two excavators"]], [["unsure", "half writ"]], []],
  );
  assert.equal(new Set(sent.filter(({ verdict }) => verdict === "confirmed").map((one) => one.review_id)).size, 1);
  // A refusal is told, and what was said waits at its site; what is being written elsewhere stays.
  const why = { error: { kind: "bad_data", message: "note: too long" } };
  let refuse = null;
  await page.route(/\/reviews$/, async (route) => {
    await new Promise((done) => (refuse = done));
    return route.fulfill({ status: 422, json: why });
  });
  await write("refused words");
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await at(order[3]);
  await write("words of the next");
  refuse();
  await page.waitForSelector(`#toast:has-text("${order[2]}")`);
  assert.match(await text(page, "#toast"), /not taken.*too long/);
  const { color, backgroundColor } = await page.locator("#toast").evaluate((toast) => ({ ...getComputedStyle(toast) }));
  assert.notEqual(color, backgroundColor, "red on red cannot be read");
  const covered = (await page.locator("#toast").boundingBox()).x + (await page.locator("#toast").boundingBox()).width;
  assert.ok(covered <= (await page.locator(".site").boundingBox()).x, "the verdicts can be seen");
  assert.match(await text(page, ".site h2"), new RegExp(order[3]));
  assert.equal(await field.inputValue(), "words of the next");
  assert.match(await text(page, ".tally"), /^2 reviewed/, "what is refused is not reviewed");
  await page.keyboard.press("Escape");
  await page.keyboard.press("k");
  await at(order[2]);
  assert.equal(await field.inputValue(), "refused words");
  assert.match(await text(page, ".returned"), /confirmed.*too long/);
  assert.equal(await page.locator('.verdict[aria-pressed="true"]').count(), 0);
  assert.deepEqual(await graveFaults(tools), []);
  await tools.picture("refused");
  await page.reload();
  await ready();
  assert.equal(asked.length, 1, "nothing waits: nobody is asked");
  assert.deepEqual((await ask(`/api/sites/${order[2]}`)).reviews, []);
  faults.splice(0, faults.length, ...faults.filter((fault) => !/ERR_FAILED|422 \(/.test(fault)));
  return {};
}

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

export const sessions = { reviewsWait, sessionEnds };
