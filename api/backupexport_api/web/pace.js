// How long to wait before the next request.

const BUSY_SECONDS = 2;
const IDLE_SECONDS = 12;
const LONGEST_RETRY_SECONDS = 60;

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

/** The seconds in a Retry-After header, or null; its other form, a date, is not used here. */
export function retryAfterSeconds(header) {
  return /^\d{1,6}$/.test(header ?? "") ? Number(header) : null;
}
