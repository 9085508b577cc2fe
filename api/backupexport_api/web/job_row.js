// One job in a table: made once, then updated in place, so that focus and opened details stay.

import { copyButton, element, setHidden, setText } from "./dom.js";
import * as format from "./format.js";
import { cancelAfterAsking, cancelRefusal, downloadControl, isCancelling } from "./job_actions.js";
import { isFinished } from "./jobs.js";

const SYMBOLS = { pending: "○", running: "▶", completed: "✓", failed: "✕", cancelled: "■" };
const DECRYPTION =
  "KEY is the file with your identity of age or your private key of ssh. The decrypted file stays " +
  "beside the encrypted one: remove it when you are done.";
const DELIVERY_SYMBOLS = { pending: "○", sent: "✓", failed: "✕" };

export class JobRow {
  node;
  #job;
  #parts;
  #facts = new Map();

  /** `changed` is called when a cancellation has something new to show. */
  constructor(job, changed) {
    this.#job = job;
    const title = `job-${job.job_id}`;
    const toggle = { "aria-expanded": "false", "aria-controls": `${title}-details` };
    const download = downloadControl(() => this.#job);
    this.#parts = {
      link: element("a", { href: `#/jobs/${job.job_id}`, id: title }),
      symbol: element("span", { "aria-hidden": "true" }),
      status: element("span"),
      kind: element("td"),
      created: element("time"),
      time: element("span", { class: "time" }),
      bar: element("progress", { max: "100", "aria-labelledby": title }),
      progress: element("span"),
      reason: element("strong"),
      message: element("span"),
      error: element("p", { class: "error brief" }),
      refusal: element("p", { class: "error" }),
      noDownload: download.refusal,
      unsent: element("p", { class: "error brief unsent" }),
      warned: element("p", { class: "brief warned" }),
      toggle: element("button", { type: "button", class: "toggle", ...toggle }, "Details"),
      cancel: element("button", { type: "button", class: "danger" }),
      download: download.button,
      details: element("tr", { id: `${title}-details`, class: "details", hidden: "" }),
      deliveries: element("ul", { class: "deliveries", role: "list" }),
      facts: element("dl"),
      warnings: element("ul", { class: "remarks", role: "list", "aria-label": "Warnings" }),
      hints: element("ul", { class: "remarks", role: "list", "aria-label": "To restore it" }),
      restore: element("section", { class: "restore" }),
      decryption: element("p", { class: "hint" }, DECRYPTION),
      commands: element("code"),
    };
    const { cancel, details } = this.#parts;
    this.#parts.toggle.addEventListener("click", () => this.setOpen(details.hidden));
    cancel.addEventListener("click", () => cancelAfterAsking(this.#job, changed));
    this.node = this.#assembled();
    this.update(job);
  }

  /** Show `job`, which is the same job as before. */
  update(job) {
    this.#job = job;
    const parts = this.#parts;
    const cancelling = !isFinished(job) && isCancelling(job.job_id);
    const now = new Date();
    this.node.dataset.status = job.status;
    setText(parts.link, job.project_id);
    parts.toggle.setAttribute("aria-label", `Details of ${job.project_id}`);
    setText(parts.symbol, SYMBOLS[job.status] ?? "");
    setText(parts.status, cancelling ? "Cancelling…" : format.capital(job.status));
    setText(parts.kind, format.kindWords(job));
    showTime(parts.created, job.created_at, format.age(now - new Date(job.created_at)));
    const value = format.progressValue(job);
    parts.bar.value = value ?? 0;
    parts.bar.hidden = value === null;
    const progress = format.progressWords(job);
    setText(parts.progress, progress);
    setText(parts.time, progress ? format.runningTime(job, now) : "");
    this.#showError(job);
    this.#showDeliveries(format.deliveriesOf(job));
    setHidden(parts.download, job.status !== "completed" || !job.artifact, parts.link);
    setText(parts.cancel, cancelling ? "Cancelling…" : "Cancel");
    parts.cancel.setAttribute("aria-label", `${parts.cancel.textContent} ${job.project_id}`);
    parts.cancel.setAttribute("aria-disabled", String(cancelling));
    setHidden(parts.cancel, isFinished(job), parts.link);
    this.#showFacts(job);
    setHidden(parts.restore, !job.artifact, parts.link);
    setHidden(parts.decryption, !job.artifact?.encrypted_to.length, parts.link);
    setText(parts.commands, format.commandsOf(job.artifact));
    setText(parts.warned, format.warnedWords(job.warnings));
    setHidden(parts.warned, job.warnings.length === 0);
    showRemarks(parts.warnings, job.warnings);
    showRemarks(parts.hints, job.restore_hints);
  }

  focus() {
    this.#parts.link.focus();
  }

  /** Show the details, or hide them. */
  setOpen(open) {
    const { details, toggle } = this.#parts;
    details.hidden = !open;
    toggle.setAttribute("aria-expanded", String(open));
  }

  #assembled() {
    const parts = this.#parts;
    parts.error.append(parts.reason, " ", parts.message);
    parts.restore.append(
      element("h3", {}, "Check and restore"),
      element(
        "p",
        { class: "hint" },
        "In the folder of the file, by bash, into an empty database; the README has more. " +
          "A restore runs what the database's authors have written, so use a scratch instance " +
          "and a role that is no superuser.",
      ),
      parts.decryption,
      element("pre", { tabindex: "0", "aria-label": "Commands" }, parts.commands),
      parts.hints,
      copyButton("Copy", "commands", () => parts.commands.textContent),
    );
    const outcome = element("td", { class: "outcome" }, parts.bar, parts.progress, " ", parts.time);
    outcome.append(parts.error, parts.refusal, parts.noDownload, parts.unsent, parts.warned);
    const cells = [
      element("td", {}, element("span", { class: "badge" }, parts.symbol, " ", parts.status)),
      element("th", { scope: "row" }, parts.link),
      parts.kind,
      outcome,
      element("td", {}, parts.created),
      element("td", { class: "buttons" }, parts.download, parts.cancel, parts.toggle),
    ];
    const { deliveries, warnings, facts, restore } = parts;
    const details = element("td", { colspan: cells.length }, warnings, deliveries, facts, restore);
    parts.details.append(details);
    return element("tbody", {}, element("tr", {}, ...cells), parts.details);
  }

  #showError(job) {
    const parts = this.#parts;
    setHidden(parts.error, !job.error || job.status === "cancelled");
    const waits = isFinished(job) ? "" : "Waiting: ";
    setText(parts.reason, job.error ? `${waits}${format.reasonWords(job.error.reason)}.` : "");
    setText(parts.message, job.error?.message ?? "");
    const refused = isFinished(job) ? "" : cancelRefusal(job.job_id);
    setText(parts.refusal, refused);
    setHidden(parts.refusal, refused === "");
  }

  #showDeliveries(deliveries) {
    const { unsent, deliveries: list } = this.#parts;
    const failed = deliveries.filter(({ status }) => status === "failed");
    setText(unsent, failed.map(format.deliveryWords).join(" "));
    unsent.hidden = failed.length === 0;
    deliveries.forEach((delivery, index) => {
      const line = list.children[index] ?? list.appendChild(emptyLine());
      line.dataset.status = delivery.status;
      setText(line.firstChild, DELIVERY_SYMBOLS[delivery.status] ?? "");
      setText(line.lastChild, format.deliveryWords(delivery));
    });
    while (list.children.length > deliveries.length) {
      list.lastChild.remove();
    }
    list.hidden = deliveries.length === 0;
  }

  #showFacts(job) {
    const file = job.artifact;
    this.#fact("Job id", job.job_id, { copied: "job id" });
    this.#fact("Requested by", job.requested_by);
    this.#fact("Created", job.created_at, { isTime: true });
    this.#fact("Started", job.started_at, { isTime: true });
    this.#fact("Finished", job.completed_at, { isTime: true });
    this.#fact("Directory", job.storage_path);
    this.#fact("Contents", format.contentWords(job));
    this.#fact("File", file?.path, { copied: "path" });
    this.#fact("Size", file && format.bytes(file.size_bytes));
    this.#fact("Before compression", file && format.bytes(file.uncompressed_bytes));
    this.#fact("Encrypted to", file?.encrypted_to.join(", "));
    this.#fact("SHA-256", file?.sha256, { copied: "SHA-256" });
    this.#fact("PostgreSQL", file?.server_version);
    this.#fact("pg_dump", file?.dump_version);
    this.#fact("Restore with", file?.restore_with);
  }

  #fact(name, value, { isTime = false, copied = null } = {}) {
    if (!this.#facts.has(name)) {
      const text = element(isTime ? "time" : "bdi");
      const row = element("div", {}, element("dt", {}, name), element("dd", {}, text));
      if (copied) {
        row.lastChild.append(copyButton("Copy", copied, () => text.textContent));
      }
      this.#parts.facts.append(row);
      this.#facts.set(name, { row, text });
    }
    const { row, text } = this.#facts.get(name);
    row.hidden = !value;
    if (isTime && value) {
      showTime(text, value, format.localTime(new Date(value)));
    } else {
      setText(text, value || "");
    }
  }
}

function showRemarks(list, remarks) {
  list.replaceChildren(...remarks.map(({ message }) => element("li", {}, message)));
  list.hidden = remarks.length === 0;
}

function emptyLine() {
  return element("li", {}, element("span", { "aria-hidden": "true" }), element("span"));
}

function showTime(node, iso, words) {
  node.dateTime = iso;
  node.title = iso;
  setText(node, words);
}
