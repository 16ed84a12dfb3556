// Reviews on their way: kept in the browser until the service has answered, through lines that are away,
// a page that is closed and a session that ended. What it will not have is kept until somebody has seen to it.

/** A verdict as it was given; `before` is what the same person had said of the site until then. */
export interface Said {
  review_id: string;
  site: string;
  verdict: string;
  reason: string | null;
  note: string;
  /** That was drawn along with it. */
  outline?: GeoJSON.Geometry;
  before: string | null;
}

export interface Unsent extends Said {
  /** In milliseconds since 1970. */
  given: number;
}

/** Why the service will not have something, in its words. */
export interface Refusal {
  status: number;
  kind: string;
  message: string;
}

export interface Returned extends Unsent {
  why: Refusal;
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
  /** Fails with a `Refusal`; its status is 0 where no answer came, its kind empty where not the service answered. */
  send: (one: Unsent) => Promise<unknown>;
  sent: (one: Unsent) => void;
  /** The service will not have it, now or later. */
  refused: (one: Returned) => void;
  /** Nobody is logged in: nothing is sent until `wake`. */
  loggedOut: () => void;
  /** Others wait, or were returned, than before. */
  changed: () => void;
  /** Call something after some milliseconds; gives what `forget` takes. */
  later: (then: () => void, ms: number) => number;
  forget: (timer: number) => void;
}

const FIRST_WAIT_MS = 1500;
const LONGEST_WAIT_MS = 60_000;
const UNAUTHENTICATED = 401;
/** With these the service is away altogether: what comes next need not be tried. */
const AWAY = [0, 408, 429, 502, 503, 504];

/** Of one person in one store: what others left in the same browser is neither read nor sent. */
export class Outbox {
  private readonly prefix: string;
  private readonly deeds: OutboxDeeds;
  private readonly shelf: Shelf | null;
  private list: Unsent[] = [];
  private back: Returned[] = [];
  /** Those that the browser does not keep. */
  private readonly loose = new Set<string>();
  private running = false;
  private halted = false;
  private closed = false;
  private timer = 0;
  private wait = FIRST_WAIT_MS;

  /**
   * @param owner The store, and the person who says something of its sites.
   * @param shelf Where they are kept; null where the browser keeps nothing.
   */
  constructor(owner: readonly [store: string, person: string], shelf: Shelf | null, deeds: OutboxDeeds) {
    this.prefix = `sluice.unsent/${owner.map(encodeURIComponent).join("/")}/`;
    this.deeds = deeds;
    this.shelf = shelf;
    this.adopt();
  }

  /** In the order in which they were given. */
  get waiting(): readonly Unsent[] {
    return this.list;
  }

  /** What the service would not have, until something else is said of its site. */
  get returned(): readonly Returned[] {
    return this.back;
  }

  /** Whether something would be lost with the page. */
  get holdsLoose(): boolean {
    return !this.closed && this.loose.size > 0;
  }

  add(said: Said): void {
    this.adopt();
    // After what waits already, whatever the clock was set to meanwhile.
    const one = { ...said, given: Math.max(Date.now(), 1 + (this.list.at(-1)?.given ?? 0)) };
    for (const old of this.back.filter(({ site }) => site === one.site)) this.take(this.back, old);
    this.list.push(one);
    this.keep(one);
    this.deeds.changed();
    if (!this.halted) void this.run();
  }

  /** Try at once: the line is back, or somebody has logged in. */
  wake(): void {
    this.halted = false;
    this.wait = FIRST_WAIT_MS;
    void this.run();
  }

  /** Send nothing any more: somebody else is logged in. What waits is kept for its own person. */
  close(): void {
    this.closed = true;
    this.deeds.forget(this.timer);
  }

  /** Throw away something that was returned. */
  drop(one: Returned): void {
    if (this.take(this.back, one)) this.deeds.changed();
  }

  /** Throw away all that waits or was returned. */
  clear(): void {
    this.adopt();
    for (const one of [...this.list, ...this.back]) this.unkeep(one);
    this.list = [];
    this.back = [];
    this.deeds.forget(this.timer);
    this.deeds.changed();
  }

  /** Look for what other pages of this browser left. */
  adopt(): void {
    const known = new Set([...this.list, ...this.back].map((one) => one.review_id));
    for (const one of this.kept()) {
      if (known.has(one.review_id)) continue;
      if (isReturned(one)) this.back.push(one);
      else this.list.push(one);
    }
    for (const those of [this.list, this.back]) those.sort((one, other) => one.given - other.given);
  }

  /** One after the other, so that of two verdicts on a site the later one counts. */
  private async run(): Promise<void> {
    if (this.running || this.closed) return;
    this.running = true;
    this.deeds.forget(this.timer);
    const before = this.list.length;
    this.adopt();
    if (this.list.length !== before) this.deeds.changed();
    try {
      await this.sendAll();
    } finally {
      this.running = false;
      if (this.list.length && !this.halted && !this.closed) {
        this.timer = this.deeds.later(() => void this.run(), this.wait);
        this.wait = Math.min(LONGEST_WAIT_MS, 2 * this.wait);
      }
    }
    if (this.halted && !this.closed) this.deeds.loggedOut();
  }

  private async sendAll(): Promise<void> {
    // A site of which one could not be taken: its later ones wait for that.
    const held = new Set<string>();
    while (!this.halted && !this.closed) {
      const one = this.list.find(({ site }) => !held.has(site));
      if (!one) return;
      const status = await this.sendOne(one);
      if (status === UNAUTHENTICATED) this.halted = true;
      else if (AWAY.includes(status)) return;
      else if (this.list.includes(one)) held.add(one.site);
    }
  }

  /** The status of the answer, 200 for any good one; what was answered for good is out of the list. */
  private async sendOne(one: Unsent): Promise<number> {
    try {
      await this.deeds.send(one);
    } catch (error) {
      const { status, kind, message } = { status: 0, kind: "", message: "", ...plain(error) };
      const isAbout = status >= 400 && status < 500 && status !== UNAUTHENTICATED && !AWAY.includes(status);
      // A proxy on the way, or what stands in for the service while it is away, refuses nothing.
      if (isAbout && kind) this.refuse(one, { status, kind, message });
      return status;
    }
    this.wait = FIRST_WAIT_MS;
    if (this.take(this.list, one)) {
      this.deeds.changed();
      this.deeds.sent(one);
    }
    return 200;
  }

  private refuse(one: Unsent, why: Refusal): void {
    // It may have been thrown away meanwhile.
    if (!this.take(this.list, one)) return;
    // What came after it was not said after it any more.
    const next = this.list.find(({ site }) => site === one.site);
    if (next) {
      next.before = one.before;
      this.keep(next);
    }
    const returned = { ...one, why };
    this.back.push(returned);
    this.keep(returned);
    this.deeds.changed();
    this.deeds.refused(returned);
  }

  /** False where it is gone already. */
  private take<One extends Unsent>(those: One[], one: One): boolean {
    const at = those.indexOf(one);
    if (at < 0) return false;
    those.splice(at, 1);
    this.unkeep(one);
    return true;
  }

  /** Each has a key of its own: two pages of one browser do not write over one another. */
  private keep(one: Unsent): void {
    this.loose.add(one.review_id);
    try {
      if (!this.shelf) return;
      this.shelf.setItem(this.prefix + one.review_id, JSON.stringify(one));
      this.loose.delete(one.review_id);
    } catch {
      // Full, or forbidden: it waits as long as the page is open, and the page asks before it closes.
    }
  }

  private unkeep(one: Unsent): void {
    this.loose.delete(one.review_id);
    try {
      this.shelf?.removeItem(this.prefix + one.review_id);
    } catch {
      // Sent once more after a reload, it counts once.
    }
  }

  private kept(): (Unsent | Returned)[] {
    const found: (Unsent | Returned)[] = [];
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
    return found;
  }
}

const isReturned = (one: Unsent | Returned): one is Returned => "why" in one;

/** What an error says of itself. */
function plain(error: unknown): Partial<Refusal> {
  const { status, kind, message } = (error ?? {}) as Partial<Refusal>;
  return typeof status === "number" ? { status, kind: kind ?? "", message: message ?? "" } : {};
}

function read(words: string | null): Unsent | Returned | null {
  try {
    const one = JSON.parse(words ?? "null") as Unsent | null;
    return one && [one.review_id, one.site, one.verdict].every((part) => typeof part === "string") ? one : null;
  } catch {
    return null;
  }
}
