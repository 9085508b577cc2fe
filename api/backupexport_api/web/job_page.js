// One job on a page of its own, for links such as #/jobs/<id>.

import { getJob } from "./api.js";
import { announce, byId } from "./dom.js";
import { Freshness } from "./freshness.js";
import { JobCard } from "./job_card.js";
import { changes, isFinished } from "./jobs.js";
import { Poller } from "./poller.js";

export class JobPage {
  #jobId = null;
  #job = null;
  #card = null;
  #freshness = new Freshness(byId("job-freshness"), () => this.#poller.now());
  #poller = new Poller(
    (signal) => this.#look(signal),
    (outcome) => this.#freshness.report(outcome),
  );

  start(jobId) {
    this.stop();
    this.#jobId = jobId;
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

  async #look(signal) {
    const job = await getJob(this.#jobId, signal);
    signal.throwIfAborted();
    if (this.#card) {
      this.#card.update(job);
      changes([this.#job], [job]).forEach(announce);
    } else {
      this.#card = new JobCard(job, { heading: "h2", changed: () => this.#changed() });
      this.#card.open();
      byId("job-place").replaceChildren(this.#card.node);
    }
    this.#job = job;
    return { unfinished: !isFinished(job), requests: 1 };
  }

  #changed() {
    this.#card?.update(this.#job);
    this.#poller.now();
  }
}
