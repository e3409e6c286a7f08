/** What every part of the page does with its elements. */

/** @typedef {"waiting" | "good" | "bad"} State of a dot and the sentence beside it */

/** Visitors of the site, people in the room. */
export const NAMES_SHOWN_MAX = 6;

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
export function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Whatever the wire brings enters the page as text only. @param {string} id @param {string} text */
export function write(id, text) {
  part(id, HTMLElement).textContent = text;
}

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** @param {HTMLElement} within @param {string} selector @param {string} text */
export function rewrite(within, selector, text) {
  const found = within.querySelector(selector);
  if (found) found.textContent = text;
}

/** Keeps the end of a log in sight, unless its reader has scrolled up. @param {HTMLElement} log @param {() => void} change */
export function atEnd(log, change) {
  const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  change();
  if (wasAtEnd) log.scrollTop = log.scrollHeight;
}

/** With seconds where events are told, without where people talk. @param {string} rfc3339 @param {"2-digit"} [second] */
export function clock(rfc3339, second) {
  const at = new Date(rfc3339);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second, hourCycle: "h23" });
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** @param {"health" | "link"} id @param {State} state @param {string} sentence */
export function show(id, state, sentence) {
  part(`${id}-dot`, HTMLElement).dataset.state = state;
  write(`${id}-text`, sentence);
}

/** @param {string} name of a form @param {(text: string) => boolean} take false leaves the text where it is */
export function onSubmit(name, take) {
  const input = part(`${name}-input`, HTMLInputElement);
  part(`${name}-form`, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text && take(text)) input.value = "";
  });
}
