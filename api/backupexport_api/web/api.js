// The public API, one function for each operation the page needs.

import * as session from "./session.js";

const TIMEOUT_MILLISECONDS = 15_000;
// The browser follows it at once.
const LINK_SECONDS = 60;
const FETCHING = { credentials: "omit", cache: "no-store", redirect: "error" };

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
  }
}

/** Whether a request may have been carried out all the same. */
export function isUncertain(error) {
  return error instanceof Unreachable || error.status >= 500;
}

export async function requestExport(fields, idempotencyKey) {
  const request = json(fields, { "Idempotency-Key": idempotencyKey });
  const { body, headers } = await call("POST", "api/backup/export", request);
  return { job: body.data, replayed: headers.get("Idempotency-Replayed") === "true" };
}

/** One page of jobs, newest first: `{jobs, nextCursor}`. */
export async function listJobs(query, signal) {
  const { body } = await get("api/jobs", query, signal);
  return { jobs: body.data, nextCursor: body.next_cursor };
}

/** One page of the projects that the token is good for, by id: `{projects, nextCursor}`. */
export async function listProjects(query, signal) {
  const { body } = await get("api/projects", query, signal);
  return { projects: body.data, nextCursor: body.next_cursor };
}

export async function getJob(jobId, signal) {
  const { body } = await call("GET", pathOf(jobId), { signal });
  return body.data;
}

export async function cancelJob(jobId) {
  await call("POST", `${pathOf(jobId)}/cancel`);
}

/** A link to the job's file, here where the page is, that works without a token for a moment. */
export async function linkToFile(jobId) {
  const request = json({ lifetime_seconds: LINK_SECONDS });
  const { body } = await call("POST", `${pathOf(jobId)}/link`, request);
  // Its url is how people elsewhere reach the API: another origin or path, maybe, than the page's.
  const { search } = new URL(body.data.url, document.baseURI);
  return new URL(`${pathOf(jobId)}/download${search}`, document.baseURI).href;
}

/** The job's events after `lastEventId` ("" for all), as pieces of text; null at their end. */
export async function openEvents(jobId, lastEventId, signal) {
  const asked = session.authorization();
  const headers = { Authorization: asked, ...(lastEventId && { "Last-Event-ID": lastEventId }) };
  const url = new URL(`${pathOf(jobId)}/events`, document.baseURI);
  const answer = await fetch(url, { ...FETCHING, headers, signal });
  if (answer.status === 204) {
    return null;
  }
  if (!answer.ok || !answer.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    throw problemOf(answer, await answer.text(), asked);
  }
  return answer.body.pipeThrough(new TextDecoderStream()).getReader();
}

function get(path, query, signal) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  return call("GET", `${path}?${new URLSearchParams(given)}`, { signal });
}

function pathOf(jobId) {
  return `api/jobs/${encodeURIComponent(jobId)}`;
}

function json(fields, others = {}) {
  const headers = { "Content-Type": "application/json", ...others };
  return { body: JSON.stringify(fields), headers };
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
  throw problemOf(answer, text, asked);
}

/** Why `answer` is no success; a session whose token is refused is over. */
function problemOf(answer, text, asked) {
  const retryAfter = retryAfterSeconds(answer.headers.get("Retry-After"));
  // A proxy's error page is no JSON, and neither is what it may send for a success.
  const problem = new Problem(answer.ok ? 502 : answer.status, parse(text) ?? {}, retryAfter);
  if (problem.status === 401 && session.isOpen() && asked === session.authorization()) {
    session.end(problem.message);
  }
  return problem;
}

async function answered(url, options, signal, tries) {
  const timeout = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
  try {
    const answer = await fetch(url, {
      ...options,
      ...FETCHING,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
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

/** The seconds in a Retry-After header, or null; its other form, a date, is not used here. */
export function retryAfterSeconds(header) {
  return /^\d{1,6}$/.test(header ?? "") ? Number(header) : null;
}
