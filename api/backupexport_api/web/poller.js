// Looks again and again: soon while something happens, slowly while nothing does, not while nobody
// watches, ever later while the server can't be reached. A line says how old what you see is.

import { Problem } from "./api.js";
import { announce, element, setHidden, setText } from "./dom.js";
import { clockTime } from "./format.js";

const BUSY_SECONDS = 2;
const IDLE_SECONDS = 12;
const LONGEST_RETRY_SECONDS = 60;

export class Poller {
  #look;
  #freshness;
  #running = false;
  #timer = 0;
  #current = null;
  #failures = 0;

  /** `look(signal)` asks and says `{unfinished, requests, pause}` (seconds); `line` tells of it. */
  constructor(look, line) {
    this.#look = look;
    this.#freshness = new Freshness(line, () => this.now());
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
    window.addEventListener("online", () => this.now());
  }

  start() {
    this.#running = true;
    this.#failures = 0;
    this.now();
  }

  stop() {
    this.#running = false;
    this.#drop();
  }

  /** What is shown from now on has not been asked for yet. */
  reset() {
    this.#freshness.reset();
  }

  /** The server has answered, in a look that goes on. */
  heard() {
    this.#freshness.reached();
  }

  /** Look at once; a look that is under way would bring older news, so it is dropped. */
  async now() {
    if (!this.#running) {
      return;
    }
    this.#drop();
    const current = new AbortController();
    this.#current = current;
    let seconds;
    try {
      const result = await this.#look(current.signal);
      if (this.#current !== current) {
        return;
      }
      this.#failures = 0;
      seconds = result.pause ?? pauseSeconds(result);
      this.#freshness.reached();
    } catch (error) {
      if (this.#current !== current) {
        return;
      }
      this.#failures += 1;
      seconds = retrySeconds(this.#failures, error.retryAfter ?? 0);
      this.#freshness.failed(error, seconds);
      if (isFinal(error)) {
        this.#current = null;
        return;
      }
    }
    this.#current = null;
    if (document.visibilityState === "visible") {
      this.#timer = setTimeout(() => this.now(), seconds * 1000);
    }
  }

  #visibilityChanged() {
    this.#drop();
    if (document.visibilityState === "visible") {
      this.now();
    }
  }

  /** Forget the next look, and the one that is under way, which may last for hours. */
  #drop() {
    clearTimeout(this.#timer);
    this.#current?.abort();
    this.#current = null;
  }
}

/** After a success: seconds; a look that took several requests is made as much rarer. */
export function pauseSeconds({ unfinished, requests }) {
  return (unfinished ? BUSY_SECONDS : IDLE_SECONDS) * Math.max(1, requests);
}

/** After `failures` in a row: seconds, doubling, and never less than the server asked for. */
export function retrySeconds(failures, retryAfter = 0, random = Math.random()) {
  const doubled = Math.min(LONGEST_RETRY_SECONDS, BUSY_SECONDS * 2 ** (failures - 1));
  // Spread, so that many pages don't come back at the same moment.
  return Math.max(retryAfter, doubled * (0.75 + random / 4));
}

/** Whether asking again would be answered alike. */
function isFinal(error) {
  return error instanceof Problem && error.status < 500 && error.status !== 429;
}

class Freshness {
  #line;
  #text = element("span");
  #again = element("button", { type: "button", class: "quiet" }, "Try now");
  #reachedAt = null;
  #failing = false;

  constructor(line, tryNow) {
    this.#line = line;
    this.#again.addEventListener("click", tryNow);
    line.append(this.#text, this.#again);
    this.reset();
  }

  reset() {
    this.#reachedAt = null;
    this.#failing = false;
    this.#show("Loading…");
  }

  reached() {
    this.#reachedAt = new Date();
    if (this.#failing) {
      announce("The server answers again.");
    }
    this.#failing = false;
    this.#show(`Live. Checked at ${clockTime(this.#reachedAt)}.`);
  }

  failed(error, retrySeconds) {
    const complaint = this.#complaint(error, retrySeconds);
    if (!this.#failing) {
      announce(complaint);
    }
    this.#failing = true;
    this.#show(complaint);
  }

  #complaint(error, seconds) {
    if (isFinal(error)) {
      return error.message;
    }
    const since = this.#reachedAt && clockTime(this.#reachedAt);
    const next = `Trying again at ${clockTime(new Date(Date.now() + seconds * 1000))}.`;
    if (error instanceof Problem) {
      const age = since ? `What you see is from ${since}. ` : "";
      return `${error.message} ${age}${next}`;
    }
    return since ? `Not reached since ${since}. ${next}` : `${error.message} ${next}`;
  }

  #show(text) {
    setText(this.#text, text);
    this.#line.classList.toggle("failing", this.#failing);
    setHidden(this.#again, !this.#failing, this.#line);
  }
}
