// What a token says about itself, for display only: its signature is the server's business.

const TOKEN = /^[\x21-\x7e]+$/;

/** The token out of what was pasted, or null where no header could carry it. */
export function tokenIn(text) {
  const token = text.trim().replace(/^Bearer\s+/i, "");
  return TOKEN.test(token) ? token : null;
}

/** The token's claims; none where it is no JWT. */
export function readClaims(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims !== null && typeof claims === "object" ? claims : {};
  } catch {
    return {};
  }
}

/** Who the token speaks for. */
export function subjectOf(claims) {
  return typeof claims.sub === "string" && claims.sub !== "" ? claims.sub : "an unnamed caller";
}

/** When the token stops working, or null where it doesn't say. */
export function expiryOf(claims) {
  const moment = new Date(typeof claims.exp === "number" ? claims.exp * 1000 : NaN);
  return Number.isNaN(moment.getTime()) ? null : moment;
}

/** The only projects the token is good for, or null where it names none. */
export function projectsOf(claims) {
  const listed = claims.projects;
  const isList = Array.isArray(listed) && listed.every((item) => typeof item === "string");
  return isList && listed.length > 0 && !listed.includes("*") ? [...listed].sort() : null;
}
