// One job on the page. A card is made once and then brought up to date in place, so that focus,
// selection and opened details stay.

import { cancelAfterAsking, isCancelling, refusal } from "./cancelling.js";
import { showDeliveries } from "./deliveries.js";
import { copyButton, element, setHidden, setText } from "./dom.js";
import { downloadControl } from "./download.js";
import * as format from "./format.js";
import { isFinished } from "./jobs.js";

const SYMBOLS = { pending: "○", running: "▶", completed: "✓", failed: "✕", cancelled: "■" };

export class JobCard {
  node;
  #job;
  #parts;
  #facts = new Map();

  /** `changed` is called when a cancellation has something new to show. */
  constructor(job, { heading, changed }) {
    this.#job = job;
    const title = `job-${job.job_id}`;
    const link = element("a", { href: `#/jobs/${job.job_id}`, id: title });
    const cancel = element("button", { type: "button", class: "danger" });
    cancel.addEventListener("click", () => {
      if (!isCancelling(this.#job.job_id)) {
        cancelAfterAsking(this.#job, changed);
      }
    });
    const download = downloadControl(() => this.#job);
    this.#parts = {
      link,
      download: download.button,
      noDownload: download.refusal,
      cancel,
      symbol: element("span", { "aria-hidden": "true" }),
      status: element("span"),
      badge: element("span", { class: "badge" }),
      kind: element("span"),
      created: element("time"),
      time: element("span"),
      bar: element("progress", { max: "100", "aria-labelledby": title }),
      progress: element("span", { class: "progress-words" }),
      reason: element("strong"),
      message: element("span"),
      error: element("p", { class: "error" }),
      refusal: element("p", { class: "error" }),
      deliveries: element("ul", { class: "deliveries", role: "list", hidden: "" }),
      details: element("details"),
      facts: element("dl"),
      restore: element("section", { class: "restore" }),
      commands: element("code"),
    };
    this.node = this.#assembled(heading);
    this.update(job);
  }

  /** Show `job`, which is the same job as before. */
  update(job) {
    this.#job = job;
    const parts = this.#parts;
    const cancelling = !isFinished(job) && isCancelling(job.job_id);
    setText(parts.link, job.project_id);
    this.node.dataset.status = job.status;
    setText(parts.symbol, SYMBOLS[job.status] ?? "");
    setText(parts.status, cancelling ? "Cancelling…" : format.statusWords(job.status));
    setText(parts.kind, format.kindWords(job));
    showTime(parts.created, job.created_at);
    setText(parts.time, format.runningTime(job, new Date()));
    parts.bar.value = format.progressValue(job);
    setText(parts.progress, format.progressWords(job));
    this.#showError(job);
    showDeliveries(parts.deliveries, format.deliveriesOf(job));
    this.#showDownload(job);
    setText(parts.cancel, cancelling ? "Cancelling…" : "Cancel");
    parts.cancel.setAttribute("aria-label", `${parts.cancel.textContent} ${job.project_id}`);
    parts.cancel.setAttribute("aria-disabled", String(cancelling));
    setHidden(parts.cancel, isFinished(job), parts.link);
    this.#showFacts(job);
    setHidden(parts.restore, !job.artifact);
    setText(parts.commands, job.artifact ? format.restoreCommands(job) : "");
  }

  open() {
    this.#parts.details.open = true;
  }

  focus() {
    this.#parts.link.focus();
  }

  #assembled(heading) {
    const parts = this.#parts;
    parts.badge.append(parts.symbol, " ", parts.status);
    parts.error.append(parts.reason, " ", parts.message);
    const commands = copyButton("Copy", "commands", () => parts.commands.textContent);
    parts.restore.append(
      element("h4", {}, "Check and restore"),
      element(
        "p",
        { class: "hint" },
        "In the folder of the file, into an empty database; the README has more.",
      ),
      element("pre", { tabindex: "0", "aria-label": "Commands" }, parts.commands),
      commands,
    );
    parts.details.append(element("summary", {}, "Details"), parts.facts, parts.restore);
    return element(
      "article",
      { class: "job", "aria-labelledby": parts.link.id },
      element(
        "header",
        {},
        element(heading, { class: "job-title" }, parts.link),
        parts.badge,
        parts.cancel,
        parts.download,
      ),
      element("p", { class: "about" }, parts.kind, parts.created, parts.time),
      element("div", { class: "progress" }, parts.bar, parts.progress),
      parts.error,
      parts.refusal,
      parts.noDownload,
      parts.deliveries,
      parts.details,
    );
  }

  #showError(job) {
    const parts = this.#parts;
    setHidden(parts.error, !job.error || job.status === "cancelled");
    const waits = isFinished(job) ? "" : "Waiting: ";
    setText(parts.reason, job.error ? `${waits}${format.reasonWords(job.error.reason)}.` : "");
    setText(parts.message, job.error?.message ?? "");
    const refused = isFinished(job) ? "" : refusal(job.job_id);
    setText(parts.refusal, refused);
    setHidden(parts.refusal, refused === "");
  }

  #showDownload(job) {
    const { download, link } = this.#parts;
    setHidden(download, job.status !== "completed" || !job.artifact, link);
  }

  #showFacts(job) {
    const file = job.artifact;
    this.#fact("Job id", job.job_id, { copied: "job id" });
    this.#fact("Requested by", job.requested_by);
    this.#fact("Created", job.created_at, { isTime: true });
    this.#fact("Started", job.started_at, { isTime: true });
    this.#fact("Finished", job.completed_at, { isTime: true });
    this.#fact("Directory", job.storage_path);
    this.#fact("File", file?.path, { copied: "path" });
    this.#fact("Size", file && format.bytes(file.size_bytes));
    this.#fact("Before compression", file && format.bytes(file.uncompressed_bytes));
    this.#fact("SHA-256", file?.sha256, { copied: "SHA-256" });
    this.#fact("PostgreSQL", file?.server_version);
    this.#fact("pg_dump", file?.dump_version);
  }

  #fact(name, value, { isTime = false, copied = null } = {}) {
    const known = Boolean(value);
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
    row.hidden = !known;
    if (isTime && known) {
      showTime(text, value);
    } else {
      setText(text, known ? value : "");
    }
  }
}

function showTime(node, iso) {
  node.dateTime = iso;
  node.title = iso;
  setText(node, format.localTime(new Date(iso)));
}
