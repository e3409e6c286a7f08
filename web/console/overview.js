/** How the site does: now, over the day, and what the AI costs. */
import { Chart } from "./chart.js";
import { nameOf } from "./desk.js";
import { at, clock, count, day, duration, now, shortCount } from "./time.js";
import { drawnOncePerFrame, h, refill, write } from "./ui.js";

/** @import { Site } from "./site.js" */
/** @typedef {{date: string, answers: number, failed: number, inputTokens: number, outputTokens: number}} Spent */
/** @typedef {{start: string, visitors: number, sessions: number, messages: number, aiReplies: number}} Bucket of an hour or a day */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const REFRESH_MS = 60_000;
/** Of the visitors now, one point every so often, as long as the page is open. */
const SAMPLE_MS = 5_000;
const SAMPLES_MAX = 240;
/** The AI's answers are counted by day: fewer than these say nothing. */
const SPENT_MS_MIN = 7 * DAY_MS;
/** Of those who wait, the longest are named. */
const WAITING_SHOWN = 6;
const SPENT_PARTS = /** @type {const} */ (["answers", "failed", "inputTokens", "outputTokens"]);
/** @type {Record<string, {label: string, ms: number, bucket: "hour" | "day"}>} */
const SPANS = { day: { label: "24 hours", ms: DAY_MS, bucket: "hour" }, week: { label: "7 days", ms: 7 * DAY_MS, bucket: "hour" }, month: { label: "30 days", ms: 30 * DAY_MS, bucket: "day" } };

export class Overview {
  #site;
  #span = "day";
  #numbers = h("dl", { class: "numbers" });
  #charts = { now: new Chart(), visitors: new Chart(), messages: new Chart(), answers: new Chart(), tokens: new Chart() };
  #waiting = h("section", { class: "card waiting", "aria-label": "Waiting time" });
  #lists = h("div", { class: "lists" });
  /** @type {{at: number, active: number, waiting: number}[]} */
  #samples = [];
  /** @type {{buckets: Bucket[]} | undefined} */
  #series;
  /** @type {{pages: {url: string, title?: string, views: number}[], referrers: {referrer: string, visits: number}[]} | undefined} */
  #pages;
  /** what the AI's answers came to @type {{days: Spent[], today: {tokens: number, budget?: number}} | undefined} */
  #account;
  element;
  #draw = drawnOncePerFrame(() => this.#drawAll());
  /** @type {(() => void)[]} */
  #stops;

  /** @param {Site} site */
  constructor(site) {
    this.#site = site;
    const spans = Object.entries(SPANS).map(([key, { label }]) =>
      h("label", {}, h("input", { type: "radio", name: "span", value: key, checked: key === this.#span, onchange: () => this.#choose(key) }), label),
    );
    const head = h("div", { class: "pane-head wide-head" }, h("h1", {}, "Overview"), h("fieldset", { class: "switch" }, h("legend", { class: "unseen" }, "Over which time"), spans));
    const charts = h("div", { class: "charts" }, Object.values(this.#charts).map(({ element }) => element), this.#waiting);
    this.element = h("div", { class: "view overview" }, h("div", { class: "page" }, head, this.#numbers, charts, this.#lists));
    const sampling = setInterval(() => this.#sample(), SAMPLE_MS);
    const refreshing = setInterval(() => this.element.isConnected && !document.hidden && this.#load(), REFRESH_MS);
    this.#stops = [site.crowd.listen(this.#draw), site.desk.listen(this.#draw), () => clearInterval(sampling), () => clearInterval(refreshing)];
  }

  show() {
    this.#load();
    this.#sample();
  }

  hide() {}

  stop() {
    for (const stop of this.#stops) stop();
  }

  #sample() {
    const { crowd, desk } = this.#site;
    if (!crowd.isKnown) return;
    this.#samples.push({ at: now(), active: crowd.active, waiting: desk.waiting });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    this.#draw();
  }

  /** @param {string} span */
  #choose(span) {
    this.#span = span;
    this.#load();
  }

  async #load() {
    const { ms, bucket } = /** @type {{ms: number, bucket: string}} */ (SPANS[this.#span]);
    const { session, domainId } = this.#site;
    const place = `/stats/domain/${encodeURIComponent(domainId)}`;
    const range = new URLSearchParams({ from: new Date(now() - ms).toISOString(), to: new Date(now()).toISOString(), bucket });
    const days = new URLSearchParams({ from: dateOf(now() - Math.max(ms, SPENT_MS_MIN)), to: dateOf(now()) });
    const asked = this.#span;
    const ask = (/** @type {string} */ path) => session.api(`${place}/${path}`).catch(() => undefined);
    const [series, pages, account] = await Promise.all([ask(`series?${range}`), ask(`pages?${range}`), ask(`ai?${days}`)]);
    if (asked !== this.#span) return;
    [this.#series, this.#pages, this.#account] = [series, pages, account];
    this.#draw();
  }

  #drawAll() {
    if (!this.element.isConnected) return;
    const { crowd, desk } = this.#site;
    const waiting = desk.list("waiting");
    const longest = waiting[0]?.waitingSince;
    const rated = desk.rooms.filter(({ rating }) => rating);
    const stars = rated.reduce((sum, { rating }) => sum + (rating?.score ?? 0), 0) / rated.length;
    this.#drawNumbers([
      ["On the site now", count(crowd.active), `${shortCount(crowd.total)} ever`],
      ["Wait for a person", count(waiting.length), longest ? `longest ${duration(now() - at(longest))}` : "nobody"],
      ["Open conversations", count(desk.list("open").length), `${count(desk.unreadRooms)} unread`],
      ...this.#tokensToday(),
      ["Rating", rated.length > 0 ? `${stars.toFixed(1)} ★` : "–", rated.length > 0 ? `of ${count(rated.length)}` : "nobody rated yet"],
    ]);
    this.#drawCharts();
    this.#drawWaiting(waiting);
    this.#drawLists();
  }

  /** The server knows who waits now, and keeps no account of who has waited. @param {import("./desk.js").Summary[]} waiting */
  #drawWaiting(waiting) {
    // Whoever has got there by keyboard stays there.
    if (this.#waiting.contains(document.activeElement)) return;
    const longest = at(waiting[0]?.waitingSince);
    const rows = waiting.slice(0, WAITING_SHOWN).map((room) => {
      const ms = now() - at(room.waitingSince);
      const share = longest ? ms / Math.max(1, now() - longest) : 0;
      const bar = h("span", { class: "bar-fill" });
      bar.style.inlineSize = `${Math.round(100 * share)}%`;
      return h("li", {}, h("a", { class: "page-bar", href: this.#site.href("inbox", room.roomId) }, bar, h("span", { class: "page-words", dir: "auto" }, nameOf(room, room.roomId)), h("span", { class: "number" }, duration(ms))));
    });
    const more = waiting.length > WAITING_SHOWN && h("p", { class: "soft small" }, `and ${count(waiting.length - WAITING_SHOWN)} more`);
    refill(this.#waiting, h("h2", {}, "Waiting time"), h("p", { class: "soft small" }, "Of those who wait for a person now."), rows.length > 0 ? h("ol", {}, rows) : h("p", { class: "empty" }, "Nobody waits."), more);
  }

  /** @returns {[string, string, string][]} */
  #tokensToday() {
    const today = this.#account?.today;
    if (!today) return [];
    return [["Tokens today", shortCount(today.tokens), today.budget ? `of ${shortCount(today.budget)}` : "no budget set"]];
  }

  /** @param {[string, string, string][]} numbers */
  #drawNumbers(numbers) {
    if (this.#numbers.childElementCount !== numbers.length) {
      refill(this.#numbers, numbers.map(([label]) => h("div", { class: "card number-card" }, h("dt", {}, label), h("dd", { class: "number-value" }), h("dd", { class: "number-note" }))));
    }
    numbers.forEach(([, value, note], place) => {
      const [big, small] = this.#numbers.children[place]?.querySelectorAll("dd") ?? [];
      if (big && small) {
        write(big, value);
        write(small, note);
      }
    });
  }

  #drawCharts() {
    const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
    const samples = this.#samples;
    this.#charts.now.draw({
      title: "Now",
      times: samples.map((sample) => sample.at),
      series: [{ label: "On the site", values: samples.map(({ active }) => active) }, { label: "Wait for a person", values: samples.map(({ waiting }) => waiting) }],
      when: (time) => seconds.format(time),
    });
    this.#drawSpent();
    this.#charts.visitors.element.hidden = this.#charts.messages.element.hidden = this.#series === undefined;
    /** @type {Bucket[]} */
    const buckets = this.#series?.buckets ?? [];
    const { bucket, ms } = /** @type {{bucket: string, ms: number}} */ (SPANS[this.#span]);
    const when = (/** @type {number} */ time) => {
      const stamp = new Date(time).toISOString();
      return bucket === "day" ? day(stamp) : ms > DAY_MS ? `${day(stamp)} ${clock(stamp)}` : clock(stamp);
    };
    const times = buckets.map(({ start }) => at(start));
    const values = (/** @type {Exclude<keyof Bucket, "start">} */ of) => buckets.map((one) => one[of]);
    const empty = "No numbers for this time.";
    this.#charts.visitors.draw({ title: "Visitors", times, when, empty, series: [{ label: "Visitors", values: values("visitors") }, { label: "Visits", values: values("sessions") }] });
    this.#charts.messages.draw({ title: "Messages", times, when, empty, series: [{ label: "All messages", values: values("messages"), isBar: true }, { label: "AI answers", values: values("aiReplies"), isBar: true }] });
  }

  /** By day, as they are accounted for. */
  #drawSpent() {
    const { answers, tokens } = this.#charts;
    answers.element.hidden = tokens.element.hidden = this.#account === undefined;
    /** @type {Map<string, Spent>} */
    const days = new Map();
    for (const one of this.#account?.days ?? []) {
      const sum = days.get(one.date) ?? { date: one.date, answers: 0, failed: 0, inputTokens: 0, outputTokens: 0 };
      for (const part of SPENT_PARTS) sum[part] += one[part];
      days.set(one.date, sum);
    }
    const all = [...days.values()].sort((a, b) => (a.date < b.date ? -1 : 1));
    const common = { times: all.map(({ date }) => at(date)), when: (/** @type {number} */ time) => day(new Date(time).toISOString()), empty: "The AI has not been asked in this time." };
    const of = (/** @type {typeof SPENT_PARTS[number]} */ part) => all.map((one) => one[part]);
    answers.draw({ ...common, title: "AI answers a day", series: [{ label: "Answers", values: of("answers"), isBar: true }, { label: "Failures", values: of("failed"), isBar: true }] });
    tokens.draw({ ...common, title: "Tokens a day", format: shortCount, series: [{ label: "Read", values: of("inputTokens"), isBar: true }, { label: "Written", values: of("outputTokens"), isBar: true }] });
  }

  #drawLists() {
    this.#lists.hidden = this.#pages === undefined;
    const { pages = [], referrers = [] } = this.#pages ?? {};
    const shown = JSON.stringify([pages, referrers]);
    if (this.#lists.dataset.shown === shown) return;
    this.#lists.dataset.shown = shown;
    const table = (/** @type {string} */ title, /** @type {string} */ unit, /** @type {[string, number][]} */ rows) =>
      h("section", { class: "card" }, h("h2", {}, title), rows.length === 0 ? h("p", { class: "soft small" }, "Nothing yet.") : h("table", { class: "table" }, h("thead", { class: "unseen" }, h("tr", {}, h("th", {}, title), h("th", {}, unit))), h("tbody", {}, rows.map(([name, amount]) => h("tr", {}, h("td", { dir: "auto" }, name), h("td", { class: "number" }, count(amount)))))));
    refill(
      this.#lists,
      table("Most seen pages", "Views", pages.slice(0, 10).map(({ url, title, views }) => [title || url, views])),
      table("Where they come from", "Visits", referrers.slice(0, 10).map(({ referrer, visits }) => [referrer || "directly", visits])),
    );
  }
}

/** @param {number} time */
const dateOf = (time) => new Date(time).toISOString().slice(0, 10);
