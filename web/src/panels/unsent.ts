// The verdicts that the service has not answered yet: kept, told, and sent again until it has.

import { type App, type Fault, faultOf } from "../app";
import * as api from "../base/api";
import { button, el } from "../base/dom";
import { Outbox, type Returned, type Unsent } from "../base/outbox";
import type { Review, Verdict } from "../base/types";
import { t, word } from "../base/words";

/** What takes no longer is not worth a word. */
const QUIET_MS = 2500;
/** Of a refusal: the verdict is for a store that was served here before. */
const OTHER_STORE = "other_store";

const line = el("p", { class: "unsent", role: "status" });
const notTaken = el("span", { class: "not-taken-place", role: "status" });
let leaving = false;
let waiting = 0;
let timer = 0;

/** Where it is told how many wait; empty while none does. */
export const unsentLine = (): HTMLElement => line;

/** Where it is told how many the service would not have; likewise. */
export const notTakenLine = (): HTMLElement => notTaken;

/** Open the page anew, asking only where something would be lost: what waits is sent by the next one. */
export function reload(): void {
  leaving = true;
  location.reload();
}

interface Deeds {
  sent: (one: Unsent) => void;
  refused: (one: Returned) => void;
  /** What was returned is not what it was. */
  changed: () => void;
  showReturned: () => void;
}

/** The verdicts of whoever is logged in, earlier ones that wait in this browser included. */
export function unsentOf(app: App, deeds: Deeds): Outbox {
  const { person, store = null } = app.session;
  const outbox = new Outbox([store ?? "", person?.name ?? ""], store ? shelf() : null, {
    send: ({ site, review_id, verdict, reason, note, outline, given }) =>
      api
        .review(site, { review_id, verdict, reason, note, age_s: age(given), ...(outline ? { outline } : {}) }, store)
        .then((made: Review | null) => {
          // Something on the way that says yes to all has saved nothing.
          if (made?.review_id !== review_id) throw new api.ApiError(api.UNREACHABLE, "unreachable", "no review");
        })
        .catch((error: unknown) => {
          if (!(error instanceof api.ApiError && error.kind === OTHER_STORE)) throw error;
          // What was said waits for its own store.
          outbox.close();
          reload();
          throw new api.ApiError(api.UNREACHABLE, "unreachable", error.message);
        }),
    sent: deeds.sent,
    refused: deeds.refused,
    loggedOut: () => window.dispatchEvent(new Event("sluice:log-in")),
    changed: () => {
      show(outbox, deeds.showReturned);
      deeds.changed();
    },
    later: (then, ms) => window.setTimeout(then, ms),
    forget: (id) => window.clearTimeout(id),
  });
  for (const { site, verdict } of outbox.waiting) app.given.set(site, verdict as Verdict);
  show(outbox, deeds.showReturned);
  window.addEventListener("online", () => outbox.wake());
  window.addEventListener("beforeunload", (event) => {
    if (!outbox.holdsLoose && (leaving || !outbox.waiting.length)) return;
    event.preventDefault();
    leaving = false;
  });
  return outbox;
}

function show(outbox: Outbox, showReturned: () => void): void {
  const back = outbox.returned.length;
  const words = back ? t("not_taken", { n: back }) : "";
  if (notTaken.textContent !== words) notTaken.replaceChildren(...(back ? [button(words, showReturned, { class: "not-taken" })] : []));
  waiting = outbox.waiting.length;
  if (!waiting) {
    window.clearTimeout(timer);
    timer = 0;
    line.textContent = "";
  } else if (line.textContent) {
    line.textContent = t("unsent", { n: waiting });
  } else {
    timer ||= window.setTimeout(() => {
      timer = 0;
      line.textContent = t("unsent", { n: waiting });
    }, QUIET_MS);
  }
}

/** What was said, and why the service would not have it. */
export function returnedTold({ verdict, reason, why }: Returned): { said: string; fault: Fault } {
  const said = [word("verdict", verdict), reason && word("reason", reason)].filter(Boolean).join(", ");
  return { said, fault: faultOf(new api.ApiError(why.status, why.kind, why.message)) };
}

/** A clock that was set back meanwhile makes nothing younger than now. */
const age = (given: number): number => Math.max(0, Date.now() - given) / 1000;

function shelf(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    // Forbidden: they wait as long as the page is open.
    return null;
  }
}
