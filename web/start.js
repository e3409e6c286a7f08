/**
 * The start page: a conversation with the AI, a room, the visitors of this site, and the frames that carry them.
 * Two plain WebSockets, as any page could open them: one takes part, the other only watches.
 */

/** @typedef {Record<string, any> & {type: string}} Frame one event of the wire */
/** @typedef {"waiting" | "good" | "bad"} State */
/**
 * @typedef {object} Handlers
 * @property {() => void} opened on each connection anew: whatever was said before has to be said again
 * @property {(frame: Frame) => void} received
 * @property {(frame: Frame, isSent: boolean) => void} passed every frame of either direction, for the log
 * @property {(state: State, sentence: string) => void} changed
 */

const ROOM = "demo";
const DOMAIN = location.host;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 20_000;
/** A page cannot see the server's pings, so it asks by itself whether a silent connection still lives. */
const SILENCE_MS_MAX = 20_000;
const PONG_WITHIN_MS = 8_000;
/** The server forgets a typing-start after 10 s; repeated a little earlier it does not flicker. */
const TYPING_REPEAT_MS = 6_000;
const FRAMES_SHOWN_MAX = 200;
const FRAME_CHARS_SHOWN_MAX = 1_200;
const VISITORS_SHOWN_MAX = 6;
const PEOPLE_SHOWN_MAX = 6;
const TICKER_LINES_MAX = 4;

/* The page */

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Text only ever enters the page as text. @param {string} tag @param {string} className @param {...(Node | string)} children */
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} id @param {string} text */
function write(id, text) {
  part(id, HTMLElement).textContent = text;
}

/** @param {string} [rfc3339] @param {boolean} [withSeconds] */
function clock(rfc3339, withSeconds = false) {
  const at = rfc3339 ? new Date(rfc3339) : new Date();
  const isToday = at.toDateString() === new Date().toDateString();
  const seconds = withSeconds ? /** @type {const} */ ("2-digit") : undefined;
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds });
  return isToday ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** Adds to a log and keeps its end in sight, unless the reader has scrolled up. @param {HTMLElement} log @param {() => void} change */
function atEnd(log, change) {
  const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  change();
  if (wasAtEnd) log.scrollTop = log.scrollHeight;
}

/** @param {"health" | "link"} id @param {State} state @param {string} sentence */
function show(id, state, sentence) {
  part(`${id}-dot`, HTMLElement).dataset.state = state;
  write(`${id}-text`, sentence);
}

/* Who this window is */

/** Not `crypto.randomUUID`: that one is missing where the page came over plain HTTP from another machine. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function randomName() {
  const [first, second] = crypto.getRandomValues(new Uint8Array(2));
  const manners = ["Amber", "Brisk", "Calm", "Dusky", "Early", "Gentle", "Lucky", "Misty", "Quick", "Sunny"];
  const animals = ["Badger", "Finch", "Heron", "Lynx", "Marten", "Otter", "Robin", "Stoat", "Swift", "Tern"];
  return `${manners[first % manners.length]} ${animals[second % animals.length]}`;
}

/** Kept for the window and its reloads: a second window is somebody else. @returns {{id: string, name: string}} */
function whoAmI() {
  const fresh = { id: `guest-${randomId()}`, name: randomName() };
  try {
    const kept = JSON.parse(sessionStorage.getItem("weeziq-guest") ?? "null");
    if (kept?.id && kept?.name) return kept;
    sessionStorage.setItem("weeziq-guest", JSON.stringify(fresh));
  } catch {
    // Storage can be forbidden; then a reload is a new guest.
  }
  return fresh;
}

const me = whoAmI();

/* The wire */

function socketAddress() {
  const address = new URL("/ws", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address.href;
}

/** A WebSocket that comes back. */
class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  #failures = 0;
  /** @type {number | undefined} */
  #retry;
  /** @type {number | undefined} */
  #watch;

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    // Both say that waiting any longer is pointless.
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#retryNow());
  }

  connect() {
    clearTimeout(this.#retry);
    this.handlers.changed("waiting", this.#failures ? "Connecting again …" : "Connecting …");
    const socket = new WebSocket(socketAddress());
    this.#socket = socket;
    // A socket that was given up can still report; its successor must not hear of it.
    const isCurrent = () => this.#socket === socket;
    socket.addEventListener("open", () => isCurrent() && this.#opened());
    socket.addEventListener("message", ({ data }) => isCurrent() && this.#received(String(data)));
    socket.addEventListener("close", () => isCurrent() && this.#lost());
  }

  /** @param {Frame} frame @returns {boolean} false: not connected, nothing was sent */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    this.handlers.passed(frame, true);
    return true;
  }

  #opened() {
    this.handlers.changed("good", "Connected");
    this.#expectLife();
    this.handlers.opened();
  }

  /** @param {string} data */
  #received(data) {
    // Only now: a server that accepts and at once hangs up must not be stormed.
    this.#failures = 0;
    this.#expectLife();
    const frame = /** @type {Frame} */ (JSON.parse(data));
    this.handlers.passed(frame, false);
    this.handlers.received(frame);
  }

  #expectLife() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.send({ type: "ping" });
      this.#watch = setTimeout(() => this.#lost(), PONG_WITHIN_MS);
    }, SILENCE_MS_MAX);
  }

  #lost() {
    clearTimeout(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#failures++);
    // Jitter: after a restart the visitors of a site must not all come back in the same instant.
    const delayMs = ceiling / 2 + (Math.random() * ceiling) / 2;
    this.#retry = setTimeout(() => this.connect(), delayMs);
    this.handlers.changed("bad", `Connection lost, next try in ${Math.ceil(delayMs / 1000)} s`);
  }

  #retryNow() {
    if (!this.#socket) this.connect();
  }
}

/** The last frames, as they were. */
class WireLog {
  #list = part("wire-frames", HTMLElement);
  #count = 0;

  constructor() {
    part("wire-clear", HTMLButtonElement).addEventListener("click", () => this.#list.replaceChildren());
    part("wire", HTMLDetailsElement).addEventListener("toggle", () => (this.#list.scrollTop = this.#list.scrollHeight));
  }

  /** @param {"page" | "watch"} socket @param {Frame} frame @param {boolean} isSent */
  add(socket, frame, isSent) {
    const text = JSON.stringify(frame);
    const cut = text.length > FRAME_CHARS_SHOWN_MAX ? `${text.slice(0, FRAME_CHARS_SHOWN_MAX)} …` : text;
    const way = element("span", isSent ? "way way-sent" : "way way-received", isSent ? "sent" : "received");
    const line = element("li", "", element("time", "", clock(undefined, true)), way, element("span", "socket", socket), element("span", "text", cut));
    atEnd(this.#list, () => this.#list.append(line));
    if (this.#list.childElementCount > FRAMES_SHOWN_MAX) this.#list.firstElementChild?.remove();
    write("wire-count", String((this.#count += 1)));
    const detail = frame.index ?? frame.seq;
    write(socket === "page" ? "chat-pulse" : "watch-pulse", `${isSent ? "→" : "←"} ${frame.type}${detail === undefined ? "" : ` ${detail}`}`);
  }
}

/* Ask the AI */

/** One question at a time. @typedef {{text: string, isSent: boolean, next: number, box: HTMLElement, bubble: HTMLElement}} Run */
class Ask {
  #log = part("ai-log", HTMLElement);
  #submit = part("ai-submit", HTMLButtonElement);
  // Of its own for each load: the page cannot show an earlier conversation, so the model should not go on with it.
  #conversationId = `start-${randomId()}`;
  /** @type {Run | null} */
  #run = null;

  /** @param {Connection} connection */
  constructor(connection) {
    this.connection = connection;
    onSubmit("ai", (text) => this.#ask(text));
    for (const chip of document.querySelectorAll("[data-ask]")) {
      chip.addEventListener("click", () => this.#ask(chip.textContent ?? ""));
    }
  }

  /** @param {string} text @returns {boolean} whether it was taken */
  #ask(text) {
    if (this.#run) return false;
    const bubble = element("p", "bubble");
    const box = element("div", "message writing", element("p", "who", "AI"), bubble);
    const question = element("div", "message mine", element("p", "who", "You"), element("p", "bubble", text));
    this.#log.append(question, box);
    this.#log.scrollTop = this.#log.scrollHeight;
    // A screen reader shall read the answer once, not each word as it comes.
    this.#log.setAttribute("aria-busy", "true");
    this.#submit.disabled = true;
    this.#run = { text, isSent: false, next: 0, box, bubble };
    this.#send(this.#run);
    return true;
  }

  /** @param {Run} run */
  #send(run) {
    const conversation = { conversationId: this.#conversationId, domainId: DOMAIN, userId: me.id };
    run.isSent = this.connection.send({ type: "ai-stream", message: run.text, ...conversation, id: "ask" });
  }

  /** An answer belongs to its conversation, not to the socket: what was written meanwhile can be had. */
  opened() {
    const run = this.#run;
    if (!run) return;
    if (!run.isSent) return this.#send(run);
    const seen = run.next > 0 ? { afterIndex: run.next - 1 } : {};
    this.connection.send({ type: "ai-resume", conversationId: this.#conversationId, ...seen, id: "ask" });
  }

  /** @param {Frame} frame */
  chunk(frame) {
    const run = this.#run;
    if (!run || frame.conversationId !== this.#conversationId || frame.index < run.next) return;
    run.next = frame.index + 1;
    atEnd(this.#log, () => run.bubble.append(frame.chunk));
  }

  /** @param {Frame} frame */
  complete(frame) {
    if (frame.conversationId !== this.#conversationId) return;
    const from = frame.provider === "demo" ? "built-in demo, no model connected" : `${frame.model} · ${frame.usage?.outputTokens ?? 0} tokens`;
    const text = [frame.fullResponse, frame.fallback].filter(Boolean).join("\n\n");
    this.#end(text, frame.error ? `${frame.code ?? "error"} · ${from}` : from, Boolean(frame.error));
    if (!frame.error && frame.provider !== "demo") modelConnected(frame.model);
  }

  /** @param {Frame} frame an error that answers our question, or our wish to resume it */
  refused(frame) {
    const run = this.#run;
    if (!run) return;
    const isUnknownRun = frame.code === "not_found" || frame.code === "unknown_type";
    if (isUnknownRun && run.next === 0) return this.#send(run);
    this.#end(run.bubble.textContent ?? "", isUnknownRun ? "The answer broke off. Ask again." : frame.message, true);
  }

  /** @param {string} text @param {string} meta @param {boolean} isBad */
  #end(text, meta, isBad) {
    const run = this.#run;
    if (!run) return;
    this.#run = null;
    atEnd(this.#log, () => {
      run.bubble.textContent = text;
      run.box.classList.remove("writing");
      run.box.append(element("p", isBad ? "meta bad" : "meta", meta));
    });
    this.#log.setAttribute("aria-busy", "false");
    this.#submit.disabled = false;
  }
}

/** @param {string} model */
function modelConnected(model) {
  const state = part("model-state", HTMLElement);
  state.textContent = `Connected: ${model} answers here.`;
  state.closest(".step")?.classList.add("done");
}

/* The room */

class Room {
  #log = part("room-log", HTMLElement);
  #input = part("room-input", HTMLInputElement);
  #epoch = "";
  #lastSeq = 0;
  /** the place in the log that a history on its way will bring us to @type {{epoch: string, seq: number} | null} */
  #ahead = null;
  /** sent and not yet seen in the log, by clientMessageId @type {Map<string, {text: string, box: HTMLElement}>} */
  #pending = new Map();
  /** @type {Map<string, string>} */
  #typing = new Map();
  #typingToldAt = 0;
  #unread = 0;

  /** @param {Connection} connection */
  constructor(connection) {
    this.connection = connection;
    onSubmit("room", (text) => this.#say(text));
    this.#input.addEventListener("input", () => this.#tellTyping(this.#input.value !== ""));
    this.#input.addEventListener("blur", () => this.#tellTyping(false));
  }

  /** @param {string} type @param {object} fields */
  #send(type, fields = {}) {
    return this.connection.send({ type, roomId: ROOM, userId: me.id, userName: me.name, ...fields });
  }

  opened() {
    this.#ahead = null;
    this.#typing.clear();
    this.#typingToldAt = 0;
    this.#send("join-room", { role: "user", domainId: DOMAIN, ...(this.#epoch && { epoch: this.#epoch, lastSeq: this.#lastSeq }) });
    // Perhaps they had arrived and only the ack was lost: the same clientMessageId makes the repetition harmless.
    for (const [id, { text }] of this.#pending) this.#sendMessage(id, text);
  }

  /** @param {Frame} frame */
  joined(frame) {
    if (frame.resumed) return;
    const place = { epoch: frame.epoch, seq: frame.seq };
    // Nothing was ever said, so no history will come. Otherwise the old state stays until it does.
    if (frame.seq === 0) return this.#replace(place, []);
    this.#ahead = place;
  }

  /** @param {Frame} frame */
  history(frame) {
    if (this.#ahead) this.#replace(this.#ahead, frame.messages);
    this.#ahead = null;
  }

  /** @param {{epoch: string, seq: number}} place @param {Frame[]} messages */
  #replace({ epoch, seq }, messages) {
    this.#epoch = epoch;
    this.#lastSeq = seq;
    this.#log.replaceChildren(...[...this.#pending.values()].map(({ box }) => box));
    for (const message of messages) this.#place(message);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** Each durable event bears the next seq; one that we had is a repetition. @param {Frame} frame @returns {boolean} */
  #isNew(frame) {
    if (frame.seq <= this.#lastSeq) return false;
    this.#lastSeq = frame.seq;
    return true;
  }

  /** @param {Frame} frame */
  message(frame) {
    if (!this.#isNew(frame)) return;
    atEnd(this.#log, () => this.#place(frame));
    if (part("panel-room", HTMLElement).hidden) this.#countUnread(this.#unread + 1);
  }

  /** @param {Frame} frame */
  changed(frame) {
    if (!this.#isNew(frame)) return;
    const box = this.#log.querySelector(`[data-id="${CSS.escape(frame.id ?? "")}"]`);
    const bubble = box?.querySelector(".bubble");
    if (frame.type === "message-deleted") box?.remove();
    else if (frame.type === "message-updated" && bubble) bubble.textContent = frame.message;
    else if (frame.type === "live-agent-toggled") this.#notice(frame.enabled ? "A person has taken over from the AI." : "The AI is in charge again.");
  }

  /** @param {Frame} frame */
  #place(frame) {
    const isMine = frame.userId === me.id;
    if (isMine) this.#settle(frame.clientMessageId);
    const name = isMine ? "You" : frame.role === "user" ? frame.userName : `${frame.userName} · ${frame.role}`;
    const box = this.#bubble(isMine, name, frame.message, clock(frame.timestamp));
    box.dataset.id = frame.id;
    // What is still on its way stays below what the room has agreed on.
    this.#log.insertBefore(box, this.#log.querySelector(".pending"));
  }

  /** @param {boolean} isMine @param {string} name @param {string} text @param {string} meta */
  #bubble(isMine, name, text, meta) {
    return element("div", isMine ? "message mine" : "message", element("p", "who", name), element("p", "bubble", text), element("p", "meta", meta));
  }

  /** @param {string} text @returns {boolean} */
  #say(text) {
    const id = randomId();
    const box = this.#bubble(true, "You", text, "on its way");
    box.classList.add("pending");
    this.#log.append(box);
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#pending.set(id, { text, box });
    this.#sendMessage(id, text);
    this.#tellTyping(false);
    return true;
  }

  /** @param {string} clientMessageId @param {string} text */
  #sendMessage(clientMessageId, text) {
    this.#send("send-message", { message: text, role: "user", clientMessageId, domainId: DOMAIN, id: clientMessageId });
  }

  /** @param {string} clientMessageId */
  #settle(clientMessageId) {
    this.#pending.get(clientMessageId)?.box.remove();
    this.#pending.delete(clientMessageId);
  }

  /** @param {Frame} frame an error; its replyTo may name one of our messages */
  refused(frame) {
    const refused = this.#pending.get(frame.replyTo);
    if (!refused) return;
    this.#pending.delete(frame.replyTo);
    refused.box.classList.replace("pending", "failed");
    const meta = refused.box.querySelector(".meta");
    if (meta) meta.textContent = `Not sent: ${frame.message}`;
  }

  /** @param {Frame} frame */
  people(frame) {
    const others = frame.users.filter((/** @type {Frame} */ user) => user.userId !== me.id).map((/** @type {Frame} */ user) => user.userName);
    const names = [`${me.name} (you)`, ...others];
    const more = (frame.count ?? names.length) - Math.min(names.length, PEOPLE_SHOWN_MAX);
    write("room-people", names.slice(0, PEOPLE_SHOWN_MAX).join(", ") + (more > 0 ? ` and ${more} more` : ""));
    const here = new Set(frame.users.map((/** @type {Frame} */ user) => user.userId));
    for (const id of this.#typing.keys()) if (!here.has(id)) this.#typing.delete(id);
    this.#showTyping();
  }

  /** @param {Frame} frame */
  cameOrWent(frame) {
    if (frame.userId !== me.id) this.#notice(`${frame.userName} ${frame.type === "user-joined" ? "came in" : "left"}`);
  }

  /** @param {string} text */
  #notice(text) {
    atEnd(this.#log, () => this.#log.insertBefore(element("p", "notice", text), this.#log.querySelector(".pending")));
  }

  /** @param {Frame} frame */
  typing(frame) {
    if (frame.isTyping) this.#typing.set(frame.userId, frame.userName);
    else this.#typing.delete(frame.userId);
    this.#showTyping();
  }

  #showTyping() {
    const names = [...this.#typing.values()];
    write("room-typing", names.length === 0 ? "" : names.length === 1 ? `${names[0]} is writing …` : `${names.length} people are writing …`);
  }

  /** @param {boolean} isTyping */
  #tellTyping(isTyping) {
    const sinceMs = Date.now() - this.#typingToldAt;
    if (isTyping ? sinceMs < TYPING_REPEAT_MS : this.#typingToldAt === 0) return;
    this.#typingToldAt = isTyping ? Date.now() : 0;
    this.#send(isTyping ? "typing-start" : "typing-stop");
  }

  /** @param {number} count */
  #countUnread(count) {
    this.#unread = count;
    const badge = part("room-unread", HTMLElement);
    badge.hidden = count === 0;
    badge.textContent = String(count);
    badge.setAttribute("aria-label", `${count} unread`);
  }

  seen() {
    this.#countUnread(0);
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}
