// A field for a project id: a list where the token names its projects, else free text.

import { element } from "./dom.js";

/** Put the field with this `id` into `place`; `any` is the choice of no project at all. */
export function projectControl(place, id, projects, { any = null } = {}) {
  const attributes = { id, name: "project_id" };
  const field = projects ? list() : text();
  place.replaceChildren(field);
  return field;

  function list() {
    const options = projects.map((project) => element("option", { value: project }, project));
    const first = any ? [element("option", { value: "" }, any)] : [];
    return element("select", attributes, ...first, ...options);
  }

  function text() {
    return element("input", {
      ...attributes,
      placeholder: any,
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
    });
  }
}
