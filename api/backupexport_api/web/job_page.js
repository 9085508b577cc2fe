// One job on a page of its own, for links such as #/jobs/<id>.

import { getJob } from "./api.js";
import { announce, byId } from "./dom.js";
import { Freshness } from "./freshness.js";
import { JobCard } from "./job_card.js";
import { JobStream } from "./job_stream.js";
import { changes, isFinished } from "./jobs.js";
import { Poller } from "./poller.js";

// Where streams don't get through, one is tried so often.
const STREAM_AGAIN_MILLISECONDS = 60_000;

export class JobPage {
  #jobId = null;
  #job = null;
  #card = null;
  #stream = null;
  #streamNotBefore = 0;
  #freshness = new Freshness(byId("job-freshness"), () => this.#poller.now());
  #poller = new Poller(
    (signal) => this.#look(signal),
    (outcome) => this.#freshness.report(outcome),
  );

  start(jobId) {
    this.stop();
    this.#jobId = jobId;
    this.#stream = new JobStream(jobId);
    this.#streamNotBefore = 0;
    this.#freshness.reset();
    this.#poller.start();
  }

  /** Stop, and show nothing any more. */
  stop() {
    this.#poller.stop();
    this.#job = null;
    this.#card = null;
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
          return { unfinished: end !== "done", requests: 1, pause: this.#pauseAfter(end) };
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

  #pauseAfter(end) {
    return end === "cut" ? this.#stream.pauseSeconds : null;
  }

  #heard(job, signal) {
    if (signal.aborted) {
      return;
    }
    if (job) {
      this.#show(job);
    }
    this.#freshness.report({});
  }

  #show(job) {
    if (this.#card) {
      this.#card.update(job);
      changes([this.#job], [job]).forEach(announce);
    } else {
      this.#card = new JobCard(job, { heading: "h2", changed: () => this.#changed() });
      this.#card.open();
      byId("job-place").replaceChildren(this.#card.node);
    }
    this.#job = job;
  }

  #changed() {
    this.#card?.update(this.#job);
    this.#poller.now();
  }
}
