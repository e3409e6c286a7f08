/** What every view of the console does with its elements. Whatever the wire brings enters the page as text only. */

/** @typedef {Node | string | number | false | null | undefined} Child */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes] `onclick` and the like listen, `value` and `checked` are properties; what is false is left out
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") Object.assign(made, { [name]: value });
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  fill(made, ...children);
  return made;
}

/** @param {Element} within @param {...(Child | Child[])} children in the place of what was there */
export function refill(within, ...children) {
  within.replaceChildren();
  fill(within, ...children);
}

/** @param {Element} within @param {...(Child | Child[])} children */
function fill(within, ...children) {
  for (const child of children.flat()) {
    if (child !== false && child !== null && child !== undefined) within.append(child instanceof Node ? child : String(child));
  }
}

/** Only if it says something else: a screen reader and the layout have no work with what stays. @param {Element} within @param {string} text */
export function write(within, text) {
  if (within.textContent !== text) within.textContent = text;
}

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
export function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Drawn at most once a frame, however often it is asked for; in a hidden window once it is seen again. @param {() => void} draw */
export function drawnOncePerFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}

/** Lines of 20 × 20. @type {Record<string, string>} */
const ICONS = {
  inbox: "M3 11l2-7h10l2 7v5H3zM3 11h4l1 2h4l1-2h4",
  visitors: "M10 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17c.6-3.4 3-5 6-5s5.4 1.6 6 5",
  overview: "M4 16V9M8 16V4M12 16v-5M16 16V7",
  settings: "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
  install: "M7 6l-4 4 4 4M13 6l4 4-4 4M11 4L9 16",
  search: "M9 14A5 5 0 1 0 9 4a5 5 0 0 0 0 10zM13 13l4 4",
  back: "M12 4l-6 6 6 6",
  send: "M3 10l14-6-5 13-3-5zM9 12l8-8",
  attach: "M15 9l-5.5 5.5a3 3 0 0 1-4.2-4.2L11 4.6a2 2 0 0 1 2.9 2.9L8.3 13a1 1 0 0 1-1.4-1.4L12 6.6",
  file: "M5 3h7l3 3v11H5zM12 3v3h3",
  spark: "M10 3c.6 4 2 5.8 6 7-4 1.200-5.4 3-6 7-.6-4-2-5.800-6-7 4-1.200 5.400-3 6-7z",
  person: "M10 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17c.6-3.4 3-5 6-5s5.4 1.6 6 5",
  close: "M5 5l10 10M15 5L5 15",
  check: "M4 10.500l4 4 8-9",
  bell: "M5 14V9a5 5 0 0 1 10 0v5l1 1H4zM8.500 17h3",
  download: "M10 3v9M6 9l4 4 4-4M4 16h12",
  link: "M8 12l4-4M9 6l1.500-1.500a3 3 0 0 1 4.200 4.200L13 10.500M11 14l-1.500 1.500a3 3 0 0 1-4.200-4.200L7 9.500",
  plus: "M10 4v12M4 10h12",
  trash: "M4 6h12M8 6V4h4v2M6 6l1 11h6l1-11",
  keyboard: "M2.500 5.500h15v9h-15zM6 12h8M5.500 8.500h0M8.500 8.500h0M11.500 8.500h0M14.500 8.500h0",
  more: "M4.500 10h.01M10 10h.01M15.500 10h.01",
  out: "M8 4H4v12h4M12 6l4 4-4 4M7 10h9",
  clock: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6v4l3 2",
};

/** @param {string} name of one of the above */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of [["viewBox", "0 0 20 20"], ["class", `icon icon-${name}`], ["aria-hidden", "true"], ["focusable", "false"]]) {
    svg.setAttribute(/** @type {string} */ (key), /** @type {string} */ (value));
  }
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

/** @param {string} label read aloud and shown on hover @param {string} name @param {() => void} act @param {Record<string, any>} [more] */
export function iconButton(label, name, act, more = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: act, ...more }, icon(name));
}

const HUES = 12;

/** A face for who has none: the same person always the same colour. @param {string} id @param {string} name */
export function avatar(id, name) {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 9_973;
  const initials = name.trim().split(/\s+/u).slice(0, 2).map((word) => [...word][0] ?? "").join("");
  return h("span", { class: "avatar", "data-hue": sum % HUES, "aria-hidden": "true" }, initials.toUpperCase() || "?");
}

/** Whatever a page reports as its address may be a trap: only the web's own are followed. @param {unknown} url @returns {string | undefined} */
export function webAddress(url) {
  try {
    const parsed = new URL(String(url));
    return /^https?:$/.test(parsed.protocol) ? parsed.href : undefined;
  } catch {
    return undefined;
  }
}

/** An address as a person reads it. @param {unknown} url */
export function shortAddress(url) {
  const text = String(url ?? "");
  try {
    const { host, pathname, search, hash } = new URL(text);
    return pathname === "/" && !search && !hash ? host : `${pathname}${search}${hash}`;
  } catch {
    return text;
  }
}

let said = 0;

/** For whoever hears the page instead of seeing it; and, for a moment, for all others. @param {string} text @param {"good" | "bad"} [kind] */
export function say(text, kind = "good") {
  write(part("said", HTMLElement), text);
  const toast = part("toast", HTMLElement);
  refill(toast, icon(kind === "good" ? "check" : "close"), h("span", {}, text));
  toast.dataset.kind = kind;
  toast.hidden = false;
  clearTimeout(said);
  said = setTimeout(() => (toast.hidden = true), kind === "good" ? 3_000 : 8_000);
}

/**
 * Asks before what cannot be undone.
 * @param {string} question @param {string} explanation @param {string} deed on the button
 * @returns {Promise<boolean>}
 */
export function confirmed(question, explanation, deed) {
  return new Promise((resolve) => {
    const title = h("h2", { id: "confirm-title" }, question);
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "confirm-title" },
      title,
      h("p", {}, explanation),
      h(
        "div",
        { class: "dialog-actions" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close("") }, "Cancel"),
        h("button", { type: "button", class: "button danger", onclick: () => dialog.close("yes") }, deed),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
