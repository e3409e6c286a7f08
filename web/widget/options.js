/** What the script's `data-*` say. */

/**
 * @typedef {object} Options
 * @property {string} server where everything comes from, with a slash at its end
 * @property {string} domain whose visitors and rooms these are
 * @property {Token} [token] who the visitor is, signed by the site
 * @property {string} [userName]
 * @property {string} lang
 * @property {"light" | "dark" | ""} theme empty: as the system
 * @property {"start" | "end"} side of the window; in a right-to-left page the end is on the left
 * @property {string} [into] selector of an element to stand in, instead of floating
 * @property {string} [title]
 * @property {string} [accent]
 * @property {boolean} isOpen at once
 * @property {boolean} isTracking tells the site's operators which page is looked at
 * @property {boolean} hasAi asks the AI where the server does not do so by itself
 *
 * @typedef {string | (() => string | undefined | Promise<string | undefined>)} Token
 */

/** The words there are. */
export const LANGUAGES = ["en", "de", "ar"];

/** @param {string} src of the script @param {DOMStringMap} given @returns {Options} */
export function optionsOf(src, given) {
  const { domain, token, userName, lang, theme, side, into, title, accent } = given;
  const wanted = [lang, document.documentElement.lang, ...navigator.languages].map((name) => name?.slice(0, 2).toLowerCase());
  return {
    server: new URL("/", src).href,
    domain: domain || location.host,
    token: token || undefined,
    userName,
    lang: wanted.find((name) => name && LANGUAGES.includes(name)) ?? "en",
    theme: theme === "light" || theme === "dark" ? theme : "",
    side: side === "start" ? "start" : "end",
    into,
    title,
    accent,
    isOpen: given.open !== undefined,
    isTracking: given.track !== "off",
    hasAi: given.ai !== "off",
  };
}
