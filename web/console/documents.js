/** The documents that the AI answers from: by button, dropped, or written here. */
import { reason } from "./session.js";
import { ago, count, size } from "./time.js";
import { confirmed, h, iconButton, refill, say } from "./ui.js";

/** @import { Site } from "./site.js" */
/** @typedef {{name: string, title?: string, size: number, updatedAt: string, passages: number}} Document */

const BYTES_MAX = 1_048_576;
const KINDS = /\.(md|markdown|txt)$/i;

export class Documents {
  #site;
  #list = h("ul", { class: "documents" });
  #picker = h("input", { type: "file", multiple: true, accept: ".md,.markdown,.txt,text/plain,text/markdown", hidden: true, onchange: () => this.#picked() });
  #name = h("input", { id: "document-name", autocomplete: "off", placeholder: "returns.md", required: true });
  #text = h("textarea", { id: "document-text", rows: "10", dir: "auto", placeholder: "# Returns\n\nWithin 30 days …" });
  #editor = h("form", { class: "stack", hidden: true, onsubmit: (/** @type {Event} */ event) => this.#saveText(event) });
  element;

  /** @param {Site} site */
  constructor(site) {
    this.#site = site;
    const cancel = h("button", { type: "button", class: "button quiet", onclick: () => (this.#editor.hidden = true) }, "Cancel");
    refill(
      this.#editor,
      h("label", { class: "field", for: "document-name" }, "Name", this.#name),
      h("label", { class: "field", for: "document-text" }, "Text, plain or Markdown", this.#text),
      h("div", { class: "deeds" }, h("button", { type: "submit", class: "button primary" }, "Save document"), cancel),
    );
    const add = h("button", { type: "button", class: "button", onclick: () => this.#picker.click() }, "Upload");
    const write = h("button", { type: "button", class: "button quiet", onclick: () => this.#open("", "") }, "Write one");
    const drop = (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      this.#put([...(event.dataTransfer?.files ?? [])]);
    };
    this.element = h(
      "section",
      { class: "card stack", "aria-labelledby": "documents-title", ondragover: (/** @type {Event} */ event) => event.preventDefault(), ondrop: drop },
      h("h2", { id: "documents-title" }, "Documents"),
      h("p", { class: "soft small" }, "Text that the AI answers from, and names below its answer. Plain text or Markdown, 1 MiB at most."),
      this.#list,
      h("div", { class: "deeds" }, add, this.#picker, write),
      this.#editor,
    );
  }

  get #path() {
    return `/domains/${encodeURIComponent(this.#site.domainId)}/knowledge`;
  }

  async load() {
    try {
      const { documents } = await this.#site.session.api(this.#path);
      this.#draw(documents);
    } catch (error) {
      refill(this.#list, h("li", { class: "complaint" }, reason(error)));
    }
  }

  /** @param {Document[]} documents */
  #draw(documents) {
    const line = (/** @type {Document} */ { name, title, size: bytes, updatedAt, passages }) => {
      const words = h("span", { class: "document-words" }, h("button", { type: "button", class: "link-button", dir: "auto", onclick: () => this.#edit(name) }, title || name), h("span", { class: "soft small" }, `${name} · ${size(bytes)} · ${count(passages)} passages · ${ago(updatedAt)}`));
      return h("li", {}, words, iconButton(`Remove ${name}`, "trash", () => this.#remove(name)));
    };
    refill(this.#list, documents.length > 0 ? documents.map(line) : h("li", { class: "soft" }, "None yet."));
  }

  /** @param {string} name */
  async #edit(name) {
    try {
      const file = await this.#site.session.file(`${this.#path}/${encodeURIComponent(name)}`);
      this.#open(name, await file.text());
    } catch (error) {
      say(reason(error), "bad");
    }
  }

  /** @param {string} name @param {string} text */
  #open(name, text) {
    [this.#name.value, this.#text.value] = [name, text];
    this.#editor.hidden = false;
    (name ? this.#text : this.#name).focus();
  }

  /** @param {Event} event */
  async #saveText(event) {
    event.preventDefault();
    const name = this.#name.value.trim();
    if (!name) return this.#name.focus();
    if (await this.#putOne(KINDS.test(name) ? name : `${name}.md`, this.#text.value)) this.#editor.hidden = true;
    await this.load();
  }

  #picked() {
    this.#put([...(this.#picker.files ?? [])]);
    this.#picker.value = "";
  }

  /** @param {File[]} files */
  async #put(files) {
    for (const file of files) {
      if (file.size > BYTES_MAX) say(`${file.name} is larger than 1 MiB.`, "bad");
      else await this.#putOne(file.name, file);
    }
    await this.load();
  }

  /** @param {string} name @param {string | Blob} body */
  async #putOne(name, body) {
    const type = /\.(md|markdown)$/i.test(name) ? "text/markdown" : "text/plain";
    try {
      await this.#site.session.api(`${this.#path}/${encodeURIComponent(name)}`, { method: "PUT", body, type });
      say(`${name} is known from now on.`);
      return true;
    } catch (error) {
      say(`${name}: ${reason(error)}`, "bad");
      return false;
    }
  }

  /** @param {string} name */
  async #remove(name) {
    if (!(await confirmed(`Remove ${name}?`, "The AI does not answer from it any more.", "Remove"))) return;
    await this.#site.session.api(`${this.#path}/${encodeURIComponent(name)}`, { method: "DELETE" }).catch((error) => say(reason(error), "bad"));
    await this.load();
  }
}
