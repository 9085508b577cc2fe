// One job as its stream of events shows it, from one connection to the next.

import { openEvents } from "./api.js";

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
   * Follow the job while one connection lasts; `heard` gets its states, null for a sign of life.
   * "done": nothing more is to come; "cut": it goes on with the next connection; "gone": the job
   * was deleted. Throws where there is no stream to be had, or none that makes sense.
   */
  async follow(signal, heard) {
    const silence = new AbortController();
    let begun = false;
    let timer = setTimeout(() => silence.abort(), BEGINNING_MILLISECONDS);
    try {
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
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MILLISECONDS);
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
      clearTimeout(timer);
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

// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
/** Takes Server-Sent Events out of text that comes in pieces. */
export class EventParser {
  lastEventId = "";
  retryMilliseconds = null;
  #rest = "";
  #id = "";
  #type = "";
  #data = [];

  /** The events that are complete with `text`: `{type, data}`. */
  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    const events = [];
    for (const line of lines) {
      if (line !== "") {
        this.#take(line);
        continue;
      }
      if (this.#data.length > 0) {
        events.push({ type: this.#type || "message", data: this.#data.join("\n") });
      }
      // Not before the whole event is there: after a cut it has to come again.
      this.lastEventId = this.#id;
      this.#type = "";
      this.#data = [];
    }
    return events;
  }

  /** Forget an event that was cut in the middle. */
  cut() {
    this.#rest = "";
    this.#id = this.lastEventId;
    this.#type = "";
    this.#data = [];
  }

  #take(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    // Not by a regular expression's dot, which stops at U+2028: JSON may hold it as it is.
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") {
      this.#data.push(value);
    } else if (name === "event") {
      this.#type = value;
    } else if (name === "id") {
      this.#id = value;
    } else if (name === "retry" && /^\d+$/.test(value)) {
      this.retryMilliseconds = Number(value);
    }
  }
}
