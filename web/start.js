/**
 * The start page: a conversation with the AI, a room, the visitors of this site, and the frames that carry them.
 * Two plain WebSockets, as any page could open them: one takes part, the other only watches.
 */

/** @typedef {Record<string, any> & {type: string}} Frame one event of the wire */
/** @typedef {Record<string, (frame: Frame) => void>} Hears what to do with each type of frame; others are left */
/** @typedef {"waiting" | "good" | "bad"} State */
/**
 * @typedef {object} Owner
 * @property {() => void} opened on each connection anew: whatever was said before has to be said again
 * @property {(frame: Frame) => void} received
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
/** Visitors of the site, people in the room. */
const NAMES_SHOWN_MAX = 6;
const TICKER_LINES_MAX = 6;

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Whatever the wire brings enters the page as text only. @param {string} id @param {string} text */
function write(id, text) {
  part(id, HTMLElement).textContent = text;
}

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} who @param {string} text @param {string} meta @param {boolean} isMine */
function messageBox(who, text, meta, isMine) {
  const parts = [element("p", "who", who), element("p", "bubble", text), element("p", "meta", meta)];
  return element("div", isMine ? "message mine" : "message", ...parts);
}

/** @param {HTMLElement} within @param {string} selector @param {string} text */
function rewrite(within, selector, text) {
  const found = within.querySelector(selector);
  if (found) found.textContent = text;
}

/** Keeps the end of a log in sight, unless its reader has scrolled up. @param {HTMLElement} log @param {() => void} change */
function atEnd(log, change) {
  const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  change();
  if (wasAtEnd) log.scrollTop = log.scrollHeight;
}

/** With seconds where events are told, without where people talk. @param {string} rfc3339 @param {"2-digit"} [second] */
function clock(rfc3339, second) {
  const at = new Date(rfc3339);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second, hourCycle: "h23" });
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** @param {"health" | "link"} id @param {State} state @param {string} sentence */
function show(id, state, sentence) {
  part(`${id}-dot`, HTMLElement).dataset.state = state;
  write(`${id}-text`, sentence);
}

/** @param {string} name of a form @param {(text: string) => boolean} take false leaves the text where it is */
function onSubmit(name, take) {
  const input = part(`${name}-input`, HTMLInputElement);
  part(`${name}-form`, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text && take(text)) input.value = "";
  });
}

/** Not `crypto.randomUUID`: that one is missing where the page came over plain HTTP from another machine. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function randomName() {
  const manners = ["Amber", "Brisk", "Calm", "Dusky", "Early", "Gentle", "Lucky", "Misty", "Quick", "Sunny"];
  const animals = ["Badger", "Finch", "Heron", "Lynx", "Marten", "Otter", "Robin", "Stoat", "Swift", "Tern"];
  return [manners, animals].map((words) => words[Math.floor(Math.random() * words.length)]).join(" ");
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
  #retry = 0;
  #watch = 0;

  /** @param {"page" | "watch"} name @param {Owner} owner */
  constructor(name, owner) {
    this.name = name;
    this.owner = owner;
    const retryNow = () => this.#socket || this.connect();
    // Both say that waiting any longer is pointless.
    addEventListener("online", retryNow);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && retryNow());
  }

  connect() {
    clearTimeout(this.#retry);
    this.owner.changed("waiting", this.#failures ? "Connecting again …" : "Connecting …");
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
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    logFrame(this.name, frame, text, true);
    return true;
  }

  #opened() {
    this.owner.changed("good", "Connected");
    this.#expectLife();
    this.owner.opened();
  }

  /** @param {string} text */
  #received(text) {
    // Only now: a server that accepts and at once hangs up must not be stormed.
    this.#failures = 0;
    this.#expectLife();
    const frame = /** @type {Frame} */ (JSON.parse(text));
    logFrame(this.name, frame, text, false);
    this.owner.received(frame);
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
    const ceilingMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#failures++);
    // Jitter: after a restart the visitors of a site must not all come back in the same instant.
    const delayMs = (ceilingMs * (1 + Math.random())) / 2;
    this.#retry = setTimeout(() => this.connect(), delayMs);
    this.owner.changed("bad", `Connection lost, next try in ${Math.ceil(delayMs / 1000)} s`);
  }
}

let framesPassed = 0;

/** @param {"page" | "watch"} socket @param {Frame} frame @param {string} text @param {boolean} isSent */
function logFrame(socket, frame, text, isSent) {
  const list = part("wire-frames", HTMLElement);
  const cut = text.length > FRAME_CHARS_SHOWN_MAX ? `${text.slice(0, FRAME_CHARS_SHOWN_MAX)} …` : text;
  const time = element("time", "", clock(new Date().toISOString(), "2-digit"));
  const way = isSent ? element("span", "way way-sent", "sent") : element("span", "way way-received", "received");
  const line = element("li", "", time, way, element("span", "socket", socket), element("span", "text", cut));
  atEnd(list, () => list.append(line));
  if (list.childElementCount > FRAMES_SHOWN_MAX) list.firstElementChild?.remove();
  write("wire-count", String((framesPassed += 1)));
  const place = frame.index ?? frame.seq ?? "";
  write(`${socket}-pulse`, `${isSent ? "→" : "←"} ${frame.type} ${place}`);
}

/** The conversation with the AI, one question at a time. */
class Ask {
  #log = part("ai-log", HTMLElement);
  #submit = part("ai-submit", HTMLButtonElement);
  // Of its own for each load: the page cannot show an earlier conversation, so the model should not go on with it.
  conversationId = `start-${randomId()}`;
  /** `next`: index of the chunk to come @type {{text: string, isSent: boolean, next: number, box: HTMLElement} | null} */
  #run = null;

  constructor() {
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
    const conversation = { conversationId: this.conversationId, domainId: DOMAIN, userId: me.id };
    this.#run.isSent = page.send({ type: "ai-stream", message: this.#run.text, ...conversation, id: "ask" });
  }

  /** An answer belongs to its conversation, not to the socket: what was written meanwhile can be had. */
  opened() {
    if (!this.#run?.isSent) return this.#send();
    const seen = this.#run.next > 0 ? { afterIndex: this.#run.next - 1 } : {};
    page.send({ type: "ai-resume", conversationId: this.conversationId, ...seen, id: "ask" });
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
class Room {
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

  constructor() {
    onSubmit("room", (text) => this.#say(text));
    const input = part("room-input", HTMLInputElement);
    input.addEventListener("input", () => this.#tellTyping(input.value !== ""));
    input.addEventListener("blur", () => this.#tellTyping(false));
  }

  /** @param {string} type @param {object} [fields] */
  #send(type, fields) {
    return page.send({ type, roomId: ROOM, userId: me.id, userName: me.name, ...fields });
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
      const others = users.filter((/** @type {Frame} */ user) => user.userId !== me.id);
      const names = [`${me.name} (you)`, ...others.map((/** @type {Frame} */ user) => user.userName)];
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
    const isMine = userId === me.id;
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

/** Who is on the site, as the second connection sees it: it never says who it is, and so it is told of all who do. */
class Watch {
  /** newest first @type {Frame[]} */
  #visitors = [];
  #asking = 0;

  opened() {
    watcher.send({ type: "get-domain-stats", domainId: DOMAIN });
  }

  /** @type {Hears} */
  hears = {
    "domain-stats": ({ activeVisitors, totalVisitors, visitors }) => {
      write("visitors-total", `now, ${totalVisitors} ever`);
      this.#show(activeVisitors, visitors);
    },
    "visitor-joined-domain": (frame) => {
      this.#tell(frame, "came to the site");
      // The stats know browser and system. Many may come at once; one question serves them all.
      clearTimeout(this.#asking);
      this.#asking = setTimeout(() => this.opened(), 150);
    },
    "visitor-left-domain": (frame) => {
      this.#tell(frame, "left the site");
      this.#show(frame.activeCount, this.#visitors.filter(({ id }) => id !== frame.visitorId));
    },
    "visitor-activity": (frame) => {
      this.#tell(frame, `went to “${frame.title ?? frame.url}”`);
      const { visitorId, url, title } = frame;
      const moved = this.#visitors.map((visitor) => (visitor.id === visitorId ? { ...visitor, url, title } : visitor));
      this.#show(moved.length, moved);
    },
  };

  /** @param {number} active @param {Frame[]} visitors */
  #show(active, visitors) {
    this.#visitors = visitors;
    write("visitors-now", String(active));
    const meFirst = [...visitors].sort((a, b) => Number(b.id === me.id) - Number(a.id === me.id));
    const rows = meFirst.slice(0, NAMES_SHOWN_MAX).map(visitorRow);
    if (active > rows.length) rows.push(element("li", "visitor visitor-where", `and ${active - rows.length} more`));
    part("visitors-list", HTMLElement).replaceChildren(...rows);
  }

  /** @param {Frame} frame @param {string} what */
  #tell({ visitorId, timestamp }, what) {
    const ticker = part("visitors-ticker", HTMLElement);
    const time = element("time", "", clock(timestamp, "2-digit"));
    ticker.prepend(element("li", "", time, element("span", "", `${visitorId === me.id ? "You" : "A visitor"} ${what}`)));
    while (ticker.childElementCount > TICKER_LINES_MAX) ticker.lastElementChild?.remove();
  }
}

/** @param {Frame} visitor */
function visitorRow({ id, browser, os, title, url, country, timestamp }) {
  const names = [browser, os].filter((name) => name && name !== "Unknown");
  const what = element("p", "visitor-what", names.join(" on ") || "A browser");
  if (id === me.id) what.append(element("span", "badge", "you"));
  const where = [title ?? url, country, `since ${clock(timestamp)}`].filter(Boolean).join(" · ");
  return element("li", "visitor", what, element("p", "visitor-where", where));
}

/** @param {"ai" | "room"} chosen */
function choose(chosen) {
  for (const name of ["ai", "room"]) {
    const tab = part(`tab-${name}`, HTMLElement);
    tab.setAttribute("aria-selected", String(name === chosen));
    tab.tabIndex = name === chosen ? 0 : -1;
    part(`panel-${name}`, HTMLElement).hidden = name !== chosen;
  }
  if (chosen === "room") room.shown();
  // Kept in the address: a reload and a second window open where this one is.
  history.replaceState(null, "", `#${chosen}`);
  page.send({ type: "visitor-activity", domainId: DOMAIN, visitorId: me.id, ...pageNow() });
}

/** What visitors of this page look at. */
function pageNow() {
  return { url: location.href, title: part("panel-room", HTMLElement).hidden ? "Ask the AI" : "Room" };
}

/** @param {"ai" | "room"} name @param {"ai" | "room"} other */
function wireTab(name, other) {
  const tab = part(`tab-${name}`, HTMLElement);
  tab.addEventListener("click", () => choose(name));
  tab.addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    choose(other);
    part(`tab-${other}`, HTMLElement).focus();
  });
}

/** @param {HTMLElement} button */
async function copy(button) {
  const source = part(button.dataset.copy ?? "", HTMLElement);
  try {
    await navigator.clipboard.writeText(source.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    // No clipboard over plain HTTP from another machine: leave the text selected, one key from copied.
    getSelection()?.selectAllChildren(source);
    button.textContent = "Selected";
  }
  write("said", button.textContent);
  setTimeout(() => (button.textContent = "Copy"), 2_000);
}

/** Is it well, and which version? Asked as a machine would. */
async function askHealth() {
  try {
    // no-store: a reply cached under this address could come back in the place of the page itself.
    const options = { cache: /** @type {const} */ ("no-store"), signal: AbortSignal.timeout(5_000) };
    const reply = await fetch("/", { headers: { accept: "application/json" }, ...options });
    const { status, version } = await reply.json();
    if (!reply.ok || status !== "ok") throw new Error(`status ${status}`);
    show("health", "good", `Running and well, version ${version}`);
  } catch {
    show("health", "bad", "The service does not answer");
  }
}

const me = whoAmI();

const page = new Connection("page", {
  opened() {
    const { userAgent, language } = navigator;
    const about = { userAgent, language, ...pageNow(), referrer: document.referrer, screen: `${screen.width}x${screen.height}` };
    const visitorData = { ...about, timestamp: new Date().toISOString() };
    page.send({ type: "visitor-joined-domain", domainId: DOMAIN, visitorId: me.id, visitorData });
    room.opened();
    ask.opened();
    askHealth();
  },
  received(frame) {
    const isAnswer = frame.conversationId === ask.conversationId || frame.replyTo === "ask";
    (isAnswer ? ask : room).hears[frame.type]?.(frame);
  },
  changed(state, sentence) {
    show("link", state, sentence);
    if (state === "bad") askHealth();
  },
});

const watcher = new Connection("watch", {
  opened: () => watch.opened(),
  received: (frame) => frame.domainId === DOMAIN && watch.hears[frame.type]?.(frame),
  // Told by the other connection: both go to the same place.
  changed: () => {},
});

const ask = new Ask();
const room = new Room();
const watch = new Watch();

write("me", me.name);
write("snippet-url", socketAddress());
wireTab("ai", "room");
wireTab("room", "ai");
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", () => copy(/** @type {HTMLElement} */ (button)));
}
// noopener gives the new window a session storage of its own, which makes it another person.
const openAnother = () => window.open("/#room", "_blank", "noopener,popup,width=480,height=860");
part("second-window", HTMLElement).addEventListener("click", openAnother);
part("wire-clear", HTMLElement).addEventListener("click", () => part("wire-frames", HTMLElement).replaceChildren());
// Said aloud rather than left to the server's grace for connections that merely broke.
addEventListener("pagehide", () => page.send({ type: "visitor-left-domain", domainId: DOMAIN, visitorId: me.id }));
choose(location.hash === "#room" ? "room" : "ai");
page.connect();
watcher.connect();
