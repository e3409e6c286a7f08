/** What happens in the room, shown; what the visitor says, said. */
import { Answer } from "./answer.js";
import { button } from "./element.js";
import { Log } from "./log.js";
import { setMark } from "./message.js";

/** @import { Frame, History, Message, Outgoing } from "/client/index.js" */
/** @import { Options } from "./options.js" */
/** @import { Session } from "./session.js" */
/** @import { Words } from "./words.js" */

const ASSISTANT = "assistant";
const EARLIER = 50;

export class Conversation {
  #words;
  #session;
  #options;
  #onTyping;
  log;
  /** @type {Answer | undefined} */
  #answer;
  /** @type {Map<string, string>} */
  #typing = new Map();
  /** people answer, so the AI is not asked */
  #isLive = false;
  /** the server itself has each message answered */
  #isAnswered = false;
  #isBegun = false;
  #welcome = "";
  /** who answers, as the domain has it */
  #assistant;
  /** the last one that came whole */
  #answered = "";

  /** @param {Options} options @param {Words} words @param {Session} session @param {(names: string[]) => void} onTyping */
  constructor(options, words, session, onTyping) {
    this.#words = words;
    this.#session = session;
    this.#options = options;
    this.#onTyping = onTyping;
    this.#assistant = words.assistant;
    const around = { words, lang: options.lang, server: options.server, me: session.userId };
    this.log = new Log(around, (beforeSeq) => this.#fetchEarlier(beforeSeq));
    this.#listen();
    this.#isLive = session.isLive;
    this.#begin();
    // Else it is about to be joined, and then asked for.
    if (session.room.position) this.#catchAnswer();
    session.site.then(({ name, welcomeMessage, autoReply }) => {
      this.#assistant = name || this.#assistant;
      this.#isAnswered = autoReply === true;
      this.#welcome = welcomeMessage || words.welcome;
      this.#greet();
    });
  }

  #listen() {
    const { room, weeziq } = this.#session;
    const { log } = this;
    for (const message of room.pending) this.#sending(message);
    room.on("history", (history) => this.#beginWith(history));
    room.on("joined", ({ liveAgent }) => {
      this.#isLive = liveAgent;
      this.#typing.clear();
      this.#catchAnswer();
      this.#begin();
    });
    room.on("message", (message) => this.#heard(message));
    room.on("updated", ({ id, message }) => log.change(id, { message, userId: "", userName: "", role: "" }));
    room.on("deleted", ({ id }) => log.change(id, undefined));
    room.on("agent", ({ enabled, userId }) => this.#agent(enabled, userId));
    room.on("user-typing", ({ userId, userName, isTyping }) => this.#setTyping(userId, isTyping ? userName : undefined));
    room.on("user-left", ({ userId }) => this.#setTyping(userId, undefined));
    room.on("message-read", ({ userId, seq }) => userId !== room.userId && log.readTo(seq));
    room.on("queued", (message) => this.#sending(message));
    room.on("failed", (message) => this.#failed(message));
    // By whichever way it comes: as one in the room, or as one who asked for what was missed.
    weeziq.on("frame", (frame) => {
      if (frame.conversationId !== room.id && frame.roomId !== room.id) return;
      if (frame.type === "ai-stream-chunk") this.#chunk(frame);
      else if (frame.type === "ai-stream-complete") this.#ended(frame);
      // Whoever asks is answered, and then told with the others.
      else if (frame.type === "human-requested" && (frame.success || frame.userId !== room.userId)) log.note(this.#words.personAsked);
    });
  }

  /** The room may have been joined long before this was opened, and its history told to nobody. */
  async #begin() {
    const { room } = this.#session;
    if (this.#isBegun || !room.position) return;
    try {
      this.#beginWith(await room.history());
    } catch {
      // With the next connection.
    }
  }

  /** @param {History} history */
  #beginWith({ messages, hasMore }) {
    this.#isBegun = true;
    this.log.begin(messages, hasMore);
    this.#greet();
    this.#seen();
  }

  /** @param {number} beforeSeq */
  async #fetchEarlier(beforeSeq) {
    const earlier = await this.#session.room.history({ beforeSeq, limit: EARLIER }).catch(() => undefined);
    if (earlier) this.log.prepend(earlier.messages, earlier.hasMore);
  }

  /** Said by the page alone, and only to whom nothing was said yet. */
  #greet() {
    if (this.#welcome && this.#isBegun) this.log.greet(this.#welcome, this.#assistant);
  }

  /** @param {Message} message */
  #heard(message) {
    if (message.role === ASSISTANT) this.#dropAnswer(message.message);
    this.#setTyping(message.userId, undefined);
    this.log.add(message);
    if (message.userId === this.#session.userId) return;
    if (this.#session.memory.kept.sound) import("./sound.js").then(({ chime }) => chime(), () => {});
    this.#seen();
  }

  #seen() {
    if (this.#session.isSeen && document.visibilityState === "visible") this.#session.read();
  }

  /** @param {boolean} enabled @param {string} userId */
  #agent(enabled, userId) {
    this.#isLive = enabled;
    if (enabled) this.#dropAnswer();
    const name = this.#session.room.users.find((user) => user.userId === userId)?.userName ?? "";
    this.log.note(enabled ? this.#words.personHere(name) : this.#words.personGone);
  }

  /** @param {string} userId @param {string | undefined} name */
  #setTyping(userId, name) {
    if (userId === this.#session.userId) return;
    if (name === undefined) this.#typing.delete(userId);
    else this.#typing.set(userId, name);
    this.#onTyping([...this.#typing.values()]);
  }

  /** @param {Frame} frame */
  #chunk({ index, chunk }) {
    this.#setTyping(ASSISTANT, undefined);
    if (!this.#answer) {
      this.#answer = new Answer(this.#assistant, this.#words, (change) => this.log.keepEnd(change));
      this.log.append(this.#answer.element);
    }
    this.#answer.add(index, chunk);
    if (this.#answer.isCut()) this.#resume();
  }

  /** @param {Frame} frame */
  #ended({ finishReason, fullResponse, fallback, error }) {
    this.#setTyping(ASSISTANT, undefined);
    // What is whole follows as a message; what was stopped by people is theirs to go on with.
    if (finishReason === "cancelled" || fullResponse === this.#answered) return this.#dropAnswer();
    if (error || finishReason === "interrupted") this.#answer?.end([fullResponse, fallback].filter(Boolean).join("\n\n"));
  }

  /** @param {string} [whole] as the room has it now */
  #dropAnswer(whole) {
    this.#answer?.remove();
    this.#answer = undefined;
    this.#answered = whole ?? this.#answered;
  }

  /** Was one being written when this page was loaded, or while the connection was away? */
  #catchAnswer() {
    this.#dropAnswer();
    this.#resume();
  }

  #resume() {
    const { room, weeziq } = this.#session;
    weeziq.ai.resume(room.id).answer.catch(() => {});
  }

  /** @param {string} text @param {any[]} attachments @returns {void} */
  say(text, attachments) {
    const { room, weeziq } = this.#session;
    const isAsked = this.#options.hasAi && !this.#isAnswered && !this.#isLive && !attachments.length && weeziq.state === "open";
    if (!isAsked) return void room.send({ message: text, ...(attachments.length && { attachments }) }).catch(() => {});
    room.typing(false);
    const item = this.log.addPending(this.#mine(text));
    item.dataset.asked = text;
    this.#ask(text, item);
  }

  /** @param {string} text @param {HTMLElement} item */
  async #ask(text, item) {
    const { room, weeziq, userId, site } = this.#session;
    await site;
    // Whoever asked before the server told that it asks by itself would be answered twice.
    if (this.#isAnswered || this.#isLive) {
      item.remove();
      return room.send({ message: text }).catch(() => {});
    }
    this.#setTyping(ASSISTANT, this.#assistant);
    const asking = { roomId: room.id, conversationId: room.id, domainId: this.#options.domain, userId };
    weeziq.ai.stream(text, asking).answer.catch((error) => {
      this.#setTyping(ASSISTANT, undefined);
      if (item.isConnected) this.#offerAgain(item, { message: text, error });
    });
  }

  /** @param {string} message @returns {import("./message.js").Shown} */
  #mine(message) {
    const { userId, userName } = this.#session;
    return { message, userId, userName, role: "customer" };
  }

  /** @param {Outgoing} message */
  #sending(message) {
    this.log.addPending({ ...this.#mine(message.message), ...message });
  }

  /** @param {Outgoing & {error: Error}} message */
  #failed(message) {
    const item = this.log.addPending({ ...this.#mine(message.message), ...message });
    this.#offerAgain(item, message);
  }

  /** @param {HTMLElement} item @param {{message: string, attachments?: any[], error: Error}} refused */
  #offerAgain(item, { message, attachments = [], error }) {
    setMark(item, "failed", this.#words);
    const again = button("again-button", "", () => {
      item.remove();
      this.say(message, attachments);
    }, this.#words.again);
    again.title = error.message;
    item.querySelector(".meta")?.append(again);
  }

  /** A person is wanted. */
  async askForPerson() {
    const { room, weeziq, userId, userName } = this.#session;
    await weeziq.request({ type: "request-human", roomId: room.id, userId, userName, domainId: this.#options.domain });
  }
}
