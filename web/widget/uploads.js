/** Files on their way to the server, each with what has become of it. */
import { button, h, icon } from "./element.js";

/** @import { Session } from "./session.js" */
/** @import { Words } from "./words.js" */

/** @typedef {{file: File, item: HTMLElement, uploaded?: object, stop: AbortController}} Upload */

const FILE_BYTES_MAX = 25 * 1024 * 1024;
const FILES_MAX = 10;

export class Uploads {
  /** @type {Upload[]} */
  #all = [];
  #words;
  #session;
  #domainId;
  #onChange;

  /** @param {Words} words @param {Session} session @param {string} domainId @param {() => void} onChange */
  constructor(words, session, domainId, onChange) {
    this.#words = words;
    this.#session = session;
    this.#domainId = domainId;
    this.#onChange = onChange;
    this.element = h("ul", { class: "uploads" });
    this.element.hidden = true;
  }

  /** Some are still on their way. */
  get isBusy() {
    return this.#all.some(({ uploaded, item }) => !uploaded && !item.classList.contains("failed"));
  }

  /** @returns {object[]} what is there, and from now on the message's */
  take() {
    const taken = this.#all.flatMap(({ uploaded }) => uploaded ?? []);
    for (const upload of this.#all.filter(({ uploaded }) => uploaded)) this.#remove(upload);
    return taken;
  }

  get isEmpty() {
    return !this.#all.some(({ uploaded }) => uploaded);
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) if (this.#all.length < FILES_MAX) this.#begin(file);
  }

  /** @param {File} file */
  #begin(file) {
    const progress = h("span", { class: "progress", role: "status" });
    const item = h("li", { class: "upload" }, icon("file"), h("span", { class: "name", dir: "auto" }, file.name), progress);
    /** @type {Upload} */
    const upload = { file, item, stop: new AbortController() };
    item.append(button("icon-button", this.#words.detach(file.name), () => this.#remove(upload), icon("close")));
    this.#all.push(upload);
    this.element.append(item);
    this.#changed();
    if (file.size > FILE_BYTES_MAX) this.#fail(upload, this.#words.tooLarge);
    else this.#send(upload, progress);
  }

  /** @param {Upload} upload @param {HTMLElement} progress */
  async #send(upload, progress) {
    const { weeziq, room, userId } = this.#session;
    const about = { roomId: room.id, domainId: this.#domainId, userId };
    const onProgress = (/** @type {{loaded: number, total: number}} */ { loaded, total }) => {
      progress.textContent = this.#words.uploading(Math.floor((100 * loaded) / (total || 1)));
    };
    try {
      upload.uploaded = await weeziq.files.upload(upload.file, { ...about, onProgress, signal: upload.stop.signal });
      progress.textContent = "";
      upload.item.classList.add("done");
    } catch {
      if (!upload.stop.signal.aborted) this.#fail(upload, this.#words.uploadFailed);
    }
    this.#changed();
  }

  /** @param {Upload} upload @param {string} why */
  #fail({ item }, why) {
    item.classList.add("failed");
    const progress = item.querySelector(".progress");
    if (progress) progress.textContent = why;
    this.#changed();
  }

  /** @param {Upload} upload */
  #remove(upload) {
    upload.stop.abort();
    upload.item.remove();
    this.#all = this.#all.filter((one) => one !== upload);
    this.#changed();
  }

  #changed() {
    this.element.hidden = this.#all.length === 0;
    this.#onChange();
  }
}
