/** Asks for a token, over whatever is open: a draft stays where it is. */
import { agentOf } from "./session.js";
import { part, write } from "./ui.js";

export class SignIn {
  #dialog = part("sign-in", HTMLDialogElement);
  #form = part("sign-in-form", HTMLFormElement);
  #token = part("sign-in-token", HTMLInputElement);
  #remember = part("sign-in-remember", HTMLInputElement);
  #why = part("sign-in-why", HTMLElement);

  constructor() {
    // There is nothing behind it that could be used.
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  /** @param {string} why @returns {Promise<{token: string, remember: boolean}>} */
  ask(why) {
    this.#complain(why);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#token.focus();
    return new Promise((resolve) => {
      this.#form.onsubmit = (event) => {
        event.preventDefault();
        const token = this.#token.value.trim().replace(/^Bearer\s+/i, "");
        const agent = agentOf(token);
        if (!agent) return this.#complain("That is no token. It has three parts with dots between them.");
        if (agent.role === "visitor") return this.#complain("This token is a visitor’s. The console takes one of an agent or an admin.");
        this.#token.value = "";
        this.#dialog.close();
        resolve({ token, remember: this.#remember.checked });
      };
    });
  }

  /** The token is good, and not for this. @param {string} why @param {() => void} signOut */
  refuse(why, signOut) {
    this.#complain(why);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      signOut();
    };
  }

  /** @param {string} why */
  #complain(why) {
    write(this.#why, why);
    this.#why.hidden = why === "";
    this.#token.setAttribute("aria-invalid", String(why !== ""));
  }
}
