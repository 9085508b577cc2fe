// The form that requests an export.

import { isUncertain, requestExport } from "./api.js";
import { announce, byId, element, projectControl, setText } from "./dom.js";
import { capital } from "./format.js";

// Where the server's word on a field is shown.
const FIELDS = {
  project_id: "export-project",
  format: "export-format",
  compress: "export-compression",
  compression: "export-compression",
  storage_path: "export-path",
  notify_email: "export-email",
  content: "export-content",
  owner: "export-owner",
  privileges: "export-privileges",
};
// Each is a list, of patterns or recipients, one a line.
const LISTS = {
  encrypt_to: "export-encrypt-to",
  include_schemas: "export-include-schemas",
  exclude_schemas: "export-exclude-schemas",
  include_tables: "export-include-tables",
  exclude_tables: "export-exclude-tables",
  exclude_table_data: "export-exclude-table-data",
};
const IDS = { ...FIELDS, ...LISTS };
const CODES_ABOUT_THE_PROJECT = ["project_forbidden", "project_not_found"];
const UNCERTAIN =
  "It may have been accepted all the same. Press the button again: that never makes a second one.";

export class ExportForm {
  #accepted;
  #attempt = null;
  #sending = false;
  #allowedAt = 0;
  #countdown = 0;

  /** `accepted(job)` is called for each job that the server has stored. */
  constructor(accepted) {
    this.#accepted = accepted;
    byId("export-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Begin anew for a caller who may export `projects` (null: whatever there is). */
  reset(projects) {
    byId("export-form").reset();
    this.#attempt = null;
    this.#allowedAt = 0;
    this.#showCountdown();
    this.#clearMessages();
    const project = projectControl(byId("export-project-place"), "export-project", projects);
    project.setAttribute("aria-describedby", "export-project-error");
    project.setAttribute("aria-required", "true");
  }

  async #submit() {
    if (this.#sending || Date.now() < this.#allowedAt) {
      return;
    }
    this.#clearMessages();
    const fields = filledIn();
    if (!fields.project_id) {
      this.#refuseFields([{ field: "project_id", message: "is required" }]);
      return;
    }
    this.#attempt = attemptFor(this.#attempt, JSON.stringify(fields));
    const attempt = this.#attempt;
    this.#sending = true;
    this.#showButton();
    try {
      const { job, replayed } = await requestExport(fields, attempt.key);
      attempt.settled = true;
      this.#showAccepted(job, replayed);
      this.#accepted(job);
    } catch (error) {
      attempt.settled = isSettledBy(error.status ?? 0);
      this.#showFailure(error);
    } finally {
      this.#sending = false;
      this.#showButton();
    }
  }

  #showAccepted(job, replayed) {
    const sentence = replayed ? "That export was already accepted." : "Accepted.";
    const link = element("a", { href: `#/jobs/${job.job_id}` }, "Show the job");
    showMessage("good", sentence, " ", link);
    announce(`${sentence} Export of ${job.project_id}.`);
  }

  #showFailure(error) {
    if (error.status === 401) {
      return;
    }
    if (error.status === 429) {
      this.#allowedAt = Date.now() + (error.retryAfter ?? 1) * 1000;
      this.#complain("Too many requests for now: wait for the button.");
      this.#showCountdown();
    } else if (error.errors?.length > 0) {
      this.#refuseFields(error.errors);
    } else if (CODES_ABOUT_THE_PROJECT.includes(error.code)) {
      this.#refuseFields([{ field: "project_id", message: error.message }]);
    } else {
      this.#complain(isUncertain(error) ? `${error.message} ${UNCERTAIN}` : error.message);
    }
  }

  #refuseFields(errors) {
    const elsewhere = [];
    for (const { field, message } of errors) {
      // "exclude_tables.3" is the list's fourth pattern.
      const id = IDS[field.split(".")[0]];
      if (id) {
        byId(id).setAttribute("aria-invalid", "true");
        const line = byId(`${id}-error`);
        setText(line, line.textContent ? `${line.textContent}; ${message}` : capital(message));
      } else {
        elsewhere.push(`${field} ${message}`);
      }
    }
    if (elsewhere.length > 0) {
      this.#complain(elsewhere.join("; "));
    }
    const first = byId("export-form").querySelector("[aria-invalid]");
    first?.closest("details")?.setAttribute("open", "");
    first?.focus();
  }

  #complain(sentence) {
    showMessage("bad", sentence);
    announce(sentence);
  }

  #clearMessages() {
    showMessage("");
    for (const id of Object.values(IDS)) {
      byId(id)?.removeAttribute("aria-invalid");
      setText(byId(`${id}-error`), "");
    }
  }

  #showCountdown() {
    clearTimeout(this.#countdown);
    const left = this.#allowedAt - Date.now();
    if (left > 0) {
      this.#countdown = setTimeout(() => this.#showCountdown(), left % 1000 || 1000);
    } else if (this.#allowedAt > 0) {
      this.#allowedAt = 0;
      this.#clearMessages();
      announce("You can request an export again.");
    }
    this.#showButton();
  }

  #showButton() {
    // Not `disabled`, which would take the focus away.
    const seconds = Math.ceil((this.#allowedAt - Date.now()) / 1000);
    const waiting = seconds > 0 ? `Wait ${seconds} s` : "Start the export";
    setText(byId("export-submit"), this.#sending ? "Sending…" : waiting);
    byId("export-submit").setAttribute("aria-disabled", String(this.#sending || seconds > 0));
  }
}

function showMessage(kind, ...content) {
  byId("export-message").className = `message ${kind}`;
  byId("export-message").replaceChildren(...content);
}

/** The form's values as the API takes them; what is left empty is left out. */
function filledIn() {
  const compression = byId("export-compression").value;
  const fields = {
    project_id: byId("export-project").value.trim(),
    format: byId("export-format").value,
    storage_path: byId("export-path").value.trim(),
    notify_email: byId("export-email").value.trim(),
    content: byId("export-content").value,
  };
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));
  for (const [field, id] of Object.entries(LISTS)) {
    const lines = byId(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (lines.length > 0) {
      given[field] = lines;
    }
  }
  for (const field of ["owner", "privileges"]) {
    given[field] = byId(FIELDS[field]).checked;
  }
  return compression === "none"
    ? { ...given, compress: false }
    : { ...given, compress: true, compression };
}

/** The attempt to send `body` with: `previous`, and so one job, while that may be carried out. */
export function attemptFor(previous, body) {
  return previous && !previous.settled && previous.body === body
    ? previous
    : { body, key: newKey(), settled: false };
}

/** Whether an answer with this status is the last word on the request. */
export function isSettledBy(status) {
  return status >= 200 && status < 500 && status !== 401 && status !== 429;
}

function newKey() {
  // randomUUID is missing where the page came over plain http from another machine.
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].join("-");
}
