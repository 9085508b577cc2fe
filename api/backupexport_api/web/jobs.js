// What is known of jobs, as plain lists: no requests, no page.

import { reasonWords } from "./format.js";

const FINISHED = ["completed", "failed", "cancelled"];

/** Whether the job's status is its last. */
export function isFinished(job) {
  return FINISHED.includes(job.status);
}

/** `known` brought up to date by `fresh`, the newest jobs as the server listed them. */
export function merged(known, fresh, hasMore) {
  if (fresh.length === 0 || !hasMore) {
    return { jobs: fresh, reachesEnd: true };
  }
  // What stands behind was not asked for, so it stays; whatever else `fresh` lacks is gone.
  const last = fresh[fresh.length - 1];
  const older = known.filter((job) => standsBehind(job, last));
  return { jobs: [...fresh, ...older], reachesEnd: older.length === 0 };
}

/** Whether the server lists `job` after `other`: newest first, then by id from the end. */
function standsBehind(job, other) {
  return job.created_at === other.created_at
    ? job.job_id < other.job_id
    : job.created_at < other.created_at;
}

/** `known` and behind it the next page. */
export function extended(known, page) {
  const listed = new Set(known.map((job) => job.job_id));
  return [...known, ...page.filter((job) => !listed.has(job.job_id))];
}

/** A sentence for each job whose status is another than before; new jobs are no change. */
export function changes(before, after) {
  const statuses = new Map(before.map((job) => [job.job_id, job.status]));
  return after
    .filter((job) => statuses.has(job.job_id) && statuses.get(job.job_id) !== job.status)
    .map((job) => `Export of ${job.project_id}: ${outcome(job)}.`);
}

function outcome(job) {
  return job.status === "failed" && job.error
    ? `failed, ${reasonWords(job.error.reason).toLowerCase()}`
    : job.status;
}
