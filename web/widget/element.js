/** How elements are made here: text is text, and no attribute that a strict policy would refuse. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, string | number | boolean | undefined>} attributes @param {...(Node | string | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) made.append(child);
  return made;
}

/** @param {string} className @param {string} label @param {() => void} onClick @param {...(Node | string)} children */
export function button(className, label, onClick, ...children) {
  const made = h("button", { type: "button", class: className, "aria-label": label || undefined, title: label || undefined }, ...children);
  made.addEventListener("click", onClick);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Drawn with lines, for no font has all of these. @type {Record<string, string>} */
const ICONS = {
  attach: "M17 8l-7.5 7.5a2.1 2.1 0 0 0 3 3L20 11a4.2 4.2 0 0 0-6-6l-8 8a6.3 6.3 0 0 0 9 9l6-6",
  close: "M6 6l12 12M18 6L6 18",
  file: "M7 3h7l5 5v13H7zM14 3v5h5",
  mark: "M11 4a7 7 0 1 0 0 14a7 7 0 0 0 0-14M13.5 13.5L20 20",
  more: "M12 5h.01M12 12h.01M12 19h.01",
  person: "M12 12a4 4 0 1 0 0-8a4 4 0 0 0 0 8M4 21c1-4 4-6 8-6s7 2 8 6",
  send: "M4 12L20 4l-6 16l-3-7z",
};

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

/** Resolves when it can be seen with its styles, or they will not come. @param {ShadowRoot} root @param {string[]} addresses */
export function styled(root, addresses) {
  const loaded = addresses.map((href) => {
    const link = h("link", { rel: "stylesheet", href });
    const settled = new Promise((resolve) => (link.onload = link.onerror = resolve));
    root.prepend(link);
    return settled;
  });
  return Promise.all(loaded);
}
