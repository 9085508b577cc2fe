// Looks again and again: soon while something happens, slowly while nothing does, not at all while
// nobody watches, and with growing pauses while the server can't be reached.

import { pauseSeconds, retrySeconds } from "./pace.js";
import { Problem } from "./api.js";

export class Poller {
  #look;
  #report;
  #running = false;
  #timer = 0;
  #current = null;
  #failures = 0;

  /**
   * `look(signal)` asks the server and says `{unfinished, requests}`, and with `pause` how many
   * seconds to wait where it knows better; `report` hears how each look went: `{}`, or
   * `{error, retrySeconds}`.
   */
  constructor(look, report) {
    this.#look = look;
    this.#report = report;
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
      this.#report({});
    } catch (error) {
      if (this.#current !== current) {
        return;
      }
      this.#failures += 1;
      seconds = retrySeconds(this.#failures, error.retryAfter ?? 0);
      this.#report({ error, retrySeconds: seconds });
      if (error instanceof Problem && error.status < 500 && error.status !== 429) {
        // Asking again would be answered alike.
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
