// What the fields for a project suggest: the projects that the caller may export.

import { listProjects } from "./api.js";
import { byId, element } from "./dom.js";

const PAGE_SIZE = 200;
// Nobody reads through more than a thousand; any other id can be typed all the same.
const MOST_PAGES = 5;

let looking = new AbortController();

/** Suggest nothing: what was known is another caller's, or was. */
export function forget() {
  looking.abort();
  byId("projects").replaceChildren();
}

/** Suggest what there is, as it becomes known; without an answer the fields just take any text. */
export async function look() {
  forget();
  looking = new AbortController();
  const { signal } = looking;
  let cursor = null;
  try {
    for (let pages = 0; pages === 0 || (cursor !== null && pages < MOST_PAGES); pages += 1) {
      const page = await listProjects({ limit: PAGE_SIZE, cursor }, signal);
      signal.throwIfAborted();
      byId("projects").append(...page.projects.map(choice));
      cursor = page.nextCursor;
    }
  } catch {
    // The list of jobs meets the same failure and tells of it.
  }
}

/** A suggestion; one that is held back says so beside its id. */
function choice({ project_id: value, suspended }) {
  return element("option", { value, label: suspended ? `${value}, suspended` : null });
}
