// Reviews on their way: kept in the browser until the service has answered, through lines that are away,
// a page that is closed and a session that ended.

/** A verdict as it was given; `before` is what the same person had said of the site until then. */
export interface Unsent {
  review_id: string;
  site: string;
  verdict: string;
  reason: string | null;
  note: string;
  before: string | null;
}

/** What `localStorage` offers of itself. */
export interface Shelf {
  readonly length: number;
  key: (at: number) => string | null;
  getItem: (key: string) => string | null;
  setItem: (key: string, value: string) => void;
  removeItem: (key: string) => void;
}

export interface OutboxDeeds {
  /** Fails with something that has a `status`; 0 where no answer came. */
  send: (one: Unsent) => Promise<unknown>;
  sent: (one: Unsent) => void;
  /** The service will not have it, now or later. */
  refused: (one: Unsent, error: unknown) => void;
  /** Nobody is logged in: nothing is sent until `wake`. */
  loggedOut: () => void;
  /** How many wait. */
  changed: (waiting: number) => void;
  /** Call something after some milliseconds; gives what `forget` takes. */
  later: (then: () => void, ms: number) => number;
  forget: (timer: number) => void;
}

const FIRST_WAIT_MS = 1500;
const LONGEST_WAIT_MS = 60_000;
const UNAUTHENTICATED = 401;
/** With these the service is away altogether: what comes next need not be tried. */
const AWAY = [0, 408, 429, 502, 503, 504];

/** Of one person: what others left in the same browser is neither read nor sent. */
export class Outbox {
  private readonly person: string;
  private readonly deeds: OutboxDeeds;
  private readonly shelf: Shelf | null;
  private list: Unsent[] = [];
  private running = false;
  private halted = false;
  private timer = 0;
  private wait = FIRST_WAIT_MS;

  /** @param shelf Where they are kept; null where the browser keeps nothing. */
  constructor(person: string, shelf: Shelf | null, deeds: OutboxDeeds) {
    this.person = person;
    this.deeds = deeds;
    this.shelf = shelf;
    this.list = this.kept();
  }

  get waiting(): readonly Unsent[] {
    return this.list;
  }

  add(one: Unsent): void {
    this.list.push(one);
    this.keep(one);
    this.deeds.changed(this.list.length);
    if (!this.halted) void this.run();
  }

  /** Try at once: the line is back, or somebody has logged in. */
  wake(): void {
    this.halted = false;
    this.wait = FIRST_WAIT_MS;
    void this.run();
  }

  /** Throw away what waits. */
  clear(): void {
    for (const one of this.list) this.unkeep(one);
    this.list = [];
    this.deeds.forget(this.timer);
    this.deeds.changed(0);
  }

  /** One after the other, so that of two verdicts on a site the later one counts. */
  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.deeds.forget(this.timer);
    // A site of which one could not be taken: its later ones wait for that.
    const held = new Set<string>();
    let away = false;
    while (!away && !this.halted) {
      const one = this.list.find(({ site }) => !held.has(site));
      if (!one) break;
      const status = await this.sendOne(one);
      if (status === UNAUTHENTICATED) this.halted = true;
      else if (AWAY.includes(status)) away = true;
      else if (status >= 500) held.add(one.site);
    }
    this.running = false;
    if (this.halted) return this.deeds.loggedOut();
    if (!this.list.length) return;
    this.timer = this.deeds.later(() => void this.run(), this.wait);
    this.wait = Math.min(LONGEST_WAIT_MS, 2 * this.wait);
  }

  /** The status of the answer, 200 for any good one; what was answered for good is out of the list. */
  private async sendOne(one: Unsent): Promise<number> {
    try {
      await this.deeds.send(one);
    } catch (error) {
      const status = Number((error as { status?: number } | null)?.status ?? 0);
      const definite = status >= 400 && status < 500 && status !== UNAUTHENTICATED && !AWAY.includes(status);
      if (definite) this.refuse(one, error);
      return status;
    }
    this.wait = FIRST_WAIT_MS;
    if (this.remove(one)) this.deeds.sent(one);
    return 200;
  }

  private refuse(one: Unsent, error: unknown): void {
    if (!this.remove(one)) return;
    // What came after it was not said after it any more.
    for (const other of this.list) {
      if (other.site !== one.site) continue;
      other.before = one.before;
      this.keep(other);
      break;
    }
    this.deeds.refused(one, error);
  }

  /** False where it was thrown away meanwhile. */
  private remove(one: Unsent): boolean {
    const at = this.list.indexOf(one);
    if (at < 0) return false;
    this.list.splice(at, 1);
    this.unkeep(one);
    this.deeds.changed(this.list.length);
    return true;
  }

  private get prefix(): string {
    return `sluice.unsent/${encodeURIComponent(this.person)}/`;
  }

  /** Each has a key of its own: two pages of one browser do not write over one another. */
  private keep(one: Unsent): void {
    const key = this.prefix + one.review_id;
    try {
      const given = read(this.shelf?.getItem(key) ?? null)?.given ?? Date.now();
      this.shelf?.setItem(key, JSON.stringify({ ...one, given }));
    } catch {
      // Full, or forbidden: it waits as long as the page is open, and the page asks before it closes.
    }
  }

  private unkeep(one: Unsent): void {
    try {
      this.shelf?.removeItem(this.prefix + one.review_id);
    } catch {
      // Sent once more after a reload, it counts once.
    }
  }

  /** What an earlier page left, in the order in which it was given. */
  private kept(): Unsent[] {
    const found: (Unsent & { given: number })[] = [];
    try {
      for (let at = 0; at < (this.shelf?.length ?? 0); at++) {
        const key = this.shelf?.key(at);
        if (!key?.startsWith(this.prefix)) continue;
        const one = read(this.shelf!.getItem(key));
        if (one) found.push(one);
      }
    } catch {
      return [];
    }
    found.sort((one, other) => one.given - other.given);
    return found.map(({ given: _, ...one }) => one);
  }
}

function read(words: string | null): (Unsent & { given: number }) | null {
  try {
    const one = JSON.parse(words ?? "null") as (Unsent & { given: number }) | null;
    return one && [one.review_id, one.site, one.verdict].every((part) => typeof part === "string") ? one : null;
  } catch {
    return null;
  }
}
