// Starts the page, or says that a part of it did not arrive: without this, it would look well and
// do nothing.

import("./app.js").catch((error) => {
  document.getElementById("sign-in-error").textContent =
    "A part of this page did not arrive. Reload it.";
  console.warn(error);
});
