// Starts the page. Where a part of it did not arrive, as happens when a machine changes networks,
// the page is loaded once more; without this it would look well and do nothing.

import("./app.js").catch((error) => {
  if (performance.getEntriesByType("navigation")[0]?.type !== "reload") {
    location.reload();
    return;
  }
  document.getElementById("sign-in-error").textContent =
    "A part of this page did not arrive. Reload it.";
  console.warn(error);
});
