/** What a site is set to: its words, its AI, its hours; with a conversation beside it to try them. */
import { Documents } from "./documents.js";
import { cannedEditor, helpdeskEditor, hoursEditor, linesField, numberField, switchField, textField } from "./fields.js";
import { reason } from "./session.js";
import { TestChat } from "./testchat.js";
import { h, refill, say, write } from "./ui.js";

/** @import { Site } from "./site.js" */
/** @import { Draft } from "./fields.js" */

export class Settings {
  #site;
  /** as the server has it */
  #saved = "";
  /** @type {Draft | undefined} */
  #draft;
  #form = h("form", { class: "settings-form stack", novalidate: true, onsubmit: (/** @type {Event} */ event) => this.#save(event), oninput: () => this.#changed() });
  #bar = h("div", { class: "save-bar", hidden: true });
  #problem = h("p", { class: "complaint", role: "alert" });
  #documents;
  #test;
  element;
  #guard = (/** @type {Event} */ event) => this.isChanged && event.preventDefault();

  /** @param {Site} site */
  constructor(site) {
    this.#site = site;
    this.#documents = new Documents(site);
    this.#test = new TestChat(site);
    const discard = h("button", { type: "button", class: "button quiet", onclick: () => this.#build(JSON.parse(this.#saved)) }, "Discard");
    refill(this.#bar, h("p", {}, "Not saved yet."), this.#problem, discard, h("button", { type: "submit", class: "button primary", form: "settings-form" }, "Save"));
    this.#form.id = "settings-form";
    const column = h("div", { class: "settings-column" }, h("div", { class: "pane-head wide-head" }, h("h1", {}, "Settings")), this.#form, this.#documents.element, this.#bar);
    this.element = h("div", { class: "view settings" }, column, this.#test.element);
    addEventListener("beforeunload", this.#guard);
  }

  get isChanged() {
    return this.#draft !== undefined && JSON.stringify(this.#draft) !== this.#saved;
  }

  show() {
    if (!this.isChanged) this.#load();
    this.#documents.load();
  }

  hide() {}

  stop() {
    this.#test.stop();
    removeEventListener("beforeunload", this.#guard);
  }

  get #path() {
    return `/domains/${encodeURIComponent(this.#site.domainId)}`;
  }

  async #load() {
    try {
      this.#build(await this.#site.session.api(this.#path));
    } catch (error) {
      refill(this.#form, h("p", { class: "note", "data-kind": "bad" }, `The settings cannot be read: ${reason(error)}`));
    }
  }

  /** @param {any} settings */
  #build(settings) {
    const { domainId: _id, schemaVersion: _version, ...draft } = settings;
    this.#draft = draft;
    this.#saved = JSON.stringify(draft);
    const { agent } = this.#site.session;
    const mayChange = agent.isOpen || agent.role === "admin";
    const changed = () => this.#changed();
    draft.ai ??= {};
    this.#saved = JSON.stringify(draft);
    const section = (/** @type {string} */ title, /** @type {string} */ about, /** @type {(Node | false)[]} */ ...fields) =>
      h("fieldset", { class: "card stack", disabled: !mayChange }, h("legend", {}, h("h2", {}, title)), about && h("p", { class: "soft small" }, about), fields);
    refill(
      this.#form,
      !mayChange && h("p", { class: "note" }, "You may read these. Changing them takes an admin’s token."),
      section("Words", "", textField(draft, "name", "Name of the assistant", "Shown above what the AI says."), textField(draft, "welcomeMessage", "Welcome message", "The first thing a visitor reads.", 2), textField(draft, "fallbackMessage", "When no model answers", "Said instead of an answer.", 2)),
      section(
        "AI",
        "",
        switchField(draft.ai, "autoReply", "Answers each visitor by itself", "Until a person takes over."),
        switchField(draft.ai, "sharePage", "Is told which page the visitor looks at", ""),
        textField(draft, "systemPrompt", "Instructions", "Who it is, how it speaks, what it must not do.", 5),
        textField(draft, "model", "Model", "Such as gpt-4o-mini or gemini-2.0-flash; empty: the server’s default."),
      ),
      section("Helpdesk", "Questions with their answers. The AI knows them, and without a model the built-in demo answers from them.", helpdeskEditor(draft, changed)),
      section("Canned replies", "An agent writes / and the first letters.", cannedEditor(draft, changed)),
      section("Business hours", "Outside of them visitors are told when somebody is there again.", hoursEditor(draft, changed)),
      section("Where the widget may be", "Origins of pages, one a line, such as https://shop.example or https://*.shop.example. Empty: as the server is set.", linesField(draft, "allowedOrigins", "Origins")),
      section("How long things are kept", "In days; empty: for good.", numberField(draft, "retention", "messagesDays", "Messages"), numberField(draft, "retention", "filesDays", "Files"), numberField(draft, "retention", "statsDays", "Numbers")),
    );
    this.#changed();
  }

  #changed() {
    this.#bar.hidden = !this.isChanged;
    write(this.#problem, "");
    for (const wrong of this.#form.querySelectorAll("[aria-invalid]")) wrong.removeAttribute("aria-invalid");
  }

  /** @param {Event} event */
  async #save(event) {
    event.preventDefault();
    const draft = this.#draft;
    if (!draft || !this.isChanged) return;
    try {
      const settings = await this.#site.session.api(this.#path, { method: "PUT", json: draft });
      // Somebody may have written on meanwhile.
      this.#saved = JSON.stringify(draft);
      this.#site.cannedReplies = settings?.cannedReplies ?? [];
      this.#bar.hidden = !this.isChanged;
      say("Saved. It counts from the next message on.");
    } catch (error) {
      this.#complain(reason(error));
    }
  }

  /** The server names the place, as in `helpdesk[3].answer is required`. @param {string} why */
  #complain(why) {
    write(this.#problem, why);
    const place = /^[\w.[\]]+/.exec(why)?.[0] ?? "";
    const field = /** @type {HTMLElement | null} */ (this.#form.querySelector(`[data-path="${CSS.escape(place)}"]`));
    field?.setAttribute("aria-invalid", "true");
    field?.focus();
  }
}
