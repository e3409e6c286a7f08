/** How one thing that was said looks. */
import { link as outwards, markdown } from "/markdown.js";
import { personName } from "./crowd.js";
import { avatar, h, icon, webAddress } from "./ui.js";
import { clock, full, size } from "./time.js";
import { isStaff } from "./talk.js";

/** @import { Answer, Attachment, Entry, MessageEntry, Said, Source } from "./talk.js" */

/** What is said by the same within this time stands together under one name. */
const TOGETHER_MS = 5 * 60_000;
const PICTURE_PX = { width: 320, height: 220 };
const THUMBNAIL_TYPES = /^image\/(png|jpeg|gif|webp|avif)$/;

/** @param {Entry} entry @param {Entry | undefined} previous @param {string} me */
export function entryElement(entry, previous, me) {
  if (entry.kind === "notice") {
    return h("div", { class: "notice", "data-key": entry.key }, entry.text, " ", h("time", { datetime: entry.timestamp, title: full(entry.timestamp) }, clock(entry.timestamp)));
  }
  const { message } = entry;
  const isFirst = !follows(entry, previous);
  const side = sideOf(message, me);
  const made = h(
    "article",
    { class: `message ${side}${isFirst ? " first" : ""}`, "data-key": entry.key, "data-seq": entry.seq },
    isFirst && h("header", { class: "who" }, faceOf(message, side), h("span", { class: "who-name" }, side === "mine" ? "You" : speaker(message)), roleBadge(message)),
    message.message !== "" && h("div", { class: `bubble ${side === "ai" ? "rich" : ""}`, dir: "auto" }, side === "ai" ? markdown(message.message) : withLinks(message.message)),
    ...(Array.isArray(message.attachments) ? message.attachments : []).map(attachmentCard),
    message.sources?.length ? sourcesElement(message.sources) : null,
    h("footer", { class: message.isEdited ? "meta edited" : "meta" }, h("time", { datetime: entry.timestamp, title: full(entry.timestamp) }, clock(entry.timestamp)), message.isEdited && " · edited"),
  );
  return made;
}

/** @param {MessageEntry} entry @param {Entry | undefined} previous */
function follows(entry, previous) {
  if (previous?.kind !== "message" || previous.message.userId !== entry.message.userId) return false;
  return previous.message.role === entry.message.role && Date.parse(entry.timestamp) - Date.parse(previous.timestamp) < TOGETHER_MS;
}

/** @param {Said} message @param {string} me @returns {"mine" | "ours" | "ai" | "theirs"} */
function sideOf({ userId, role }, me) {
  if (role === "assistant") return "ai";
  if (userId === me) return "mine";
  return isStaff(role) ? "ours" : "theirs";
}

/** @param {Said} message */
function speaker({ userName, userId }) {
  return personName({ userId, userName }, userId);
}

/** @param {Said} message @param {string} side */
function faceOf(message, side) {
  return side === "ai" ? h("span", { class: "avatar ai-face" }, icon("spark")) : avatar(message.userId, speaker(message));
}

/** @param {Said} message */
function roleBadge({ role }) {
  if (role === "assistant") return h("span", { class: "badge ai" }, "AI");
  return isStaff(role) && h("span", { class: "badge" }, role === "admin" ? "Admin" : "Agent");
}

/** What the AI is writing. @param {Answer} answer */
export function answerElement(answer) {
  const bubble = h("div", { class: "bubble writing", dir: "auto" }, answerText(answer));
  const name = h("span", { class: "who-name" }, "Assistant");
  return h("div", { class: "message ai first" }, h("div", { class: "who" }, h("span", { class: "avatar ai-face" }, icon("spark")), name, h("span", { class: "badge ai" }, "writing")), bubble);
}

/** @param {Answer} answer */
export const answerText = ({ text, isCut }) => (isCut ? `… ${text}` : text);

/** @param {string} text */
function withLinks(text) {
  /** @type {(string | Node)[]} */
  const parts = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g)) {
    const address = webAddress(found);
    if (!address) continue;
    parts.push(text.slice(from, index), outwards(address, found));
    from = index + found.length;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== "");
}

/** @param {Attachment} attachment of anybody's making: nothing in it is believed */
function attachmentCard(attachment) {
  const { key, name, size: bytes, contentType, url, width, height } = Object(attachment);
  // A key was held against the server's own store; an address is only somebody's word.
  const isKept = typeof key === "string" && key !== "";
  const address = isKept ? `/files/${encodeURIComponent(key)}` : webAddress(url);
  const label = typeof name === "string" && name !== "" ? name : "A file";
  const isPicture = isKept && THUMBNAIL_TYPES.test(String(contentType));
  const about = [typeof bytes === "number" && size(bytes), typeof contentType === "string" && kindOf(contentType)].filter(Boolean).join(" · ");
  const words = h("span", { class: "file-words" }, h("span", { class: "file-name", dir: "auto" }, label), h("span", { class: "file-about" }, about));
  const picture = isPicture && h("img", { src: address, alt: "", class: "thumbnail", ...shownSize(width, height) });
  // A file that was removed leaves its card.
  if (picture) picture.addEventListener("error", () => picture.replaceWith(h("span", { class: "file-gone" }, "This file is no longer there.")));
  if (!address) return h("div", { class: "file" }, icon("file"), words);
  return h("a", { class: "file", href: address, target: "_blank", rel: "noopener noreferrer", download: isKept && !isPicture ? label : false }, picture || icon("file"), words);
}

/** As large as it will be, so that nothing moves once it is there. @param {unknown} width @param {unknown} height in pixels of the picture */
function shownSize(width, height) {
  if (!Number.isInteger(width) || !Number.isInteger(height)) return {};
  const [wide, high] = [Number(width), Number(height)];
  const scale = Math.min(1, PICTURE_PX.width / wide, PICTURE_PX.height / high);
  return { width: Math.max(1, Math.round(wide * scale)), height: Math.max(1, Math.round(high * scale)) };
}

/** @param {string} contentType */
function kindOf(contentType) {
  const [kind, exact = ""] = contentType.split(";")[0]?.split("/") ?? [];
  return (exact.length > 12 ? kind : exact)?.toUpperCase() ?? "";
}

/** @param {Source[]} sources */
function sourcesElement(sources) {
  const each = sources.slice(0, 8).map(({ name, title, text }) => h("li", {}, h("strong", {}, title || name), title && title !== name && h("span", { class: "source-name" }, name), text && h("p", {}, text)));
  const label = sources.length === 1 ? "1 source" : `${sources.length} sources`;
  return h("details", { class: "sources" }, h("summary", {}, label), h("ol", {}, each));
}
