/** The page of components: a swatch of each colour there is, and the theme that is looked at. */
import { element, part } from "./dom.js";

const COLOURS = [
  ...["paper", "card", "sunk", "line", "line-control", "ink", "ink-soft"],
  ...["accent", "accent-hover", "accent-soft", "spark", "spark-bright", "spark-soft"],
  ...["warn", "warn-soft", "bad", "bad-soft", "code", "series-1", "series-2", "series-3", "series-4"],
];

const swatches = COLOURS.map((name) => {
  const swatch = element("li", "card swatch", element("span", ""), element("span", "", name));
  swatch.style.setProperty("--shown", `var(--${name})`);
  return swatch;
});
part("swatches", HTMLElement).append(...swatches);

part("theme", HTMLElement).addEventListener("change", ({ target }) => {
  document.documentElement.dataset.theme = /** @type {HTMLInputElement} */ (target).value;
});
