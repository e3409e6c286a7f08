/** Where the visitor writes, and what goes along with it. */
import { button, h, icon } from "./element.js";

/** @import { Session } from "./session.js" */
/** @import { Uploads } from "./uploads.js" */
/** @import { Words } from "./words.js" */

const MESSAGE_BYTES_MAX = 16 * 1024;

export class Composer {
  #words;
  #session;
  #onSay;
  #complaint = h("p", { class: "complaint", role: "alert" });
  #text;
  #send;
  #domainId;
  /** Fetched with the first file; most visitors have none. @type {Uploads | undefined} */
  #uploads;
  /** files that were chosen before it was here */
  #coming = 0;

  /** @param {Words} words @param {Session} session @param {string} domainId @param {(text: string, attachments: object[]) => void} onSay */
  constructor(words, session, domainId, onSay) {
    this.#words = words;
    this.#session = session;
    this.#onSay = onSay;
    this.#domainId = domainId;
    this.#text = h("textarea", { rows: 1, dir: "auto", "aria-label": words.write, placeholder: words.write, enterkeyhint: "send" });
    this.#send = button("send", words.send, () => this.#submit(), icon("send"));
    const file = h("input", { type: "file", multiple: true, hidden: true, tabindex: -1, "aria-hidden": "true" });
    file.addEventListener("change", () => {
      this.attach(file.files ?? []);
      file.value = "";
    });
    const attach = button("icon-button", words.attach, () => file.click(), icon("attach"));
    this.element = h("div", { class: "composer" }, this.#complaint, h("div", { class: "line" }, attach, file, this.#text, this.#send));
    this.#listen();
    this.#changed();
  }

  #listen() {
    const text = this.#text;
    text.addEventListener("input", () => {
      this.#changed();
      this.#session.room.typing(text.value !== "");
    });
    text.addEventListener("blur", () => this.#session.room.typing(false));
    text.addEventListener("keydown", (event) => {
      // While a word is being composed, as in Japanese, Enter ends that word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    text.addEventListener("paste", (event) => {
      const files = event.clipboardData?.files;
      if (!files?.length) return;
      event.preventDefault();
      this.attach(files);
    });
  }

  /** @param {Iterable<File>} files */
  async attach(files) {
    // A list of the page's is empty once its event is over.
    const chosen = [...files];
    this.#coming += 1;
    this.#changed();
    let complaint = "";
    try {
      const { Uploads } = await import("./uploads.js");
      if (!this.#uploads) {
        this.#uploads = new Uploads(this.#words, this.#session, this.#domainId, () => this.#changed());
        this.element.prepend(this.#uploads.element);
      }
      this.#uploads.add(chosen);
    } catch {
      complaint = this.#words.uploadFailed;
    }
    this.#coming -= 1;
    this.#changed();
    if (complaint) this.#complaint.textContent = complaint;
  }

  #changed() {
    const text = this.#text.value;
    const isTooLong = text.length > MESSAGE_BYTES_MAX / 4 && new TextEncoder().encode(text).length > MESSAGE_BYTES_MAX;
    this.#complaint.textContent = isTooLong ? this.#words.tooLong : "";
    const isEmpty = !text.trim() && (this.#uploads?.isEmpty ?? true);
    const isBusy = this.#coming > 0 || this.#uploads?.isBusy;
    // Not `disabled`, which would take the focus away with it.
    this.#send.setAttribute("aria-disabled", String(Boolean(isTooLong || isEmpty || isBusy)));
    this.#text.rows = Math.min(6, text.split("\n").length);
  }

  #submit() {
    if (this.#send.getAttribute("aria-disabled") === "true") return;
    const text = this.#text.value.trim();
    this.#text.value = "";
    this.#onSay(text, this.#uploads?.take() ?? []);
    this.#changed();
    this.#text.focus();
  }

  focus() {
    this.#text.focus();
  }
}
