// Fetching a job's file: the browser gets a link that needs no token, for a moment.

import { linkToFile } from "./api.js";
import { announce, element, setText } from "./dom.js";

const LABEL = "Download";

/** A button that downloads the file of the job that `job()` gives, and the line with a refusal. */
export function downloadControl(job) {
  const button = element("button", { type: "button", class: "download" });
  const refusal = element("p", { class: "error" });
  show(LABEL, "");
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") {
      return;
    }
    show("Preparing…", "");
    try {
      follow(await linkToFile(job().job_id));
      announce(`The download of ${job().project_id} begins.`);
      show(LABEL, "");
    } catch (error) {
      announce(error.message);
      show(LABEL, error.message);
    }
  });
  return { button, refusal };

  function show(label, complaint) {
    setText(button, label);
    button.setAttribute("aria-label", `${label} ${job().project_id}`);
    button.setAttribute("aria-disabled", String(label !== LABEL));
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
