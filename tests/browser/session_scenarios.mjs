// What becomes of reviews where the line is away, or a session ends.

import assert from "node:assert/strict";

import { until } from "./drawing.mjs";
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
  await until(page, () => sent.length >= 3, "it is tried again");
  const ages = sent.map(({ age_s }) => age_s);
  assert.ok(ages.every((age, at) => age > (ages[at - 1] ?? -1)) && ages[2] > 4, `it counts from when it was given: ${ages}`);
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
  await page.waitForSelector('#toast:has-text("not taken")');
  assert.match(await text(page, "#toast"), new RegExp(`${order[2]}.*not taken.*too long`));
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
  await page.unrouteAll();
  await returnedStays(tools, order, asked);
  await outlineWaits(tools, order);
  faults.splice(0, faults.length, ...faults.filter((fault) => !/ERR_FAILED|4(09|22) \(/.test(fault)));
  return {};
}

/** What was refused is there in the next page, as is what was said while another store was served. */
async function returnedStays({ page, ask, ready, picture }, order, asked) {
  const other = { error: { kind: "other_store", message: "another store is served here" } };
  await page.route(/\/reviews$/, (route) => route.fulfill({ status: 409, json: other }), { times: 1 });
  await page.evaluate(() => (window.same = true));
  await page.keyboard.press("j");
  await page.waitForSelector(`.site h2:has-text("${order[3]}")`);
  await page.keyboard.press("c");
  await page.waitForFunction(() => !window.same && document.documentElement.dataset.ready === "true");
  assert.equal(asked.length, 1, "all is kept: nobody is asked");
  const said = async (id) => (await ask(`/api/sites/${id}`)).reviews.map(({ verdict, note }) => [verdict, note]);
  await until(page, async () => (await said(order[3])).length, "the next page sends it");
  assert.deepEqual(await said(order[3]), [["confirmed", "words of the next"]]);
  await page.getByRole("button", { name: "1 verdict not taken" }).click();
  assert.match(await text(page, ".returned-list"), new RegExp(`${order[2]}.*confirmed.*refused words.*too long`, "s"));
  await picture("returned");
  await page.locator(".returned-list button", { hasText: "Show on the map" }).click();
  await page.waitForSelector(`.site h2:has-text("${order[2]}")`);
  assert.equal(await page.locator(".review textarea").inputValue(), "refused words");
  assert.match(await text(page, ".returned"), /confirmed.*too long/);
  await page.locator(".not-taken").click();
  await page.locator(".returned-list button", { hasText: "Throw away" }).click();
  await page.waitForSelector("dialog", { state: "detached" });
  assert.equal(await page.locator(".not-taken, .returned:not(:empty)").count(), 0);
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("sluice.unsent"))), []);
  assert.deepEqual(await said(order[2]), []);
}

/** An outline waits as well, behind what was said of its site before. */
async function outlineWaits({ page, ask, ready }, order) {
  const at = (id) => page.waitForSelector(`.site h2:has-text("${id}")`);
  // Something on the way says yes to all, as guest networks do.
  await page.route(/\/reviews$/, (route) => route.fulfill({ status: 204 }));
  await page.locator("body").press("u");
  await page.waitForSelector(`.site h2:not(:has-text("${order[2]}"))`);
  await page.locator(`#list-sites [data-site="${order[2]}"]`).click();
  await at(order[2]);
  await page.keyboard.press("o");
  await page.waitForSelector(".drawing-panel.redraw");
  await page.keyboard.press("c");
  await page.waitForSelector(".drawing-panel", { state: "detached" });
  await page.waitForSelector('.unsent:has-text("2 verdicts not sent yet")');
  await page.reload();
  await ready();
  await page.unrouteAll();
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await page.waitForSelector(".drawn-told");
  const { reviews, drawn } = await ask(`/api/sites/${order[2]}`);
  assert.deepEqual(reviews.map(({ verdict }) => verdict), ["unsure", "confirmed"]);
  assert.deepEqual(drawn.map(({ label_id }) => label_id), [reviews[1].review_id]);
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
    await until(page, async () => (await said(id)).length, "it is sent");
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
  // The page of the other takes its time, and the line comes back meanwhile.
  const slowly = (route) => new Promise((done) => setTimeout(() => done(route.continue()), 1500));
  await page.route((url) => url.pathname === "/", slowly, { times: 1 });
  await page.evaluate(() => void setInterval(() => window.dispatchEvent(new Event("online")), 100));
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
