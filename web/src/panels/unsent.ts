// The verdicts that the service has not answered yet: kept, told, and sent again until it has.

import type { App } from "../app";
import * as api from "../base/api";
import { el } from "../base/dom";
import { Outbox, type Unsent } from "../base/outbox";
import type { Verdict } from "../base/types";
import { t } from "../base/words";

/** What takes no longer is not worth a word. */
const QUIET_MS = 2500;

const line = el("p", { class: "unsent", role: "status" });
let leaving = false;
let waiting = 0;
let timer = 0;

/** Where it is told how many wait; empty while none does. */
export const unsentLine = (): HTMLElement => line;

/** Open the page anew, without asking: what waits is sent by the next one. */
export function reload(): void {
  leaving = true;
  location.reload();
}

/** The verdicts of whoever is logged in, earlier ones that wait in this browser included. */
export function unsentOf(
  app: App,
  sent: (one: Unsent) => void,
  refused: (one: Unsent, error: unknown) => void,
): Outbox {
  const outbox = new Outbox(app.session.person?.name ?? "", shelf(), {
    send: ({ site, review_id, verdict, reason, note }) => api.review(site, { review_id, verdict, reason, note }),
    sent,
    refused,
    loggedOut: () => window.dispatchEvent(new Event("sluice:log-in")),
    changed: show,
    later: (then, ms) => window.setTimeout(then, ms),
    forget: (id) => window.clearTimeout(id),
  });
  for (const { site, verdict } of outbox.waiting) app.given.set(site, verdict as Verdict);
  show(outbox.waiting.length);
  window.addEventListener("online", () => outbox.wake());
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && outbox.waiting.length) event.preventDefault();
  });
  return outbox;
}

function show(count: number): void {
  waiting = count;
  if (!count) {
    window.clearTimeout(timer);
    timer = 0;
    line.textContent = "";
  } else if (line.textContent) {
    line.textContent = t("unsent", { n: count });
  } else {
    timer ||= window.setTimeout(() => {
      timer = 0;
      line.textContent = t("unsent", { n: waiting });
    }, QUIET_MS);
  }
}

function shelf(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    // Forbidden: they wait as long as the page is open.
    return null;
  }
}
