// Starts the page. Where a part of it did not arrive, as when a machine changes networks, the page
// is loaded again, a few times and later each time; else it would look well and do nothing.

const MOST_LOADS = 4;
const FIRST_PAUSE_MS = 300;

import("./app.js").catch((error) => {
  const loads = history.state?.loads ?? 0;
  if (loads < MOST_LOADS) {
    history.replaceState({ loads: loads + 1 }, "");
    setTimeout(() => location.reload(), FIRST_PAUSE_MS * 2 ** loads);
    return;
  }
  document.getElementById("sign-in-error").textContent =
    "A part of this page did not arrive. Reload it.";
  console.warn(error);
});
