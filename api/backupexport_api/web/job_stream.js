// One job as its stream of events shows it, from one connection to the next.

import { openEvents } from "./api.js";
import { EventParser } from "./event_parser.js";

// A stream begins with a hint for its client: one that brings nothing is held back on its way.
const BEGINNING_MILLISECONDS = 8_000;
// Three heartbeats missed.
const SILENCE_MILLISECONDS = 45_000;
const PAUSE_MILLISECONDS = 2_000;

export class JobStream {
  #jobId;
  #parser = new EventParser();

  constructor(jobId) {
    this.#jobId = jobId;
  }

  /** How long to wait before the next connection. */
  get pauseSeconds() {
    return (this.#parser.retryMilliseconds ?? PAUSE_MILLISECONDS) / 1000;
  }

  /**
   * Follow the job for as long as one connection lasts. `heard(job)` is called for each state of
   * it, and with null for a mere sign of life.
   *
   * "done": nothing more is to come; "cut": it goes on with the next connection; "gone": the job
   * was deleted. Throws where there is no stream to be had, or none that makes sense.
   */
  async follow(signal, heard) {
    const silence = new AbortController();
    const watchdog = new Watchdog(() => silence.abort());
    let begun = false;
    try {
      watchdog.expect(BEGINNING_MILLISECONDS);
      const both = AbortSignal.any([signal, silence.signal]);
      const reader = await openEvents(this.#jobId, this.#parser.lastEventId, both);
      if (reader === null) {
        heard(null);
        return "done";
      }
      for (;;) {
        // This alone may be a cut: what we fail to read or to show fails the next time, too.
        const piece = await reader.read().catch((error) => {
          if (signal.aborted || !begun) {
            throw error;
          }
          return { done: true };
        });
        if (piece.done) {
          return "cut";
        }
        begun = true;
        watchdog.expect(SILENCE_MILLISECONDS);
        if (this.#tell(this.#parser.feed(piece.value), heard)) {
          silence.abort();
          return "gone";
        }
      }
    } catch (error) {
      // What is not read any more must not stay open.
      silence.abort();
      throw error;
    } finally {
      watchdog.stop();
      this.#parser.cut();
    }
  }

  #tell(events, heard) {
    if (events.length === 0) {
      heard(null);
    }
    for (const { type, data } of events) {
      if (type === "gone") {
        return true;
      }
      heard(JSON.parse(data));
    }
    return false;
  }
}

/** Calls `bark` when what was expected did not come. */
class Watchdog {
  #bark;
  #timer = 0;

  constructor(bark) {
    this.#bark = bark;
  }

  expect(milliseconds) {
    this.stop();
    this.#timer = setTimeout(this.#bark, milliseconds);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
