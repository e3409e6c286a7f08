/** The parts of the settings' form. Each writes into the draft as it is typed; what is empty is left out. */
import { h, iconButton, refill } from "./ui.js";

/**
 * @typedef {Record<string, any>} Draft the settings as they are to be
 * @typedef {Record<string, [string, string][]>} Week
 */

const DAYS = { mon: "Monday", tue: "Tuesday", wed: "Wednesday", thu: "Thursday", fri: "Friday", sat: "Saturday", sun: "Sunday" };
const OPENINGS_MAX = 8;
let ids = 0;

/** @param {Draft} draft @param {string} key @param {unknown} value */
function set(draft, key, value) {
  const isEmpty = value === "" || value === undefined || (Array.isArray(value) && value.length === 0);
  if (isEmpty) delete draft[key];
  else draft[key] = value;
}

/** @param {string} label @param {string} about @param {HTMLElement} input */
function field(label, about, input) {
  ids += 1;
  input.id = `field-${ids}`;
  if (about) input.setAttribute("aria-describedby", `about-${ids}`);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, about && h("span", { class: "about", id: `about-${ids}` }, about));
}

/** @param {Draft} draft @param {string} key @param {string} label @param {string} about @param {number} [rows] of a longer text @param {string} [path] */
export function textField(draft, key, label, about, rows = 1, path = key) {
  const value = draft[key] ?? "";
  const oninput = (/** @type {Event} */ { target }) => set(draft, key, /** @type {HTMLInputElement} */ (target).value);
  const input = rows > 1 ? h("textarea", { rows: String(rows), dir: "auto", value, oninput, "data-path": path }) : h("input", { dir: "auto", autocomplete: "off", value, oninput, "data-path": path });
  return field(label, about, input);
}

/** @param {Draft} draft @param {string} key @param {string} label */
export function linesField(draft, key, label) {
  const oninput = (/** @type {Event} */ { target }) => {
    const lines = /** @type {HTMLTextAreaElement} */ (target).value.split("\n").map((line) => line.trim());
    set(draft, key, lines.filter(Boolean));
  };
  return field(label, "", h("textarea", { rows: "3", spellcheck: "false", value: (draft[key] ?? []).join("\n"), oninput, "data-path": key }));
}

/** @param {Draft} draft @param {string} group @param {string} key @param {string} label */
export function numberField(draft, group, key, label) {
  const oninput = (/** @type {Event} */ { target }) => {
    const all = { ...draft[group] };
    const { value } = /** @type {HTMLInputElement} */ (target);
    set(all, key, value === "" ? "" : Number(value));
    set(draft, group, Object.keys(all).length > 0 ? all : "");
  };
  return field(label, "", h("input", { type: "number", min: "1", max: "3650", inputmode: "numeric", value: String(draft[group]?.[key] ?? ""), oninput, "data-path": `${group}.${key}` }));
}

/** @param {Draft} draft @param {string} key @param {string} label @param {string} about */
export function switchField(draft, key, label, about) {
  const input = h("input", { type: "checkbox", checked: draft[key] === true, onchange: () => (draft[key] = input.checked) });
  return h("label", { class: "check" }, input, h("span", {}, label, about && h("span", { class: "about" }, about)));
}

/** @param {Draft} draft @param {() => void} changed */
export function helpdeskEditor(draft, changed) {
  return listEditor(draft, "helpdesk", changed, {
    fresh: () => ({ question: "", answer: "" }),
    add: "Add a question",
    name: "question",
    parts: (entry, path) => [textField(entry, "question", "Question", "", 1, `${path}.question`), textField(entry, "answer", "Answer", "", 2, `${path}.answer`)],
  });
}

/** @param {Draft} draft @param {() => void} changed */
export function cannedEditor(draft, changed) {
  return listEditor(draft, "cannedReplies", changed, {
    fresh: () => ({ shortcut: "", text: "" }),
    add: "Add a reply",
    name: "reply",
    parts: (entry, path) => [textField(entry, "shortcut", "Shortcut", "", 1, `${path}.shortcut`), textField(entry, "text", "Text", "", 2, `${path}.text`)],
  });
}

/**
 * @param {Draft} draft @param {string} key @param {() => void} changed
 * @param {{fresh: () => Draft, add: string, name: string, parts: (entry: Draft, path: string) => Node[]}} how
 */
function listEditor(draft, key, changed, { fresh, add, name, parts }) {
  const list = h("ol", { class: "entries stack" });
  const draw = () => {
    const entries = /** @type {Draft[]} */ (draft[key] ?? []);
    refill(list, entries.map((entry, place) => h("li", { class: "entry" }, h("div", { class: "stack" }, parts(entry, `${key}[${place}]`)), iconButton(`Remove ${name} ${place + 1}`, "trash", () => put(entries.filter((one) => one !== entry))))));
  };
  const put = (/** @type {Draft[]} */ entries) => {
    set(draft, key, entries);
    draw();
    changed();
  };
  const more = h("button", { type: "button", class: "button", onclick: () => {
    put([...(draft[key] ?? []), fresh()]);
    /** @type {HTMLElement | null} */ (list.lastElementChild?.querySelector("input") ?? null)?.focus();
  } }, add);
  draw();
  return h("div", { class: "stack" }, list, h("div", {}, more));
}

/** @param {Draft} draft @param {() => void} changed */
export function hoursEditor(draft, changed) {
  const body = h("div", { class: "stack" });
  const put = (/** @type {Draft | undefined} */ hours) => {
    set(draft, "businessHours", hours);
    draw();
    changed();
  };
  const ours = { timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone, week: Object.fromEntries(Object.keys(DAYS).slice(0, 5).map((day) => [day, [["09:00", "17:00"]]])) };
  const isKept = h("input", { type: "checkbox", onchange: () => put(isKept.checked ? ours : undefined) });
  const draw = () => {
    const hours = draft.businessHours;
    isKept.checked = hours !== undefined;
    if (!hours) return refill(body);
    const week = /** @type {Week} */ (hours.week ?? {});
    const zones = h("datalist", { id: "zones" }, Intl.supportedValuesOf("timeZone").map((zone) => h("option", { value: zone })));
    const zone = textField(hours, "timeZone", "Time zone", "", 1, "businessHours.timeZone");
    zone.querySelector("input")?.setAttribute("list", "zones");
    const putDay = (/** @type {string} */ day, /** @type {[string, string][]} */ pairs) => {
      const next = { ...week, [day]: pairs };
      if (pairs.length === 0) delete next[day];
      put({ ...hours, week: next });
    };
    refill(body, zone, zones, h("ul", { class: "week" }, Object.entries(DAYS).map(([day, label]) => dayEditor(day, label, week[day] ?? [], putDay))));
  };
  draw();
  return h("div", { class: "stack" }, h("label", { class: "check" }, isKept, h("span", {}, "Keep business hours")), body);
}

/** @param {string} day @param {string} label @param {[string, string][]} pairs @param {(day: string, pairs: [string, string][]) => void} put */
function dayEditor(day, label, pairs, put) {
  const time = (/** @type {number} */ place, /** @type {0 | 1} */ end) =>
    h("input", { type: "time", value: pairs[place]?.[end] === "24:00" ? "00:00" : (pairs[place]?.[end] ?? ""), "aria-label": `${label}, ${end === 0 ? "from" : "until"}`, "data-path": `businessHours.week.${day}[${place}]`, onchange: (/** @type {Event} */ { target }) => {
      const { value } = /** @type {HTMLInputElement} */ (target);
      const next = /** @type {[string, string][]} */ (pairs.map((pair) => [...pair]));
      const pair = next[place];
      // A day ends at midnight, which a field for times calls the beginning of the next.
      if (pair) pair[end] = end === 1 && value === "00:00" ? "24:00" : value;
      put(day, next);
    } });
  const rows = pairs.map((_, place) => h("span", { class: "opening" }, time(place, 0), "–", time(place, 1), iconButton(`Remove these hours of ${label}`, "close", () => put(day, pairs.filter((_pair, other) => other !== place)))));
  const last = pairs.at(-1)?.[1];
  const more = () => put(day, [...pairs, last && last < "22:00" ? [last, "22:00"] : ["09:00", "17:00"]]);
  return h("li", {}, h("span", { class: "day" }, label), h("span", { class: "openings" }, rows.length > 0 ? rows : h("span", { class: "soft" }, "closed"), pairs.length < OPENINGS_MAX && iconButton(`Add hours on ${label}`, "plus", more)));
}
