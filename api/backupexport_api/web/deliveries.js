// What has become of the mail and of other deliveries, a line each.

import { element, setText } from "./dom.js";
import { deliveryWords } from "./format.js";

const SYMBOLS = { pending: "○", sent: "✓", failed: "✕" };

/** Bring `list` up to date; lines that stay the same are left alone. */
export function showDeliveries(list, deliveries) {
  deliveries.forEach((delivery, index) => {
    const line = list.children[index] ?? list.appendChild(emptyLine());
    line.dataset.status = delivery.status;
    setText(line.firstChild, SYMBOLS[delivery.status] ?? "");
    setText(line.lastChild, deliveryWords(delivery));
  });
  while (list.children.length > deliveries.length) {
    list.lastChild.remove();
  }
  list.hidden = deliveries.length === 0;
}

function emptyLine() {
  return element("li", {}, element("span", { "aria-hidden": "true" }), element("span"));
}
