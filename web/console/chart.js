/**
 * Lines and bars over time, as SVG: a few hundred points need no canvas, colours come from the page's own rules, and
 * whoever cannot see them has the same numbers as a table.
 */
import { count, shortCount } from "./time.js";
import { h, refill } from "./ui.js";

/**
 * @typedef {{label: string, values: number[], isBar?: boolean}} Series
 * @typedef {{title: string, times: number[], series: Series[], format?: (value: number) => string, when: (time: number) => string, empty?: string}} Charted
 */

const SVG = "http://www.w3.org/2000/svg";
/** As wide as its place, within these: what is written in it is not scaled, so it can be read on a phone. */
const WIDTH = { least: 240, most: 640 };
const HEIGHT = 200;
const EDGE = { left: 44, right: 8, top: 10, bottom: 24 };
/** Of one label below and the space beside it. */
const TIME_PX = 100;
/** A label that begins nearer to the right edge would stick out. */
const LABEL_PX = 40;

export class Chart {
  #plot = h("div", { class: "plot" });
  #tip = h("p", { class: "tip", "aria-live": "polite" });
  #table = h("details", { class: "chart-table" });
  #title = h("h2", {});
  #legend = h("ul", { class: "legend" });
  element = h("figure", { class: "chart card" }, h("figcaption", {}, this.#title, this.#legend), this.#plot, this.#tip, this.#table);
  #shown = "";
  #width = WIDTH.most;

  /** @param {Charted} charted */
  draw(charted) {
    this.#width = Math.max(WIDTH.least, Math.min(WIDTH.most, this.#plot.clientWidth || WIDTH.most));
    const shown = JSON.stringify([charted.title, charted.times, charted.series, this.#width]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { title, times, series, format = count, when, empty = "Nothing yet." } = charted;
    refill(this.#title, title);
    refill(this.#legend, series.length > 1 ? series.map(({ label }, place) => h("li", { "data-series": place + 1 }, label)) : []);
    const top = niceTop(Math.max(1, ...series.flatMap(({ values }) => values)));
    if (times.length === 0) {
      refill(this.#plot, h("p", { class: "empty" }, empty));
      refill(this.#tip);
      this.#table.hidden = true;
      return;
    }
    this.#table.hidden = false;
    refill(this.#plot, this.#svg(charted, top));
    refill(this.#tip, " ");
    const head = h("tr", {}, h("th", { scope: "col" }, "Time"), series.map(({ label }) => h("th", { scope: "col", class: "number" }, label)));
    const rows = times.map((time, place) => h("tr", {}, h("th", { scope: "row" }, when(time)), series.map(({ values }) => h("td", { class: "number" }, format(values[place] ?? 0)))));
    const open = this.#table.open;
    refill(this.#table, h("summary", {}, "As a table"), h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` }, h("table", { class: "table" }, h("thead", {}, head), h("tbody", {}, rows))));
    this.#table.open = open;
  }

  /** @param {Charted} charted @param {number} top */
  #svg({ title, times, series, format = count, when }, top) {
    const width = this.#width;
    const inner = width - EDGE.left - EDGE.right;
    const bars = series.filter(({ isBar }) => isBar).length;
    // A line goes from edge to edge, bars stand in the middle of theirs.
    const share = (/** @type {number} */ place) => (bars > 0 || times.length === 1 ? (place + 0.5) / times.length : place / (times.length - 1));
    const x = (/** @type {number} */ place) => EDGE.left + inner * share(place);
    const y = (/** @type {number} */ value) => HEIGHT - EDGE.bottom - ((HEIGHT - EDGE.top - EDGE.bottom) * value) / top;
    const totals = series.map(({ label, values }) => `${label}: at most ${format(Math.max(...values))}`).join(", ");
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${totals}.`, tabindex: "0" });
    for (const level of [0, top / 2, top]) {
      drawing.append(svg("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(level), y2: y(level), class: "grid" }));
      drawing.append(svg("text", { x: EDGE.left - 8, y: y(level) + 4, class: "axis end" }, shortCount(level)));
    }
    const step = Math.max(1, Math.ceil((times.length * TIME_PX) / width));
    times.forEach((time, place) => {
      if (place % step !== 0) return;
      const isNearEdge = x(place) > width - LABEL_PX;
      drawing.append(svg("text", { x: isNearEdge ? width : x(place), y: HEIGHT - 6, class: isNearEdge ? "axis end" : place === 0 && bars === 0 ? "axis" : "axis middle" }, when(time)));
    });
    let bar = 0;
    series.forEach((one, place) => {
      const shape = one.isBar ? barsOf(one, x, y, inner / times.length, bar++, bars) : lineOf(one, x, y);
      for (const element of shape) element.setAttribute("data-series", String(place + 1));
      drawing.append(...shape);
    });
    const mark = svg("line", { y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: "mark" });
    drawing.append(mark);
    this.#watch({ drawing, mark, width }, x, times, (place) => `${when(times[place] ?? 0)}: ${series.map(({ label, values }) => `${label} ${format(values[place] ?? 0)}`).join(" · ")}`);
    return drawing;
  }

  /**
   * By pointer and by arrow keys.
   * @param {{drawing: SVGElement, mark: SVGElement, width: number}} drawn @param {(place: number) => number} x @param {number[]} times @param {(place: number) => string} tell
   */
  #watch({ drawing, mark, width }, x, times, tell) {
    let at = times.length - 1;
    const point = (/** @type {number} */ place) => {
      at = Math.max(0, Math.min(times.length - 1, place));
      mark.setAttribute("x1", String(x(at)));
      mark.setAttribute("x2", String(x(at)));
      mark.classList.add("on");
      refill(this.#tip, tell(at));
    };
    const leave = () => {
      mark.classList.remove("on");
      refill(this.#tip, " ");
    };
    drawing.addEventListener("pointermove", ({ clientX }) => {
      const box = drawing.getBoundingClientRect();
      const inside = ((clientX - box.left) / box.width) * width;
      const distance = (/** @type {number} */ place) => Math.abs(x(place) - inside);
      point(times.reduce((nearest, _, place) => (distance(place) < distance(nearest) ? place : nearest), 0));
    });
    drawing.addEventListener("pointerleave", leave);
    drawing.addEventListener("blur", leave);
    drawing.addEventListener("focus", () => point(at));
    drawing.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
      if (step === 0) return;
      event.preventDefault();
      point(at + step);
    });
  }
}

/** @param {Series} series @param {(place: number) => number} x @param {(value: number) => number} y */
function lineOf({ values }, x, y) {
  const points = values.map((value, place) => `${x(place).toFixed(1)} ${y(value).toFixed(1)}`);
  const line = svg("path", { d: `M${points.join("L")}`, class: "line-of" });
  const area = svg("path", { d: `M${x(0)} ${y(0)}L${points.join("L")}L${x(values.length - 1)} ${y(0)}Z`, class: "area-of" });
  const dot = values.length === 1 ? [svg("circle", { cx: x(0), cy: y(values[0] ?? 0), r: 4, class: "dot-of" })] : [];
  return [area, line, ...dot];
}

/** Side by side at each time. @param {Series} series @param {(place: number) => number} x @param {(value: number) => number} y @param {number} slot @param {number} bar @param {number} bars */
function barsOf({ values }, x, y, slot, bar, bars) {
  const width = Math.max(1.5, Math.min(22, (slot * 0.7) / bars));
  return values.map((value, place) => {
    const left = x(place) - (width * bars) / 2 + bar * width;
    return svg("rect", { x: left.toFixed(1), width: width.toFixed(1), y: y(value).toFixed(1), height: Math.max(0, y(0) - y(value)).toFixed(1), rx: Math.min(2, width / 3), class: "bar-of" });
  });
}

/** A round number that is no less. @param {number} value */
function niceTop(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  const top = [1, 2, 4, 5, 10].find((times) => times * unit >= value) ?? 10;
  return Math.max(2, top * unit);
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function svg(tag, attributes, text) {
  const made = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}
