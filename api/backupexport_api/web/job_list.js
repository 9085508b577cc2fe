// The list of jobs: filters, live rows, older ones on request.

import { listJobs } from "./api.js";
import { announce, byId, projectControl, setHidden, setText } from "./dom.js";
import { JobRow } from "./job_row.js";
import { changes, extended, isFinished, merged } from "./jobs.js";
import { Poller } from "./poller.js";

const PAGE_SIZE = 25;
const LARGEST_PAGE = 200;
const TYPING_MILLISECONDS = 400;

export class JobList {
  #jobs = [];
  #nextCursor = null;
  // Counts the lists shown so far: what was asked for one doesn't belong into the next.
  #listing = 0;
  #rows = new Map();
  #awaited = new Set();
  #project;
  #typing = 0;
  #poller = new Poller((signal) => this.#look(signal), byId("freshness"));

  constructor() {
    byId("filter-status").addEventListener("change", () => this.#filterChanged());
    byId("filters").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#filterChanged();
    });
    byId("more").addEventListener("click", () => this.#loadMore());
  }

  /** Begin anew for a caller who may see `projects` (null: whatever there is). */
  reset(projects) {
    this.stop();
    clearTimeout(this.#typing);
    const place = byId("filter-project-place");
    this.#project = projectControl(place, "filter-project", projects, "All projects");
    this.#project.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#filterChanged(), TYPING_MILLISECONDS);
    });
    byId("filter-status").value = "";
    this.#awaited.clear();
    this.#forgetJobs();
  }

  start() {
    this.#poller.start();
  }

  stop() {
    this.#poller.stop();
  }

  /** A job that was just accepted: look soon until the list has it. */
  expect(jobId) {
    this.#awaited.add(jobId);
    this.#poller.now();
  }

  async #look(signal) {
    const wanted = Math.max(PAGE_SIZE, this.#jobs.length);
    const fresh = [];
    let cursor = null;
    let requests = 0;
    do {
      const limit = Math.min(LARGEST_PAGE, wanted - fresh.length);
      const page = await listJobs({ ...this.#filters(), limit, cursor }, signal);
      fresh.push(...page.jobs);
      cursor = page.nextCursor;
      requests += 1;
    } while (cursor !== null && fresh.length < wanted);
    signal.throwIfAborted();
    const { jobs, reachesEnd } = merged(this.#jobs, fresh, cursor !== null);
    for (const sentence of changes(this.#jobs, jobs)) {
      announce(sentence);
    }
    this.#show(jobs, reachesEnd ? cursor : this.#nextCursor);
    return { unfinished: this.#awaited.size > 0 || !jobs.every(isFinished), requests };
  }

  async #loadMore() {
    const button = byId("more");
    if (button.getAttribute("aria-disabled") === "true") {
      return;
    }
    button.setAttribute("aria-disabled", "true");
    const query = { ...this.#filters(), limit: PAGE_SIZE, cursor: this.#nextCursor };
    const listing = this.#listing;
    try {
      const page = await listJobs(query);
      if (listing === this.#listing) {
        const before = this.#jobs.length;
        this.#show(extended(this.#jobs, page.jobs), page.nextCursor);
        this.#rows.get(this.#jobs[before]?.job_id)?.focus();
      }
    } catch {
      // The list's own look meets the same failure and tells of it.
      this.#poller.now();
    } finally {
      button.setAttribute("aria-disabled", "false");
    }
  }

  #filters() {
    return { project_id: this.#project.value.trim(), status: byId("filter-status").value };
  }

  #filterChanged() {
    clearTimeout(this.#typing);
    this.#forgetJobs();
    this.#poller.start();
  }

  #forgetJobs() {
    this.#listing += 1;
    this.#show([], null);
    setText(byId("no-jobs"), "");
    this.#poller.reset();
  }

  #show(jobs, nextCursor) {
    this.#jobs = jobs;
    this.#nextCursor = nextCursor;
    const table = byId("jobs");
    const listed = new Set(jobs.map((job) => job.job_id));
    for (const [jobId, { node }] of this.#rows) {
      if (!listed.has(jobId)) {
        if (node.contains(document.activeElement)) {
          byId("jobs-title").focus();
        }
        node.remove();
        this.#rows.delete(jobId);
      }
    }
    let place = table.tHead.nextElementSibling;
    for (const job of jobs) {
      this.#awaited.delete(job.job_id);
      const { node } = this.#row(job);
      if (node === place) {
        place = place.nextElementSibling;
      } else {
        // A row that stays is not moved: it would lose the focus.
        table.insertBefore(node, place);
      }
    }
    table.hidden = jobs.length === 0;
    const filtered = Object.values(this.#filters()).some((value) => value !== "");
    const nothing = filtered ? "No job matches these filters." : "No exports yet.";
    setText(byId("no-jobs"), jobs.length > 0 ? "" : nothing);
    setHidden(byId("more"), nextCursor === null, byId("jobs-title"));
  }

  #row(job) {
    let row = this.#rows.get(job.job_id);
    if (row) {
      row.update(job);
    } else {
      row = new JobRow(job, () => this.#cancellationChanged(job.job_id));
      this.#rows.set(job.job_id, row);
    }
    return row;
  }

  #cancellationChanged(jobId) {
    const job = this.#jobs.find((candidate) => candidate.job_id === jobId);
    if (job) {
      this.#rows.get(jobId).update(job);
    }
    this.#poller.now();
  }
}
