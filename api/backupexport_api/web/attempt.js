// One wish for an export may take several requests; its Idempotency-Key makes them one job.

/** The attempt to send `body` with: `previous` where that may still be carried out. */
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
