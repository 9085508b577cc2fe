// Puts the page together: signing in and out, and which view is shown.

import { listJobs } from "./api.js";
import { announce, byId, setText } from "./dom.js";
import { ExportForm } from "./export_form.js";
import { localTime } from "./format.js";
import { forgetCancellations } from "./job_actions.js";
import { JobList } from "./job_list.js";
import { JobPage } from "./job_page.js";
import * as projectChoices from "./project_choices.js";
import * as session from "./session.js";

const TITLE = document.title;
const PROJECTS_CLAIM = document.querySelector("meta[name=projects-claim]").content;
const JOB_ROUTE = /^#\/jobs\/([0-9A-Za-z-]+)$/;

const list = new JobList();
const page = new JobPage();
const form = new ExportForm((job) => list.expect(job.job_id));

session.onEnd(signedOut);
byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn();
});
// Disabled until now: pressed before this script was there, it would have done nothing.
byId("sign-in-submit").disabled = false;
byId("sign-out").addEventListener("click", () => session.end());
byId("skip").addEventListener("click", (event) => {
  // Followed as a link, it would change the route.
  event.preventDefault();
  byId("main").focus();
});
window.addEventListener("hashchange", () => {
  if (session.isOpen()) {
    showRoute();
  }
});

async function signIn() {
  const field = byId("token");
  const button = byId("sign-in-submit");
  if (button.getAttribute("aria-disabled") === "true") {
    return;
  }
  complain("");
  const token = session.tokenIn(field.value);
  if (token === null) {
    complain(field.value.trim() ? "This is no token: paste it again." : "Paste a token first.");
    field.focus();
    return;
  }
  button.setAttribute("aria-disabled", "true");
  session.begin(token);
  try {
    await listJobs({ limit: 1 });
    field.value = "";
    signedIn(session.claimsOf(token));
  } catch (error) {
    session.end();
    complain(error.message);
    field.focus();
  } finally {
    button.setAttribute("aria-disabled", "false");
  }
}

function signedIn(claims) {
  const expiry = session.expiryOf(claims);
  const subject = session.subjectOf(claims);
  setText(byId("subject"), subject);
  const until = byId("expiry");
  setText(until, expiry ? localTime(expiry) : "");
  until.dateTime = expiry?.toISOString() ?? "";
  until.title = until.dateTime;
  byId("expiry-words").hidden = !expiry;
  byId("session").hidden = false;
  byId("sign-in").hidden = true;
  const projects = session.projectsOf(claims, PROJECTS_CLAIM);
  form.reset(projects);
  list.reset(projects);
  // A token that names its projects has brought the choice along.
  if (projects === null) {
    projectChoices.look();
  }
  announce(`Signed in as ${subject}.`);
  showRoute();
}

function signedOut(sentence) {
  list.reset(null);
  page.stop();
  form.reset(null);
  projectChoices.forget();
  forgetCancellations();
  setText(byId("subject"), "");
  for (const id of ["session", "exports", "job"]) {
    byId(id).hidden = true;
  }
  byId("sign-in").hidden = false;
  document.title = TITLE;
  complain(sentence);
  byId("token").focus();
}

function complain(sentence) {
  setText(byId("sign-in-error"), sentence);
  byId("token").setAttribute("aria-invalid", String(sentence !== ""));
}

function showRoute() {
  const jobId = JOB_ROUTE.exec(location.hash)?.[1] ?? null;
  byId("exports").hidden = jobId !== null;
  byId("job").hidden = jobId === null;
  document.title = jobId ? `Job ${jobId.slice(0, 8)} – ${TITLE}` : TITLE;
  if (jobId) {
    list.stop();
    page.start(jobId);
    byId("job-title").focus();
  } else {
    page.stop();
    list.start();
    byId("exports-title").focus();
  }
  window.scrollTo(0, 0);
}
