// The line that says how old what you see is.

import { Problem } from "./api.js";
import { announce, element, setHidden, setText } from "./dom.js";
import { clockTime } from "./format.js";

export class Freshness {
  #line;
  #text = element("span");
  #again = element("button", { type: "button", class: "quiet", hidden: "" }, "Try now");
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

  /** Say how a look went, as a Poller reports it. */
  report({ error = null, retrySeconds = 0 }) {
    const wasFailing = this.#failing;
    this.#failing = error !== null;
    if (error) {
      this.#show(this.#complaint(error, retrySeconds));
    } else {
      this.#reachedAt = new Date();
      this.#show(`Live. Checked at ${clockTime(this.#reachedAt)}.`);
    }
    if (wasFailing !== this.#failing) {
      announce(error ? this.#text.textContent : "The server answers again.");
    }
  }

  #complaint(error, seconds) {
    const since = this.#reachedAt ? clockTime(this.#reachedAt) : null;
    if (error instanceof Problem && error.status < 500 && error.status !== 429) {
      return error.message;
    }
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
