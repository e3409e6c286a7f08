/**
 * The start page: a conversation with the AI, a room, the visitors of this site, and the frames that carry them.
 * Two connections: one takes part, the other only watches.
 */
import { Ask, Room } from "./chat.js";
import { Connection, DOMAIN, randomId, socketAddress } from "./connection.js";
import { part, show, write } from "./dom.js";
import { Watch } from "./watch.js";

/** @import { Guest } from "./connection.js" */

function randomName() {
  const manners = ["Amber", "Brisk", "Calm", "Dusky", "Early", "Gentle", "Lucky", "Misty", "Quick", "Sunny"];
  const animals = ["Badger", "Finch", "Heron", "Lynx", "Marten", "Otter", "Robin", "Stoat", "Swift", "Tern"];
  return [manners, animals].map((words) => words[Math.floor(Math.random() * words.length)]).join(" ");
}

/** Kept for the window and its reloads: a second window is somebody else. @returns {Guest} */
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

const ask = new Ask(page, me);
const room = new Room(page, me);
const watch = new Watch(watcher, me);

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
// The watcher first, so that it sees this page come.
watcher.connect();
page.connect();
