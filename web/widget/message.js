/** One message as it is shown. */
import { link, markdown, safeAddress } from "../markdown.js";
import { h, icon } from "./element.js";

/** @import { Words } from "./words.js" */

/**
 * @typedef {object} Shown
 * @property {string} [id]
 * @property {number} [seq]
 * @property {string} message
 * @property {string} userId
 * @property {string} userName
 * @property {string} role
 * @property {any[]} [attachments]
 * @property {any[]} [sources]
 * @property {string} [timestamp]
 * @property {string} [clientMessageId]
 *
 * @typedef {"sending" | "sent" | "read" | "failed"} Mark
 *
 * @typedef {object} Around
 * @property {Words} words
 * @property {string} lang
 * @property {string} server
 * @property {string} me
 */

/** Image kinds that every browser shows and none can run. */
const PICTURE = /^image\/(png|jpeg|gif|webp|avif)$/;
const PICTURE_PX_MAX = 240;
const MARKS = { sending: "○", sent: "✓", read: "✓✓", failed: "!" };

/** @param {Shown} message @param {Around} around */
export function messageItem(message, around) {
  const { words, me } = around;
  const isMine = message.userId === me;
  const kind = isMine ? "mine" : message.role === "assistant" ? "assistant" : "person";
  const who = h("p", { class: "who" }, isMine ? words.you : message.userName);
  const item = h("li", { class: `message ${kind}` }, who);
  if (message.message) item.append(bubble(message.message, isMine));
  if (Array.isArray(message.attachments)) for (const attached of message.attachments) item.append(attachment(attached, around));
  if (Array.isArray(message.sources) && message.sources.length) item.append(sources(message.sources, words));
  item.append(h("p", { class: "meta" }, message.timestamp && time(message.timestamp, around.lang), isMine && h("span", { class: "mark" })));
  if (message.id) item.dataset.id = message.id;
  if (message.seq) item.dataset.seq = String(message.seq);
  item.dataset.who = message.userId;
  return item;
}

/** What people type is text, with its links; what a model writes is Markdown, and so is what operators paste. @param {string} text @param {boolean} isMine */
export function bubble(text, isMine) {
  const made = h("div", { class: "bubble", dir: "auto" });
  if (isMine) made.append(...linked(text));
  else made.append(markdown(text));
  return made;
}

/** @param {string} text */
function linked(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"']{1,2000}[^\s<>"'.,:;!?)\]}])/);
  return parts.map((part, index) => (index % 2 && safeAddress(part) ? link(part, part) : part));
}

/** @param {any} attached @param {Around} around */
function attachment(attached, { words, server }) {
  const address = typeof attached?.url === "string" ? safeAddress(attached.url, server) : undefined;
  const name = String(attached?.name ?? address ?? "");
  const label = h("span", { class: "name", dir: "auto" }, name);
  if (!address) return h("p", { class: "attachment" }, icon("file"), label);
  const size = typeof attached.size === "number" ? h("span", { class: "size" }, bytes(attached.size)) : "";
  const made = link(address, icon("file"), label, size);
  made.className = "attachment";
  // Pictures of other places would tell them who reads this.
  if (PICTURE.test(attached.contentType) && address.startsWith(server)) picture(made, attached, address, words);
  return made;
}

/** @param {HTMLElement} made @param {any} attached @param {string} address @param {Words} words */
function picture(made, { name, width, height }, address, words) {
  const image = h("img", { alt: String(name ?? ""), loading: "lazy", decoding: "async" });
  if (width > 0 && height > 0) {
    const scale = Math.min(1, PICTURE_PX_MAX / Math.max(width, height));
    [image.width, image.height] = [Math.round(width * scale), Math.round(height * scale)];
  }
  const gone = h("span", { class: "gone" }, words.fileGone);
  image.onerror = () => {
    image.replaceWith(gone);
    made.classList.remove("picture");
  };
  image.src = address;
  made.classList.add("picture");
  made.prepend(image);
}

/** @param {any[]} found @param {Words} words */
function sources(found, words) {
  const entries = found.map((source) => {
    const address = safeAddress(String(source?.url ?? source?.name ?? ""));
    const title = String(source?.title ?? source?.name ?? "");
    return h("li", { dir: "auto" }, address ? link(address, title) : h("strong", {}, title), source?.text ? h("p", {}, String(source.text).slice(0, 400)) : "");
  });
  return h("details", { class: "sources" }, h("summary", {}, words.sources(found.length)), h("ol", {}, ...entries));
}

/** @param {HTMLElement} item @param {Mark} mark @param {Words} words */
export function setMark(item, mark, words) {
  const shown = item.querySelector(".mark");
  if (!shown || item.dataset.mark === mark) return;
  item.dataset.mark = mark;
  shown.replaceChildren(h("span", { "aria-hidden": "true" }, MARKS[mark]), h("span", {}, words[mark]));
}

/** By the server's clock: that of the visitor may be years off. @param {string} rfc3339 @param {string} lang */
function time(rfc3339, lang) {
  const at = new Date(rfc3339);
  if (Number.isNaN(at.valueOf())) return h("time", {});
  const isToday = at.toDateString() === new Date().toDateString();
  const shown = at.toLocaleString(lang, { ...(isToday ? {} : { day: "numeric", month: "short" }), hour: "2-digit", minute: "2-digit" });
  return h("time", { datetime: at.toISOString() }, shown);
}

/** @param {number} count */
function bytes(count) {
  const [value, unit] = count < 1_000 ? [count, "B"] : count < 1_000_000 ? [count / 1_000, "kB"] : [count / 1_000_000, "MB"];
  return `${value.toFixed(value < 10 && unit !== "B" ? 1 : 0)} ${unit}`;
}
