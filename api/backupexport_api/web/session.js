// Who is signed in. The token lives here alone; what it says is for display, and checked elsewhere.

const TOKEN = /^[\x21-\x7e]+$/;

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

/** The value of the Authorization header. */
export function authorization() {
  return `Bearer ${token}`;
}

/** The token out of what was pasted, or null where no header could carry it. */
export function tokenIn(text) {
  const pasted = text.trim().replace(/^Bearer\s+/i, "");
  return TOKEN.test(pasted) ? pasted : null;
}

/** A token's claims; none where it is no JWT. */
export function claimsOf(text) {
  try {
    const payload = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const read = JSON.parse(new TextDecoder().decode(bytes));
    return read !== null && typeof read === "object" ? read : {};
  } catch {
    return {};
  }
}

/** Who the token speaks for. */
export function subjectOf({ sub }) {
  return typeof sub === "string" && sub !== "" ? sub : "an unnamed caller";
}

/** When the token stops working, or null where it doesn't say. */
export function expiryOf({ exp }) {
  const moment = new Date(typeof exp === "number" ? exp * 1000 : NaN);
  return Number.isNaN(moment.getTime()) ? null : moment;
}

/** The only projects the token is good for by `claim`, or null where that names none. */
export function projectsOf(read, claim) {
  const listed = read[claim];
  const isList = Array.isArray(listed) && listed.every((item) => typeof item === "string");
  return isList && listed.length > 0 && !listed.includes("*") ? [...listed].sort() : null;
}
