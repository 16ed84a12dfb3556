// The analyses that somebody asked for: followed while they run, also after the page was opened anew.

import { type App, ownWords, tell, tellFault } from "../app";
import * as api from "../base/api";
import { button, el, replace } from "../base/dom";
import type { Job, JobLimits } from "../base/types";
import { moment, number, period, t } from "../base/words";

const MOST_STREAMS = 2;
const LOOK_AGAIN_MS = 8000;
const SHOWN = 8;

export const isOpen = (job: Job): boolean => job.state === "queued" || job.state === "running";

export class Jobs {
  readonly root = el("ul", { class: "jobs" });
  limits: JobLimits | null = null;
  private list: Job[] = [];
  private readonly streams = new Map<string, EventSource>();
  private timer = 0;

  constructor(
    private readonly app: App,
    /** Maps of a job have landed: all of them where it has ended. */
    private readonly landed: (job: Job) => void,
    private readonly changed: (open: number) => void,
    private readonly goTo: (area: string) => void,
  ) {}

  /** Those of whoever asks: administrators see all, and follow their own. */
  get open(): Job[] {
    return this.list.filter((job) => isOpen(job) && job.by === this.app.session.person?.name);
  }

  async load(): Promise<void> {
    const { jobs, limits } = await api.jobs();
    this.limits = limits;
    for (const job of jobs) this.take(job, false);
    this.list = jobs;
    this.show();
  }

  async ask(asked: api.JobAsked): Promise<Job> {
    const job = await api.askForJob(asked);
    this.list = [job, ...this.list];
    this.show();
    return job;
  }

  /** What is new of a job; tells where maps have landed. */
  private take(job: Job, news = true): void {
    const known = this.list.find((one) => one.job_id === job.job_id);
    if (known && known.version > job.version) return;
    if (known) this.list = this.list.map((one) => (one === known ? { ...known, ...job } : one));
    const ended = known && isOpen(known) && !isOpen(job);
    if (known && (job.part > known.part || (ended && job.run_ids.length > 0))) this.landed(job);
    if (ended) this.tellEnd(job);
    if (news) this.show();
  }

  private tellEnd(job: Job): void {
    const values = { area: job.area };
    if (job.state === "done") tell(t("job_done_news", values));
    else if (job.state === "failed") tell(t("job_failed_news", values), "fault", job.message);
  }

  private follow(): void {
    const { open } = this;
    for (const [id, stream] of this.streams) {
      if (open.some((job) => job.job_id === id)) continue;
      stream.close();
      this.streams.delete(id);
    }
    // The oldest is the next to run. Browsers have few connections: others are looked at now and then.
    for (const job of open.slice(-MOST_STREAMS)) {
      if (this.streams.size >= MOST_STREAMS || this.streams.has(job.job_id)) continue;
      const stream = new EventSource(`/api/jobs/${job.job_id}/events`);
      const heard = (event: MessageEvent<string>): void => this.take(JSON.parse(event.data) as Job);
      stream.addEventListener("job", heard);
      stream.addEventListener("end", heard);
      stream.addEventListener("error", () => {
        if (stream.readyState === EventSource.CLOSED) this.streams.delete(job.job_id);
      });
      this.streams.set(job.job_id, stream);
    }
    window.clearTimeout(this.timer);
    if (open.length) this.timer = window.setTimeout(() => void this.lookAgain(), LOOK_AGAIN_MS);
  }

  private async lookAgain(): Promise<void> {
    try {
      const { jobs, limits } = await api.jobs();
      this.limits = limits;
      for (const job of jobs) this.take(job, false);
    } catch {
      // The line is away; the next look tells.
    }
    this.show();
  }

  private async cancel(job: Job): Promise<void> {
    try {
      this.take(await api.cancelJob(job.job_id));
    } catch (error) {
      tellFault(error);
    }
  }

  private show(): void {
    this.follow();
    this.changed(this.open.length);
    const held = document.activeElement?.closest<HTMLElement>(".job")?.dataset["job"];
    const shown = this.list.filter((job, index) => index < SHOWN || isOpen(job));
    if (shown.length) replace(this.root, ...shown.map((job) => this.row(job)));
    else replace(this.root, el("li", { class: "hint" }, t("jobs_none")));
    if (held) this.root.querySelector<HTMLElement>(`[data-job="${held}"] button`)?.focus({ preventScroll: true });
  }

  private row(job: Job): HTMLElement {
    const own = job.by === this.app.session.person?.name;
    const bar = el("progress", { max: 1, "aria-label": t("job_progress", { area: job.area }) });
    if (job.total) bar.value = (job.part + job.done / job.total) / Math.max(1, job.parts);
    return el(
      "li",
      { class: `job ${job.state}`, "data-job": job.job_id },
      el("strong", {}, job.area),
      el("span", { class: "hint" }, ` ${period(job.first, job.last)}${own ? "" : ` · ${job.by}`}`),
      el("p", { class: "job-state" }, stateWords(job)),
      job.state === "running" && bar,
      job.message && el("p", { class: "fault" }, t(job.state === "done" ? "job_partly" : "job_why"), ownWords(job.message)),
      el(
        "div",
        { class: "links" },
        isOpen(job) &&
          button(t("job_cancel"), () => void this.cancel(job), {
            class: "button",
            disabled: job.cancel_asked,
            "aria-label": t("job_cancel_of", { area: job.area }),
          }),
        job.run_ids.length > 0 && button(t("job_show"), () => this.goTo(job.area), { class: "button" }),
      ),
    );
  }
}

/** How a job stands, in a sentence. */
function stateWords(job: Job): string {
  if (job.cancel_asked && isOpen(job)) return t("job_cancelling");
  if (job.state === "queued") {
    return job.queue_place && job.queue_place > 1 ? t("job_ahead", { n: job.queue_place - 1 }) : t("job_waiting");
  }
  if (job.state === "running") {
    const minutes = job.started ? Math.floor((Date.now() - Date.parse(job.started)) / 60_000) : 0;
    const since = minutes > 0 ? ` ${t("job_minutes", { n: minutes })}` : "";
    if (job.stage === "landing") return t("job_landing") + since;
    if (job.stage !== "scanning" || !job.total) return t("job_searching") + since;
    const parts = job.parts > 1 ? ` ${t("job_part", { k: number(job.part + 1), of: number(job.parts) })}` : "";
    return t("job_scanning", { done: number(job.done), of: number(job.total) }) + parts + since;
  }
  const when = job.finished ? moment(job.finished) : "";
  if (job.state === "done") return t("job_done", { date: when });
  return t(job.state === "failed" ? "job_failed" : "job_cancelled", { date: when });
}

