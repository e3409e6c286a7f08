/** Where an agent writes: drafts that outlive a reload, canned replies behind `/`, files by button, drop and paste. */
import { keep, kept } from "./browser.js";
import { reason } from "./session.js";
import { size } from "./time.js";
import { h, icon, iconButton, part, refill, say, write } from "./ui.js";

/** @import { Attachment, Talk } from "./talk.js" */
/** @import { Site } from "./site.js" */

/** @typedef {{shortcut: string, text: string}} Canned */

const CHARS_MAX = 16_000;
const CANNED_SHOWN_MAX = 8;
const FILES_MAX = 10;

export class Composer {
  #site;
  /** @type {Talk | undefined} */
  #talk;
  #input = h("textarea", {
    id: "reply", rows: "1", maxlength: String(CHARS_MAX), placeholder: "Write a reply, or / for a canned one", dir: "auto", enterkeyhint: "send",
    "aria-autocomplete": "list", "aria-controls": "canned",
    oninput: () => this.#typed(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event), onblur: () => this.#talk?.type(false),
    onpaste: (/** @type {ClipboardEvent} */ event) => this.#take(event.clipboardData?.files, event),
  });
  #canned = h("ul", { class: "canned", id: "canned", role: "listbox", "aria-label": "Canned replies", hidden: true });
  #files = h("ul", { class: "outgoing-files", "aria-label": "Files to send" });
  #picker = h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#picked() });
  #send = h("button", { type: "submit", class: "button primary" });
  element = h(
    "form",
    { class: "composer", onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
    this.#canned,
    this.#files,
    h("label", { class: "unseen", for: "reply" }, "Your reply"),
    h("div", { class: "composer-row" }, iconButton("Attach a file", "attach", () => this.#picker.click()), this.#picker, this.#input, this.#send),
  );
  /** @type {Canned[]} */
  #offered = [];
  #chosen = 0;
  /** what goes with the next message, by room @type {Map<string, Attachment[]>} */
  #attached = new Map();
  #uploading = 0;

  /** @param {Site} site */
  constructor(site) {
    this.#site = site;
  }

  /** @param {Talk | undefined} talk */
  show(talk) {
    this.#talk?.type(false);
    this.#talk = talk;
    this.#input.value = talk ? (kept(draftOf(talk)) ?? "") : "";
    this.#offer([]);
    this.#fit();
    this.#drawFiles();
    this.update();
  }

  update() {
    const label = this.#talk?.isLive ? "Send" : "Take over & send";
    if (this.#send.dataset.label === label) return;
    this.#send.dataset.label = label;
    refill(this.#send, icon("send"), h("span", {}, label));
  }

  focus() {
    this.#input.focus();
  }

  #typed() {
    const talk = this.#talk;
    if (!talk) return;
    const { value } = this.#input;
    keep(draftOf(talk), value || null, true);
    talk.type(value !== "");
    this.#offer(value.startsWith("/") && !value.includes("\n") ? this.#matching(value.slice(1)) : []);
    this.#fit();
  }

  #fit() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(this.#input.scrollHeight + 2, 200)}px`;
  }

  /** @param {string} words */
  #matching(words) {
    const wanted = words.trim().toLowerCase();
    const all = this.#site.cannedReplies.filter(({ shortcut, text }) => `${shortcut}\n${text}`.toLowerCase().includes(wanted));
    const isBegun = (/** @type {Canned} */ { shortcut }) => Number(shortcut.toLowerCase().startsWith(wanted));
    return all.sort((a, b) => isBegun(b) - isBegun(a)).slice(0, CANNED_SHOWN_MAX);
  }

  /** @param {Canned[]} offered */
  #offer(offered) {
    this.#offered = offered;
    this.#chosen = 0;
    this.#canned.hidden = offered.length === 0;
    // A text of several lines has no state for it.
    if (offered.length > 0) write(part("said", HTMLElement), `${offered.length} canned ${offered.length === 1 ? "reply" : "replies"}: arrows choose, Enter takes.`);
    const option = (/** @type {Canned} */ { shortcut, text }, /** @type {number} */ place) =>
      h("li", { role: "option", id: `canned-${place}`, onmousedown: (/** @type {Event} */ event) => this.#insert(place, event) }, h("strong", {}, `/${shortcut}`), h("span", {}, text));
    refill(this.#canned, offered.map(option));
    this.#mark();
  }

  #mark() {
    [...this.#canned.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === this.#chosen)));
    if (this.#offered.length > 0) this.#input.setAttribute("aria-activedescendant", `canned-${this.#chosen}`);
    else this.#input.removeAttribute("aria-activedescendant");
  }

  /** @param {number} place @param {Event} [event] */
  #insert(place, event) {
    event?.preventDefault();
    const chosen = this.#offered[place];
    if (!chosen) return;
    this.#input.value = chosen.text;
    this.#typed();
    this.#input.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { key, shiftKey, isComposing } = event;
    // While an input method is at work, Enter is its own.
    if (isComposing) return;
    const isOffering = this.#offered.length > 0;
    if (isOffering && (key === "ArrowDown" || key === "ArrowUp")) {
      event.preventDefault();
      const count = this.#offered.length;
      this.#chosen = (this.#chosen + (key === "ArrowDown" ? 1 : count - 1)) % count;
      return this.#mark();
    }
    if (isOffering && (key === "Enter" || key === "Tab")) return this.#insert(this.#chosen, event);
    if (isOffering && key === "Escape") {
      event.stopPropagation();
      return this.#offer([]);
    }
    if (key === "Enter" && !shiftKey) this.#submit(event);
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const talk = this.#talk;
    const text = this.#input.value.trim();
    const attachments = talk ? (this.#attached.get(talk.id) ?? []) : [];
    if (!talk || (!text && attachments.length === 0)) return;
    if (this.#uploading > 0) return say("A file is still on its way; send it when it is there.", "bad");
    // Two who answer at once confuse a visitor: whoever writes is in charge.
    if (!talk.isLive) talk.takeOver(true);
    talk.send(text, attachments);
    this.#attached.delete(talk.id);
    this.#input.value = "";
    keep(draftOf(talk), null, true);
    this.#offer([]);
    this.#fit();
    this.#drawFiles();
  }

  #picked() {
    this.#take(this.#picker.files);
    this.#picker.value = "";
  }

  /** @param {FileList | null | undefined} files @param {Event} [event] */
  #take(files, event) {
    if (!files?.length) return;
    event?.preventDefault();
    this.attach([...files]);
  }

  /** @param {File[]} files */
  async attach(files) {
    const talk = this.#talk;
    if (!talk) return;
    for (const file of files.slice(0, FILES_MAX)) {
      const line = h("li", { class: "outgoing-file" }, icon("file"), h("span", { class: "file-name" }, `${file.name} (${size(file.size)})`), h("progress", { max: "1", value: 0, "aria-label": `Upload of ${file.name}` }));
      this.#files.append(line);
      this.#uploading += 1;
      try {
        const { domainId, session } = this.#site;
        const onProgress = (/** @type {{loaded: number, total: number}} */ { loaded, total }) => Object.assign(line.querySelector("progress") ?? {}, { value: loaded / total });
        const { sha256: _, ...uploaded } = /** @type {any} */ (await session.weeziq.files.upload(file, { roomId: talk.id, domainId, userId: session.agent.userId, onProgress }));
        this.#attached.set(talk.id, [...(this.#attached.get(talk.id) ?? []), uploaded]);
      } catch (error) {
        say(`${file.name} could not be sent: ${reason(error)}`, "bad");
      } finally {
        this.#uploading -= 1;
        line.remove();
        this.#drawFiles();
      }
    }
  }

  #drawFiles() {
    for (const old of this.#files.querySelectorAll("[data-key]")) old.remove();
    const attached = this.#talk ? (this.#attached.get(this.#talk.id) ?? []) : [];
    this.#files.prepend(...attached.map((file) => this.#attachedElement(file)));
  }

  /** @param {Attachment} file */
  #attachedElement(file) {
    const remove = () => {
      const roomId = this.#talk?.id ?? "";
      this.#attached.set(roomId, (this.#attached.get(roomId) ?? []).filter((one) => one !== file));
      this.#drawFiles();
      this.focus();
    };
    return h("li", { class: "outgoing-file", "data-key": file.key ?? file.name }, icon("file"), h("span", { class: "file-name" }, `${file.name} (${size(file.size ?? 0)})`), iconButton(`Remove ${file.name}`, "close", remove));
  }
}

/** @param {Talk} talk */
const draftOf = ({ id }) => `weeziq-draft ${id}`;
