/** Times and amounts, as people say them. */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** How far the server's clock is ahead of ours: ages are told by the server's, since a clock may be wrong by hours. */
let aheadMs = 0;
let isTold = false;

/** The least difference that was seen is the one with the least delay in it. @param {unknown} timestamp of what has just come */
export function serverSaid(timestamp) {
  const at = Date.parse(String(timestamp));
  if (Number.isNaN(at)) return;
  const seen = at - Date.now();
  if (!isTold || seen > aheadMs) aheadMs = seen;
  isTold = true;
}

export const now = () => Date.now() + aheadMs;

/** @param {string | undefined} timestamp @returns {number} 0 for what is no time */
export const at = (timestamp) => Date.parse(timestamp ?? "") || 0;

/** @param {number} ms */
export function duration(ms) {
  if (ms < MINUTE_MS) return `${Math.max(0, Math.floor(ms / 1_000))} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  if (ms < DAY_MS) return `${Math.floor(ms / HOUR_MS)} h ${Math.floor((ms % HOUR_MS) / MINUTE_MS)} min`;
  return `${Math.floor(ms / DAY_MS)} d`;
}

/** @param {string | undefined} timestamp */
export function ago(timestamp) {
  const since = now() - at(timestamp);
  return since < MINUTE_MS ? "now" : since < DAY_MS ? duration(since) : day(timestamp);
}

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const countFormat = new Intl.NumberFormat();
const shortFormat = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

/** @param {string | undefined} timestamp */
export const clock = (timestamp) => clockFormat.format(at(timestamp));
/** @param {string | undefined} timestamp */
export const day = (timestamp) => dayFormat.format(at(timestamp));
/** @param {string | undefined} timestamp */
export const full = (timestamp) => fullFormat.format(at(timestamp));
/** @param {string | undefined} timestamp */
export const calendarDay = (timestamp) => new Date(at(timestamp)).toDateString();
/** @param {number} amount */
export const count = (amount) => countFormat.format(amount);
/** @param {number} amount */
export const shortCount = (amount) => shortFormat.format(amount);

/** @param {number} bytes */
export function size(bytes) {
  if (!(bytes >= 1_024)) return `${bytes || 0} B`;
  const isSmall = bytes < 1_024 * 1_024;
  return `${shortFormat.format(bytes / (isSmall ? 1_024 : 1_024 * 1_024))} ${isSmall ? "KB" : "MB"}`;
}

const countryNames = new Intl.DisplayNames(undefined, { type: "region" });

/** @param {string | undefined} code of two letters */
export function country(code) {
  if (!/^[A-Z]{2}$/.test(code ?? "")) return "";
  return countryNames.of(/** @type {string} */ (code)) ?? "";
}

/** The flag of a country, made of its two letters. @param {string | undefined} code */
export function flag(code) {
  if (!/^[A-Z]{2}$/.test(code ?? "")) return "";
  return [.../** @type {string} */ (code)].map((letter) => String.fromCodePoint(0x1f1a5 + letter.charCodeAt(0))).join("");
}
