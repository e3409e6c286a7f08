/** A conversation with the site's AI as it is set now, which no visitor sees. */
import { randomId } from "./browser.js";
import { reason } from "./session.js";
import { h, icon, refill, write } from "./ui.js";

/** @import { AnswerStream } from "/client/index.js" */
/** @import { Site } from "./site.js" */

export class TestChat {
  #site;
  #conversationId = "";
  #log = h("div", { class: "test-log", role: "log", "aria-label": "Test conversation", tabindex: "0" });
  #input = h("input", { id: "test-input", autocomplete: "off", maxlength: "4000", placeholder: "Ask what a visitor would ask" });
  element;
  /** @type {AnswerStream | undefined} */
  #answer;

  /** @param {Site} site */
  constructor(site) {
    this.#site = site;
    const form = h("form", { class: "composer-row", onsubmit: (/** @type {Event} */ event) => this.#ask(event) }, h("label", { class: "unseen", for: "test-input" }, "Test question"), this.#input, h("button", { type: "submit", class: "button primary" }, "Ask"));
    const again = h("button", { type: "button", class: "button quiet", onclick: () => this.#begin() }, "Begin anew");
    this.element = h("aside", { class: "test-chat", "aria-label": "Try it" }, h("div", { class: "test-head" }, h("h2", {}, "Try it"), again), h("p", { class: "soft small" }, "With what is saved. No visitor sees this."), this.#log, form);
    this.#begin();
  }

  stop() {
    this.#answer?.cancel();
  }

  #begin() {
    this.stop();
    this.#conversationId = `console-${randomId()}`;
    refill(this.#log);
  }

  /** @param {Event} event */
  async #ask(event) {
    event.preventDefault();
    const question = this.#input.value.trim();
    if (!question) return;
    this.stop();
    this.#input.value = "";
    const bubble = h("div", { class: "bubble writing", dir: "auto" });
    const about = h("p", { class: "meta" });
    const box = h("div", { class: "message ai first" }, h("div", { class: "who" }, h("span", { class: "avatar ai-face" }, icon("spark")), "Assistant"), bubble, about);
    this.#log.append(h("div", { class: "message mine" }, h("div", { class: "bubble", dir: "auto" }, question)), box);
    const toEnd = () => (this.#log.scrollTop = this.#log.scrollHeight);
    toEnd();
    const { session, domainId } = this.#site;
    try {
      const answer = session.weeziq.ai.stream(question, { domainId, userId: session.agent.userId, conversationId: this.#conversationId });
      this.#answer = answer;
      for await (const text of answer) {
        bubble.append(text);
        toEnd();
      }
      const { fallback, provider, model, usage, sources = [] } = /** @type {any} */ (await answer.answer);
      if (fallback) bubble.append(`\n\n${fallback}`);
      const from = provider === "demo" ? "built-in demo, no model connected" : `${model ?? ""} · ${usage?.outputTokens ?? 0} tokens`;
      write(about, [from, sources.length > 0 && `sources: ${sources.map((/** @type {any} */ { title, name }) => title || name).join(", ")}`].filter(Boolean).join(" · "));
    } catch (error) {
      write(about, reason(error));
    } finally {
      bubble.classList.remove("writing");
      toEnd();
    }
  }
}
