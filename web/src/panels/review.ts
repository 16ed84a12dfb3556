// Review: a verdict by button or key, sent at once, and on to the next site while it is on its way.

import { type App, forgetSite, isOpen, mayReview, neighbour, onward, showFault, siteDetail, tell } from "../app";
import * as api from "../base/api";
import { button, el, replace } from "../base/dom";
import type { Returned, Unsent } from "../base/outbox";
import { go, look } from "../base/state";
import { REASONS, type Reason, type SiteDetail, type Verdict } from "../base/types";
import { capital, hectares, moment, number, t, text, word } from "../base/words";
import { outerRings, ringHectares } from "../map/rings";
import { returnedTold, unsentOf } from "./unsent";

/** Keys of the reasons, in their order. */
export const REASON_KEYS = "123456789abcd";

/** An outline that is being drawn: a verdict takes it along. */
export interface OutlineInWork {
  /** Null where it cannot be sent as it is; that was told then. */
  shape: () => GeoJSON.Geometry | null;
  saved: () => void;
}

export class ReviewBox {
  readonly root = el("section", { class: "review", "aria-label": t("review") });
  private readonly note: HTMLTextAreaElement;
  private readonly reasons: HTMLElement;
  private readonly count = el("span", { class: "tally" });
  private readonly verdicts = new Map<Verdict, HTMLButtonElement>();
  /** What the service would not have of the site that is shown. */
  private readonly returned = el("p", { class: "fault returned", role: "alert" });
  /** Notes that were begun at other sites. */
  private readonly drafts = new Map<string, string>();
  /** Of the site that is shown; null while the next one is on its way. */
  private id: string | null = null;
  private began = 0;
  outline: OutlineInWork | null = null;

  constructor(
    private readonly app: App,
    private readonly reviewed: (id: string) => void,
    readonly redraw: () => void,
    showReturned: () => void,
  ) {
    this.note = el("textarea", { rows: 1, placeholder: t("note_hint"), "aria-label": t("note"), maxlength: 2000 });
    this.reasons = el("div", { class: "reasons", hidden: true, role: "group", "aria-label": t("reject_why") });
    const choices = el(
      "div",
      { class: "verdicts" },
      this.choice("confirmed", t("confirm"), "C"),
      this.choice("rejected", t("reject"), "R"),
      this.choice("unsure", t("unsure"), "U"),
    );
    replace(
      this.reasons,
      el("p", {}, t("reject_why")),
      ...REASONS.map((reason, index) =>
        el(
          "button",
          { type: "button", class: "reason", onclick: () => this.give("rejected", reason) },
          el("kbd", { "aria-hidden": "true" }, REASON_KEYS[index]!.toUpperCase()),
          capital(word("reason", reason)),
        ),
      ),
    );
    this.root.append(
      el("div", { class: "heading" }, el("h3", {}, t("review")), this.count),
      choices,
      this.reasons,
      this.returned,
      this.note,
      button(t("redraw"), redraw, { class: "button redraw-begin", "aria-keyshortcuts": "O" }),
    );
    if (!mayReview(app)) return;
    app.unsent = unsentOf(app, {
      sent: (one) => this.arrived(one),
      refused: (one) => this.refused(one),
      changed: () => this.tellReturned(),
      showReturned,
    });
    for (const one of app.unsent.returned) this.giveBack(one);
  }

  private choice(verdict: Verdict, label: string, key: string): HTMLButtonElement {
    const made = el(
      "button",
      {
        type: "button",
        class: `verdict ${verdict}`,
        "aria-keyshortcuts": key,
        onclick: () => (verdict === "rejected" ? this.askWhy() : this.give(verdict, null)),
      },
      label,
      el("kbd", { "aria-hidden": "true" }, key),
    );
    this.verdicts.set(verdict, made);
    return made;
  }

  show(detail: SiteDetail): void {
    // Nobody judges what is shown to them only roughly.
    this.root.hidden = !mayReview(this.app) || !detail.coordinates;
    const id = detail.site.site_id;
    const given = this.app.given.get(id) ?? null;
    if (this.id !== id) {
      this.leave();
      this.id = id;
      this.note.readOnly = false;
      this.note.value = this.drafts.get(id) ?? "";
    }
    this.tellReturned();
    for (const [verdict, made] of this.verdicts) made.setAttribute("aria-pressed", String(verdict === given));
    this.tally();
    // The next one is at hand when this one is done.
    const next = neighbour(this.app, this.id, 1, true);
    if (next) void siteDetail(next).catch(() => undefined);
  }

  /** Until the next site is shown nothing that is said is meant for this one; its note stays with it. */
  leave(): void {
    if (this.id) this.drafts.set(this.id, this.note.value);
    this.id = null;
    this.note.value = "";
    this.note.readOnly = true;
    this.reasons.hidden = true;
  }

  get shown(): string | null {
    return this.id;
  }

  private tally(): void {
    const done = this.app.given.size;
    const rest = this.app.queue.filter((one) => isOpen(this.app, one)).length;
    const minutes = this.began ? (Date.now() - this.began) / 60_000 : 0;
    const pace = done >= 5 && minutes > 0.2 ? t("pace", { n: number(done / minutes, 0) }) : "";
    const words = t(this.app.more ? "tally_at_least" : "tally", { n: done, rest });
    this.count.textContent = done ? [words, pace].filter(Boolean).join(" · ") : "";
  }

  askWhy(): void {
    this.reasons.hidden = !this.reasons.hidden;
    this.verdicts.get("rejected")?.setAttribute("aria-expanded", String(!this.reasons.hidden));
    if (!this.reasons.hidden) this.reasons.querySelector("button")?.focus({ preventScroll: true });
  }

  get asksWhy(): boolean {
    return !this.reasons.hidden;
  }

  /** A key of the reasons; true where it was one. */
  reasonKey(key: string): boolean {
    const at = REASON_KEYS.indexOf(key.toLowerCase());
    const reason = REASONS[at];
    if (!this.asksWhy || key.length !== 1 || !reason) return false;
    this.give("rejected", reason);
    return true;
  }

  closeWhy(): void {
    this.reasons.hidden = true;
  }

  focusNote(): void {
    this.note.focus();
  }

  give(verdict: Verdict, reason: Reason | null): void {
    const id = this.id;
    if (!id || this.root.hidden) return;
    const drawn = this.outline;
    if (drawn && verdict === "unsure") return tell(t("outline_unsure"), "fault");
    const outline = drawn?.shape() ?? null;
    // Why it cannot be sent as it is was told.
    if (drawn && !outline) return;
    this.began ||= Date.now();
    const before = this.app.given.get(id) ?? null;
    const note = this.note.value.trim();
    this.app.given.set(id, verdict);
    this.note.value = "";
    this.reasons.hidden = true;
    const said = { review_id: api.newId(), site: id, verdict, reason, note, before };
    this.app.unsent?.add(outline ? { ...said, outline } : said);
    if (!drawn) return void this.goOn(id, reason ? word("reason", reason) : word("verdict", verdict));
    // One stays, to see what was drawn once it is there.
    drawn.saved();
    if (this.app.detail) this.show(this.app.detail);
  }

  /** What was drawn of a site and is not with the service: on its way, or returned. */
  outlineOf(id: string): GeoJSON.Geometry | null {
    const { waiting = [], returned = [] } = this.app.unsent ?? {};
    return [...returned, ...waiting].filter((one) => one.site === id && one.outline).at(-1)?.outline ?? null;
  }

  /** Tell what was said of a site, and go to the next one that has no verdict. */
  private async goOn(id: string, told: string): Promise<void> {
    // At once where the next one is known: further keys are meant for it.
    const next = neighbour(this.app, id, 1, true) ?? (await onward(this.app, id, true));
    tell(t(next ? "reviewed" : "reviewed_last", { site: id, verdict: told }));
    if (next && look().site === id) go({ site: next });
    else this.tally();
  }

  private arrived({ site, verdict, reason, outline }: Unsent): void {
    forgetSite(site);
    this.reviewed(site);
    if (outline) tell(t("outline_saved", { site, verdict: reason ? word("reason", reason) : word("verdict", verdict) }));
  }

  /** What the service will not have is given back at its site, whatever is shown meanwhile. */
  private refused(one: Returned): void {
    const { site, before } = one;
    const { given, unsent } = this.app;
    if (!unsent?.waiting.some((other) => other.site === site)) {
      if (before) given.set(site, before as Verdict);
      else given.delete(site);
    }
    this.giveBack(one);
    const { said, fault } = returnedTold(one);
    tell(t("review_refused", { site, verdict: said, why: fault.words }), "fault", fault.own);
    this.tally();
    this.reviewed(site);
  }

  /** Its note, before what was written there since. */
  private giveBack({ site, note }: Returned): void {
    const written = this.id === site ? this.note.value : (this.drafts.get(site) ?? "");
    const both = [note, written].filter((one) => one.trim()).join("\n");
    this.drafts.set(site, both);
    if (this.id === site) this.note.value = both;
  }

  /** Of the site that is shown. */
  private tellReturned(): void {
    const one = this.app.unsent?.returned.filter(({ site }) => site === this.id).at(-1);
    if (!one) return showFault(this.returned, { words: "", own: "" });
    const { said, fault } = returnedTold(one);
    showFault(this.returned, { words: t("review_returned", { verdict: said, why: fault.words }), own: fault.own });
  }
}

/** What people said, latest first. */
export function reviewsTold(detail: SiteDetail): HTMLElement {
  if (!detail.reviews.length) return el("p", { class: "hint" }, text("reviews.none"));
  return el(
    "ul",
    { class: "said" },
    ...[...detail.reviews]
      .sort((one, other) => other.when.localeCompare(one.when))
      .map((one) =>
        el(
          "li",
          {},
          el("span", { class: `chip verdict-${one.verdict}` }, word("verdict", one.verdict)),
          one.reason && ` ${word("reason", one.reason)}`,
          el("span", { class: "who" }, ` ${one.who} · ${moment(one.when)}`),
          one.note && el("q", {}, one.note),
          drawnTold(detail, one.review_id),
        ),
      ),
  );
}

function drawnTold(detail: SiteDetail, review: string): HTMLElement | null {
  const drawn = detail.drawn.find((one) => one.label_id === review);
  if (!drawn) return null;
  const size = outerRings(drawn.geometry).reduce((sum, ring) => sum + ringHectares(ring), 0);
  return el("p", { class: "drawn-told" }, t("outline_drawn", { area: hectares(size) }));
}
