/** The two conversations of the page: with the AI, and in a room where people talk. */
import { DOMAIN, randomId } from "./connection.js";
import { NAMES_SHOWN_MAX, atEnd, clock, element, onSubmit, part, rewrite, write } from "./dom.js";

/** @import { Connection, Frame, Guest, Hears } from "./connection.js" */

const ROOM = "demo";
/** The server forgets a typing-start after 10 s; repeated a little earlier it does not flicker. */
const TYPING_REPEAT_MS = 6_000;

/** The conversation with the AI, one question at a time. */
export class Ask {
  /** @type {Connection} */
  #page;
  /** @type {Guest} */
  #me;
  #log = part("ai-log", HTMLElement);
  #submit = part("ai-submit", HTMLButtonElement);
  // Of its own for each load: the page cannot show an earlier conversation, so the model should not go on with it.
  conversationId = `start-${randomId()}`;
  /** `next`: index of the chunk to come @type {{text: string, isSent: boolean, next: number, box: HTMLElement} | null} */
  #run = null;

  /** @param {Connection} page @param {Guest} me */
  constructor(page, me) {
    this.#page = page;
    this.#me = me;
    onSubmit("ai", (text) => this.#ask(text));
    for (const chip of document.querySelectorAll("[data-ask]")) {
      chip.addEventListener("click", () => this.#ask(chip.textContent ?? ""));
    }
  }

  /** @param {string} text @returns {boolean} whether it was taken */
  #ask(text) {
    if (this.#run) return false;
    const box = messageBox("AI", "", "", false);
    box.classList.add("writing");
    this.#log.append(messageBox("You", text, "", true), box);
    this.#log.scrollTop = this.#log.scrollHeight;
    // A screen reader shall read the answer once, not each word as it comes.
    this.#log.setAttribute("aria-busy", "true");
    this.#submit.disabled = true;
    this.#run = { text, isSent: false, next: 0, box };
    this.#send();
    return true;
  }

  #send() {
    if (!this.#run) return;
    const conversation = { conversationId: this.conversationId, domainId: DOMAIN, userId: this.#me.id };
    this.#run.isSent = this.#page.send({ type: "ai-stream", message: this.#run.text, ...conversation, id: "ask" });
  }

  /** An answer belongs to its conversation, not to the socket: what was written meanwhile can be had. */
  opened() {
    if (!this.#run?.isSent) return this.#send();
    const seen = this.#run.next > 0 ? { afterIndex: this.#run.next - 1 } : {};
    this.#page.send({ type: "ai-resume", conversationId: this.conversationId, ...seen, id: "ask" });
  }

  /** @type {Hears} */
  hears = {
    "ai-stream-chunk": ({ index, chunk }) => {
      const run = this.#run;
      if (!run || index < run.next) return;
      run.next = index + 1;
      atEnd(this.#log, () => run.box.querySelector(".bubble")?.append(chunk));
    },
    "ai-stream-complete": ({ provider, model, usage, fullResponse, fallback, error, code }) => {
      const isDemo = provider === "demo";
      const from = isDemo ? "built-in demo, no model connected" : `${model}, ${usage?.outputTokens ?? 0} tokens`;
      this.#end([fullResponse, fallback].filter(Boolean).join("\n\n"), error ? `${from} (${code})` : from, Boolean(error));
      if (!isDemo && !error) modelConnected(model);
    },
    error: ({ code, message }) => {
      const run = this.#run;
      if (!run) return;
      const isUnknownRun = code === "not_found" || code === "unknown_type";
      if (isUnknownRun && run.next === 0) return this.#send();
      const written = run.box.querySelector(".bubble")?.textContent ?? "";
      this.#end(written, isUnknownRun ? "The answer broke off; ask again" : message, true);
    },
  };

  /** @param {string} text @param {string} meta @param {boolean} isBad */
  #end(text, meta, isBad) {
    const box = this.#run?.box;
    if (!box) return;
    this.#run = null;
    atEnd(this.#log, () => {
      rewrite(box, ".bubble", text);
      rewrite(box, ".meta", meta);
    });
    box.className = isBad ? "message failed" : "message";
    this.#log.setAttribute("aria-busy", "false");
    this.#submit.disabled = false;
  }
}

/** @param {string} model */
function modelConnected(model) {
  write("model-state", `Connected: ${model} answers here.`);
  part("model-state", HTMLElement).closest(".step")?.classList.add("done");
}

/** The room: its log in one order for everyone, and who is there. */
export class Room {
  /** @type {Connection} */
  #page;
  /** @type {Guest} */
  #me;
  #log = part("room-log", HTMLElement);
  #epoch = "";
  #lastSeq = 0;
  /** where the history that is on its way will bring us @type {{epoch: string, seq: number} | null} */
  #ahead = null;
  /** sent and not yet seen in the log, by clientMessageId @type {Map<string, {text: string, box: HTMLElement}>} */
  #pending = new Map();
  /** @type {Map<string, string>} */
  #typing = new Map();
  #typingToldAt = 0;

  /** @param {Connection} page @param {Guest} me */
  constructor(page, me) {
    this.#page = page;
    this.#me = me;
    onSubmit("room", (text) => this.#say(text));
    const input = part("room-input", HTMLInputElement);
    input.addEventListener("input", () => this.#tellTyping(input.value !== ""));
    input.addEventListener("blur", () => this.#tellTyping(false));
  }

  /** @param {string} type @param {object} [fields] */
  #send(type, fields) {
    return this.#page.send({ type, roomId: ROOM, userId: this.#me.id, userName: this.#me.name, ...fields });
  }

  opened() {
    this.#ahead = null;
    this.#typing.clear();
    this.#showTyping();
    this.#typingToldAt = 0;
    const known = this.#epoch ? { epoch: this.#epoch, lastSeq: this.#lastSeq } : {};
    this.#send("join-room", { role: "user", domainId: DOMAIN, ...known });
    // Perhaps they had arrived and only the ack was lost: the same clientMessageId makes the repetition harmless.
    for (const [id, { text }] of this.#pending) this.#sendMessage(id, text);
  }

  /** @type {Hears} */
  hears = {
    // Resumed: what was missed follows as if live. Else a history does, unless nothing was ever said.
    "joined-room": ({ resumed, epoch, seq }) => {
      this.#ahead = resumed ? null : { epoch, seq };
      if (seq === 0) this.#catchUp([]);
    },
    "message-history": ({ messages }) => this.#catchUp(messages),
    "new-message": (message) => {
      if (!this.#isNew(message)) return;
      atEnd(this.#log, () => this.#place(message));
      part("room-unread", HTMLElement).hidden = !part("panel-room", HTMLElement).hidden;
    },
    "message-updated": (frame) => {
      if (this.#isNew(frame)) rewrite(this.#log, `[data-id="${CSS.escape(frame.id)}"] .bubble`, frame.message);
    },
    "message-deleted": (frame) => {
      if (this.#isNew(frame)) this.#log.querySelector(`[data-id="${CSS.escape(frame.id)}"]`)?.remove();
    },
    "live-agent-toggled": (frame) => this.#isNew(frame),
    "room-users": ({ users, count }) => {
      const others = users.filter((/** @type {Frame} */ user) => user.userId !== this.#me.id);
      const names = [`${this.#me.name} (you)`, ...others.map((/** @type {Frame} */ user) => user.userName)];
      const shown = names.slice(0, NAMES_SHOWN_MAX);
      const more = (count ?? names.length) - shown.length;
      write("room-people", shown.join(", ") + (more > 0 ? ` and ${more} more` : ""));
    },
    "user-typing": ({ userId, userName, isTyping }) => {
      if (isTyping) this.#typing.set(userId, userName);
      else this.#typing.delete(userId);
      this.#showTyping();
    },
    "user-left": ({ userId }) => this.hears["user-typing"]?.({ type: "user-typing", userId, isTyping: false }),
    error: ({ replyTo, message }) => {
      const box = this.#settle(replyTo);
      box?.classList.replace("pending", "failed");
      if (box) rewrite(box, ".meta", `Not sent: ${message}`);
    },
  };

  /** Takes the place in the log that the join told of. @param {Frame[]} messages */
  #catchUp(messages) {
    if (!this.#ahead) return;
    ({ epoch: this.#epoch, seq: this.#lastSeq } = this.#ahead);
    this.#ahead = null;
    this.#log.replaceChildren(...[...this.#pending.values()].map(({ box }) => box));
    for (const message of messages) this.#place(message);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** Each durable event bears the next seq; one that we had is a repetition. @param {Frame} frame @returns {boolean} */
  #isNew({ seq }) {
    // Live already, and no history came: there was none.
    this.#catchUp([]);
    if (seq <= this.#lastSeq) return false;
    this.#lastSeq = seq;
    return true;
  }

  /** @param {Frame} message */
  #place({ id, userId, userName, role, message, clientMessageId, timestamp }) {
    const isMine = userId === this.#me.id;
    if (isMine) this.#settle(clientMessageId)?.remove();
    const name = role === "user" ? userName : `${userName}, ${role}`;
    const box = messageBox(isMine ? "You" : name, message, clock(timestamp), isMine);
    box.dataset.id = id;
    // What is still on its way stays below what the room has agreed on.
    this.#log.insertBefore(box, this.#log.querySelector(".pending"));
  }

  /** @param {string} clientMessageId @returns {HTMLElement | undefined} the box of a message that was on its way */
  #settle(clientMessageId) {
    const box = this.#pending.get(clientMessageId)?.box;
    this.#pending.delete(clientMessageId);
    return box;
  }

  /** @param {string} text @returns {boolean} */
  #say(text) {
    const id = randomId();
    const box = messageBox("You", text, "on its way", true);
    box.classList.add("pending");
    this.#log.append(box);
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#pending.set(id, { text, box });
    this.#sendMessage(id, text);
    this.#tellTyping(false);
    return true;
  }

  /** @param {string} clientMessageId @param {string} message */
  #sendMessage(clientMessageId, message) {
    this.#send("send-message", { message, role: "user", clientMessageId, domainId: DOMAIN, id: clientMessageId });
  }

  /** @param {boolean} isTyping */
  #tellTyping(isTyping) {
    const sinceMs = Date.now() - this.#typingToldAt;
    if (isTyping ? sinceMs < TYPING_REPEAT_MS : this.#typingToldAt === 0) return;
    this.#typingToldAt = isTyping ? Date.now() : 0;
    this.#send(isTyping ? "typing-start" : "typing-stop");
  }

  #showTyping() {
    const names = [...this.#typing.values()];
    const who = names.length === 1 ? `${names[0]} is` : `${names.length} people are`;
    write("room-typing", names.length === 0 ? "" : `${who} writing …`);
  }

  shown() {
    part("room-unread", HTMLElement).hidden = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/** @param {string} who @param {string} text @param {string} meta @param {boolean} isMine */
function messageBox(who, text, meta, isMine) {
  const parts = [element("p", "who", who), element("p", "bubble", text), element("p", "meta", meta)];
  return element("div", isMine ? "message mine" : "message", ...parts);
}
