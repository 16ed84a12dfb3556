// What scenarios of drawing share: where places are on the page, and how a hand draws there.

import assert from "node:assert/strict";

/** Where on the page the map shows a place. */
export const onPage = (page, [lon, lat]) =>
  page.evaluate(
    ([x, y]) => {
      const at = window.sluiceMap.project([x, y]);
      const { left, top } = window.sluiceMap.getContainer().getBoundingClientRect();
      return [left + at.x, top + at.y];
    },
    [lon, lat],
  );

export async function press(page, place, how = "click") {
  const [x, y] = await onPage(page, place);
  if (how === "tap") await page.touchscreen.tap(x, y);
  else {
    await page.mouse.move(x, y);
    await page.mouse.click(x, y);
  }
  await page.waitForTimeout(120);
}

export async function drag(page, from, to) {
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
export async function until(page, is, what) {
  for (let tries = 0; ; tries++) {
    if (await is()) return;
    assert.ok(tries < 200, what);
    await page.waitForTimeout(150);
  }
}

/** How many colours a part of the screen has, as people see it. */
export async function coloursSeen(page, clip) {
  // Of the whole screen: a picture of a part is drawn anew.
  const picture = (await page.screenshot()).toString("base64");
  const of = async ([encoded, { x, y, width, height }]) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const pen = new OffscreenCanvas(innerWidth, innerHeight).getContext("2d");
    pen.drawImage(image, 0, 0, innerWidth, innerHeight);
    return new Set(new Uint32Array(pen.getImageData(x, y, width, height).data.buffer)).size;
  };
  return page.evaluate(of, [picture, clip]);
}

/** The polygon that terra-draw holds, as the map's source has it. */
export const drawnRings = (page) =>
  page.evaluate(async () => {
    const { features } = await window.sluiceMap.getSource("td-polygon").getData();
    return features.map((one) => one.geometry.coordinates[0]);
  });

export const look = (page, [lon, lat], zoom) =>
  page.evaluate(([x, y, z]) => window.sluiceMap.jumpTo({ center: [x, y], zoom: z }), [lon, lat, zoom]);

export const send = (page) => page.locator(".work-form button[type=submit]");
