// One job on a page of its own, for links such as #/jobs/<id>.

import { getJob } from "./api.js";
import { announce, byId, element } from "./dom.js";
import { JobRow } from "./job_row.js";
import { JobStream } from "./job_stream.js";
import { changes, isFinished } from "./jobs.js";
import { Poller } from "./poller.js";

// Where streams don't get through, one is tried so often.
const STREAM_AGAIN_MILLISECONDS = 60_000;

export class JobPage {
  #jobId = null;
  #job = null;
  #row = null;
  #stream = null;
  #streamNotBefore = 0;
  #poller = new Poller((signal) => this.#look(signal), byId("job-freshness"));

  start(jobId) {
    this.stop();
    this.#jobId = jobId;
    this.#stream = new JobStream(jobId);
    this.#streamNotBefore = 0;
    this.#poller.reset();
    this.#poller.start();
  }

  /** Stop, and show nothing any more. */
  stop() {
    this.#poller.stop();
    this.#job = null;
    this.#row = null;
    byId("job-place").replaceChildren();
  }

  /** Follow the job's events where that can be done, else ask once. */
  async #look(signal) {
    let streamFailed = false;
    if (Date.now() >= this.#streamNotBefore) {
      try {
        const end = await this.#stream.follow(signal, (job) => this.#heard(job, signal));
        signal.throwIfAborted();
        if (end !== "gone") {
          const pause = end === "cut" ? this.#stream.pauseSeconds : null;
          return { unfinished: end !== "done", requests: 1, pause };
        }
      } catch (error) {
        signal.throwIfAborted();
        streamFailed = true;
      }
    }
    const job = await getJob(this.#jobId, signal);
    signal.throwIfAborted();
    this.#show(job);
    if (streamFailed) {
      // Not where nothing at all gets through.
      this.#streamNotBefore = Date.now() + STREAM_AGAIN_MILLISECONDS;
    }
    return { unfinished: !isFinished(job), requests: 1 };
  }

  #heard(job, signal) {
    if (signal.aborted) {
      return;
    }
    if (job) {
      this.#show(job);
    }
    this.#poller.heard();
  }

  #show(job) {
    if (this.#row) {
      this.#row.update(job);
      changes([this.#job], [job]).forEach(announce);
    } else {
      this.#row = new JobRow(job, () => this.#changed());
      this.#row.setOpen(true);
      const head = byId("jobs").tHead.cloneNode(true);
      const table = element("table", { class: "jobs", "aria-labelledby": "job-title" });
      table.append(head, this.#row.node);
      byId("job-place").replaceChildren(table);
    }
    this.#job = job;
  }

  #changed() {
    this.#row?.update(this.#job);
    this.#poller.now();
  }
}
