// Small helpers for the page. Text goes in as text, never as markup.

/** A new element; `attributes` with null are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) {
      made.setAttribute(key, value);
    }
  }
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Write only what changed: a node that is left alone keeps the reader's selection. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Show or hide; whoever hides the focused element says in `next` where the focus goes. */
export function setHidden(node, hidden, next = null) {
  const hadFocus = hidden && node.contains(document.activeElement);
  node.hidden = hidden;
  if (hadFocus) {
    next?.focus();
  }
}

/** Have a screen reader say `text` when it is done with what it says now. */
export function announce(text) {
  // Appended, so that the same sentence is said again when it is true again.
  const line = element("p", {}, text);
  byId("announcements").append(line);
  setTimeout(() => line.remove(), 10_000);
}

/**
 * Put a field for a project id into `place`: a choice of `projects`, or without them any text, with
 * suggestions; `any` chooses none.
 */
export function projectControl(place, id, projects, any = null) {
  const field = projects
    ? element("select", { id })
    : element("input", {
        id,
        placeholder: any,
        list: "projects",
        // With "off", as the form has it, Firefox shows no suggestions.
        autocomplete: "on",
        autocapitalize: "none",
        spellcheck: "false",
      });
  if (projects) {
    const choices = projects.map((project) => new Option(project, project));
    field.append(...(any ? [new Option(any, "")] : []), ...choices);
  }
  place.replaceChildren(field);
  return field;
}

/** A button that copies what `text()` gives. */
export function copyButton(label, what, text) {
  const button = element("button", { type: "button", class: "quiet copy" }, label);
  button.setAttribute("aria-label", `${label} ${what}`);
  button.addEventListener("click", async () => {
    const copied = await copy(text());
    setText(button, copied ? "Copied" : "Not copied");
    announce(copied ? `Copied ${what}.` : `Copying ${what} did not work: select it by hand.`);
    setTimeout(() => setText(button, label), 2000);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text);
  }
}

/** Plain http on a host other than this machine has no clipboard API. */
function copyByCommand(text) {
  const focused = document.activeElement;
  const field = element("textarea", { class: "off-screen", readonly: "" });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}
