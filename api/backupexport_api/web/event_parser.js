// Server-Sent Events out of text that comes in pieces:
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

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
