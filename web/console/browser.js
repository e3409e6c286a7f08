/** What a browser keeps for us, or refuses to. */

/** Kept for the window first: a token that is not to be remembered ends with it. @param {string} name @returns {string | null} */
export function kept(name) {
  try {
    return sessionStorage.getItem(name) ?? localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string | null} value null forgets it @param {boolean} isForLong for all windows, until it is forgotten */
export function keep(name, value, isForLong) {
  try {
    sessionStorage.removeItem(name);
    if (value === null || isForLong) localStorage.removeItem(name);
    if (value !== null) (isForLong ? localStorage : sessionStorage).setItem(name, value);
  } catch {
    // Storage is forbidden or full: it lasts as long as the page.
  }
}

/** Not `crypto.randomUUID`: that one is missing where the page came over plain HTTP from another machine. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text @param {HTMLElement} source selected instead where there is no clipboard, as over plain HTTP */
export async function copyText(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(source);
    return false;
  }
}

/** Told by the system if the window is not looked at, and only to who asked for it. */
export class Notifier {
  /** @type {(href: string) => void} */
  #open;

  /** @param {(href: string) => void} open */
  constructor(open) {
    this.#open = open;
  }

  /** Whether the browser has such a thing, and nobody has decided yet. */
  get canAsk() {
    return "Notification" in globalThis && Notification.permission === "default";
  }

  get isOn() {
    return "Notification" in globalThis && Notification.permission === "granted";
  }

  async ask() {
    return (await Notification.requestPermission()) === "granted";
  }

  /** @param {string} title @param {string} body @param {string} href */
  tell(title, body, href) {
    if (!this.isOn || (document.visibilityState === "visible" && document.hasFocus())) return;
    try {
      // One a conversation: the next replaces it.
      const notification = new Notification(title, { body: body.slice(0, 200), tag: href });
      notification.onclick = () => {
        window.focus();
        this.#open(href);
        notification.close();
      };
    } catch {
      // Browsers of phones have the name and refuse to make one.
    }
  }
}
