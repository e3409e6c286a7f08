/** What a page has of a widget before anybody opens it: a button, and how many messages are unread. */
import { button, h, icon, styled } from "./element.js";
import { optionsOf } from "./options.js";
import { wordsOf } from "./words.js";

/** @import { App } from "./app.js" */
/** @import { Options } from "./options.js" */
/** @import { Session, Who } from "./session.js" */
/** @import { Words } from "./words.js" */

/**
 * What the page can do with it. Beside these it tells the page what happens by events of its element: `weeziq:open`,
 * `weeziq:close`, `weeziq:unread` {count}, `weeziq:message` {message}, `weeziq:answer` {model, provider}, `weeziq:unauthorized`.
 * @typedef {object} Widget
 * @property {string} domain
 * @property {HTMLElement} element
 * @property {() => Promise<void>} open
 * @property {() => void} close
 * @property {(text: string) => Promise<void>} say as if the visitor had written it
 * @property {(who: Who) => Promise<void>} identify
 * @property {() => void} remove
 */

/** Of any page that has one; a second script of the same domain is the first one's widget. @type {Map<string, Promise<Launcher>>} */
const launched = new Map();

/** @param {string} src @param {DOMStringMap} given @returns {Promise<Widget>} */
export function launch(src, given) {
  const options = optionsOf(src, given);
  const there = launched.get(options.domain) ?? Launcher.stand(options);
  launched.set(options.domain, there);
  return there;
}

/** @implements {Widget} */
export class Launcher {
  /** Side by side, if there are several. */
  static #floating = 0;
  /** @type {Session | undefined} */
  #session;
  /** @type {Promise<App> | undefined} */
  #app;
  #attempts = 0;
  #isOpen = false;
  #badge = h("span", { class: "badge", hidden: true });
  #button;

  /** @param {Options} options @param {Words} words */
  constructor(options, words) {
    this.options = options;
    this.words = words;
    this.domain = options.domain;
    this.element = document.createElement("weeziq-chat");
    this.shadow = this.element.attachShadow({ mode: "open" });
    this.root = h("section", { class: "weeziq", lang: options.lang, dir: words.dir, "data-side": options.side, "aria-label": options.title ?? words.title });
    if (options.theme) this.root.dataset.theme = options.theme;
    this.#button = button("launcher", words.open, () => this.toggle(), icon("mark"), icon("close"), this.#badge);
    this.#button.setAttribute("aria-expanded", "false");
    this.#button.removeAttribute("title");
  }

  /** @param {Options} options */
  static async stand(options) {
    const launcher = new Launcher(options, await wordsOf(options.lang));
    await launcher.#stand();
    return launcher;
  }

  async #stand() {
    const { options, root, element } = this;
    const place = options.into ? document.querySelector(options.into) : null;
    // Rules of the page for all elements reach this one; said here, and as important, they do not count. A strict policy lets
    // scripts do this, unlike attributes.
    const box = place ? "display: block; block-size: 100%;" : "display: block; position: fixed; inset: auto; inline-size: 0; block-size: 0; z-index: var(--weeziq-layer, 2147483000);";
    element.style.cssText = `all: initial; ${box}`.replaceAll(";", " !important;");
    if (options.accent) element.style.setProperty("--weeziq-accent", options.accent);
    root.classList.toggle("inline", Boolean(place));
    root.hidden = true;
    if (!place) {
      root.append(this.#button);
      root.style.setProperty("--nth", String(Launcher.#floating++));
    }
    this.shadow.append(root);
    // Not into the body: where that is exchanged, as some frameworks do, or moved by a transform, this stays.
    (place ?? document.documentElement).append(element);
    await styled(this.shadow, ["tokens.css", "widget/launcher.css"].map((file) => new URL(file, options.server).href));
    root.hidden = false;
    if (place || options.isOpen) this.open();
    else whenIdle(() => this.session().catch(() => {}));
  }

  /** The connection, from when the page is idle or the widget is opened. @returns {Promise<Session>} */
  async session() {
    const { Session } = await import("./session.js");
    return (this.#session ??= new Session(this.options, this.words, {
      unread: (count) => this.#showUnread(count),
      tell: (name, detail) => this.#tell(name, detail),
    }));
  }

  toggle() {
    if (this.#isOpen) this.close();
    else this.open();
  }

  async open() {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#showOpen();
    try {
      this.#app ??= this.#fetchApp();
      const app = await this.#app;
      if (!this.#isOpen) return;
      app.show();
      this.#tell("open");
    } catch {
      // Fetched anew at the next click: a module that failed is not asked for twice under one address.
      this.#app = undefined;
      this.#isOpen = false;
      this.#showOpen();
      this.#button.setAttribute("aria-label", this.words.unavailable);
      this.#button.title = this.words.unavailable;
    }
  }

  async #fetchApp() {
    const again = this.#attempts++ ? `?again=${this.#attempts}` : "";
    const [{ App }, session] = await Promise.all([import(`./app.js${again}`), this.session()]);
    const app = new App(this.options, this.words, session, () => this.close());
    await styled(this.shadow, [new URL("widget/app.css", this.options.server).href]);
    this.root.prepend(app.element);
    return app;
  }

  close() {
    if (!this.#isOpen || this.options.into) return;
    this.#isOpen = false;
    this.#showOpen();
    this.#app?.then((app) => app.hide()).catch(() => {});
    this.#button.focus();
    this.#tell("close");
  }

  /** @param {string} text */
  async say(text) {
    await this.open();
    (await this.#app)?.say(text);
  }

  /** Somebody else from now on: another conversation, another history. @param {Who} who */
  async identify(who) {
    const wasOpen = this.#isOpen;
    const app = await this.#app?.catch(() => undefined);
    app?.element.remove();
    this.#session?.close();
    this.#session = this.#app = undefined;
    this.#isOpen = false;
    Object.assign(this.options, who);
    if (wasOpen) await this.open();
    else await this.session();
  }

  remove() {
    launched.delete(this.domain);
    this.#session?.close();
    this.element.remove();
  }

  #showOpen() {
    this.#button.setAttribute("aria-expanded", String(this.#isOpen));
    this.#button.setAttribute("aria-label", this.#isOpen ? this.words.close : this.words.open);
    this.root.classList.toggle("open", this.#isOpen);
  }

  /** @param {number} count */
  #showUnread(count) {
    this.#badge.hidden = !count;
    this.#badge.textContent = count > 99 ? "99+" : String(count);
    if (!this.#isOpen) this.#button.setAttribute("aria-label", count ? `${this.words.open}, ${this.words.unread(count)}` : this.words.open);
    this.#tell("unread", { count });
  }

  /** @param {string} name @param {object} [detail] */
  #tell(name, detail) {
    this.element.dispatchEvent(new CustomEvent(`weeziq:${name}`, { detail, bubbles: true }));
  }
}

/** @param {() => void} then */
function whenIdle(then) {
  const idle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ soon) => setTimeout(soon, 1_000));
  idle(then, { timeout: 3_000 });
}
