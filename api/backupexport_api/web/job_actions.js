// What can be done with a job: cancelling it, and fetching its file.

import { cancelJob, linkToFile } from "./api.js";
import { announce, byId, element, setText } from "./dom.js";

const DOWNLOAD = "Download";

// By job: "" since it was asked to end, else why it could not be cancelled.
const cancellations = new Map();

/** Whether the job was asked to end from this page. */
export function isCancelling(jobId) {
  return cancellations.get(jobId) === "";
}

/** Why the job could not be cancelled, or "". */
export function cancelRefusal(jobId) {
  return cancellations.get(jobId) ?? "";
}

/** Forget what belongs to the caller who has signed out. */
export function forgetCancellations() {
  cancellations.clear();
  byId("confirm").close();
}

/** Ask, then cancel; `changed` is called whenever there is something new to show. */
export async function cancelAfterAsking(job, changed) {
  if (isCancelling(job.job_id) || !(await confirmed(job))) {
    return;
  }
  cancellations.set(job.job_id, "");
  announce(`Cancelling the export of ${job.project_id}.`);
  changed();
  try {
    await cancelJob(job.job_id);
  } catch (error) {
    cancellations.set(job.job_id, error.message);
    announce(error.message);
  }
  changed();
}

function confirmed(job) {
  const dialog = byId("confirm");
  setText(byId("confirm-project"), job.project_id);
  dialog.returnValue = "";
  // A dialog gives the focus back to where it came from by itself.
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** A button that downloads the file of the job that `job()` gives, and the line with a refusal. */
export function downloadControl(job) {
  const button = element("button", { type: "button", class: "download" });
  const refusal = element("p", { class: "error" });
  show(DOWNLOAD, "");
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") {
      return;
    }
    show("Preparing…", "");
    try {
      follow(await linkToFile(job().job_id));
      announce(`The download of ${job().project_id} begins.`);
      show(DOWNLOAD, "");
    } catch (error) {
      announce(error.message);
      show(DOWNLOAD, error.message);
    }
  });
  return { button, refusal };

  function show(label, complaint) {
    setText(button, label);
    button.setAttribute("aria-label", `${label} ${job().project_id}`);
    button.setAttribute("aria-disabled", String(label !== DOWNLOAD));
    setText(refusal, complaint);
    refusal.hidden = complaint === "";
  }
}

function follow(url) {
  const link = element("a", { href: url, download: "" });
  link.hidden = true;
  document.body.append(link);
  link.click();
  link.remove();
}
