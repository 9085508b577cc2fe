// The public API, one function for each operation the page needs.

import { retryAfterSeconds } from "./pace.js";
import * as session from "./session.js";

const TIMEOUT_MILLISECONDS = 15_000;

/** The server said no. */
export class Problem extends Error {
  constructor(status, { code = "", detail = "", errors = [] }, retryAfter = null) {
    super(detail || `The server answered ${status}.`);
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

/** The server did not answer. */
export class Unreachable extends Error {
  constructor() {
    super("The server can't be reached.");
    this.retryAfter = null;
  }
}

/** Whether a request may have been carried out all the same. */
export function isUncertain(error) {
  return error instanceof Unreachable || error.status >= 500;
}

export async function requestExport(fields, idempotencyKey) {
  const { body, headers } = await call("POST", "api/backup/export", {
    body: JSON.stringify(fields),
    headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
  });
  return { job: body.data, replayed: headers.get("Idempotency-Replayed") === "true" };
}

/** One page of jobs, newest first: `{jobs, nextCursor}`. */
export async function listJobs(query, signal) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  const { body } = await call("GET", `api/jobs?${new URLSearchParams(given)}`, { signal });
  return { jobs: body.data, nextCursor: body.next_cursor };
}

export async function getJob(jobId, signal) {
  const { body } = await call("GET", `api/jobs/${encodeURIComponent(jobId)}`, { signal });
  return body.data;
}

export async function cancelJob(jobId) {
  await call("POST", `api/jobs/${encodeURIComponent(jobId)}/cancel`);
}

async function call(method, path, { body, headers, signal } = {}) {
  const asked = session.authorization();
  const options = { method, body, headers: { ...headers, Authorization: asked } };
  // A change of networks cuts what is under way; to read once more does no harm.
  const tries = method === "GET" ? 2 : 1;
  const { answer, text } = await answered(new URL(path, document.baseURI), options, signal, tries);
  const parsed = parse(text);
  if (answer.ok && parsed !== null) {
    return { body: parsed, headers: answer.headers };
  }
  const retryAfter = retryAfterSeconds(answer.headers.get("Retry-After"));
  // A proxy's error page is no JSON, and neither is what it may send for a success.
  const problem = new Problem(answer.ok ? 502 : answer.status, parsed ?? {}, retryAfter);
  if (problem.status === 401 && session.isOpen() && asked === session.authorization()) {
    session.end(problem.message);
  }
  throw problem;
}

async function answered(url, options, signal, tries) {
  const timeout = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
  try {
    const answer = await fetch(url, {
      ...options,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
    });
    return { answer, text: await answer.text() };
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    if (tries > 1 && !timeout.aborted) {
      return answered(url, options, signal, tries - 1);
    }
    throw new Unreachable();
  }
}

function parse(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}
