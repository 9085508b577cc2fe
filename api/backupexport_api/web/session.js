// Who is signed in. The token lives in this module's memory and nowhere else.

import { readClaims } from "./claims.js";

let token = null;
let whenEnded = () => {};

/** Call `listener` with a sentence, or "", each time a session ends. */
export function onEnd(listener) {
  whenEnded = listener;
}

export function begin(newToken) {
  token = newToken;
}

export function end(sentence = "") {
  if (token !== null) {
    token = null;
    whenEnded(sentence);
  }
}

export function isOpen() {
  return token !== null;
}

export function claims() {
  return readClaims(token ?? "");
}

/** The value of the Authorization header. */
export function authorization() {
  return `Bearer ${token}`;
}
