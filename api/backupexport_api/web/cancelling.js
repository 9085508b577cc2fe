// Cancelling a job: the question, the request, and which jobs were asked to end.

import { cancelJob } from "./api.js";
import { announce, byId, setText } from "./dom.js";

const asked = new Set();
const refused = new Map();

/** Whether the job was asked to end from this page. */
export function isCancelling(jobId) {
  return asked.has(jobId);
}

/** Why the job could not be cancelled, or "". */
export function refusal(jobId) {
  return refused.get(jobId) ?? "";
}

/** Ask, then cancel; `changed` is called whenever there is something new to show. */
export async function cancelAfterAsking(job, changed) {
  if (!(await confirmed(job))) {
    return;
  }
  refused.delete(job.job_id);
  asked.add(job.job_id);
  announce(`Cancelling the export of ${job.project_id}.`);
  changed();
  try {
    await cancelJob(job.job_id);
  } catch (error) {
    asked.delete(job.job_id);
    refused.set(job.job_id, error.message);
    announce(error.message);
  }
  changed();
}

/** Forget what belongs to the caller who has signed out. */
export function forget() {
  asked.clear();
  refused.clear();
  byId("confirm").close();
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
