/**
 * What operators see of a site's rooms and do with them: the list and its pages, who has a room, how it stands, what is
 * said over HTTP; and how those hear of it who watch. A list may be a moment behind its rooms, so tests wait for it.
 */
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { get, post } from "../http.js";
import { say, suite } from "../scenario.js";
import { absent, assertHttpError, assertShape, positive, text, timestamp } from "../shape.js";

const { scenario } = suite();

const AGENT = { userId: "ann", userName: "Ann" };

const encode = encodeURIComponent;
const roomUrl = (s, room, rest = "") => s.url(`/rooms/${encode(room)}${rest}`);
const change = (s, room, what, body = {}) => post(roomUrl(s, room, `/${what}`), body);

async function list(s, domainId, query = "") {
  const reply = await get(s.url(`/rooms?domainId=${encode(domainId)}${query}`));
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
}

/** The list, once it is as awaited. */
const listWhen = (s, domainId, holds, query = "") => eventually(async () => (await list(s, domainId, query)).rooms, holds);

const entryWhen = async (s, domainId, roomId, holds, query) =>
  (await listWhen(s, domainId, (rooms) => rooms.some((r) => r.roomId === roomId && holds(r)), query)).find((r) => r.roomId === roomId);

/** A customer in a room of that site who has said something. */
async function customer(s, domainId, { room = s.unique("room"), user = "cleo", words = ["hello"] } = {}) {
  const member = await s.member(room, user, { role: "customer", domainId });
  for (const message of words) await say(member, room, user, message, { role: "customer" });
  return { member, room };
}

scenario("a room is listed with what was said last", async (s) => {
  const domainId = s.unique("shop");
  const { room } = await customer(s, domainId, { words: ["hello", `${"long ".repeat(100)}`] });
  const entry = await entryWhen(s, domainId, room, (r) => r.seq === 2);
  assertShape(entry, {
    roomId: room,
    domainId,
    state: "open",
    seq: 2,
    customer: { userId: "cleo", userName: "Cleo" },
    assignee: absent,
    rating: absent,
    unread: absent,
    waitingSince: absent,
    createdAt: timestamp,
    updatedAt: timestamp,
  });
  assertShape(entry.lastMessage, { id: text, seq: 2, userId: "cleo", userName: "Cleo", role: "customer", timestamp });
  assert.equal(entry.lastMessage.message, "long ".repeat(40), "the first 200 characters");
  assert.deepEqual((await get(roomUrl(s, room))).json, entry);
});

scenario("a room that names no site is in nobody's list, and can be read all the same", async (s) => {
  const room = s.unique("room");
  const member = await s.member(room, "bob");
  await say(member, room, "bob", "anybody?");
  assertShape((await get(roomUrl(s, room))).json, { roomId: room, domainId: absent, state: "open", seq: 1 });
  assertHttpError(await get(s.url("/rooms")), 400, "invalid_request", "domainId");
});

scenario("a room belongs to the first site that it is said to be of", async (s) => {
  const [room, domainId] = [s.unique("room"), s.unique("shop")];
  const early = await s.member(room, "ann", { role: "agent" });
  await say(early, room, "ann", "is anybody there?", { role: "agent" });
  await customer(s, domainId, { room });
  await entryWhen(s, domainId, room, (r) => r.seq === 2);
  await customer(s, s.unique("elsewhere"), { room, words: [] });
  assertShape((await get(roomUrl(s, room))).json, { domainId });
});

scenario("who only opens a page is not in the list", async (s) => {
  const domainId = s.unique("shop");
  const silent = await customer(s, domainId, { words: [] });
  const spoken = await customer(s, domainId);
  const rooms = await listWhen(s, domainId, (all) => all.length > 0);
  assert.deepEqual(rooms.map((r) => r.roomId), [spoken.room]);
  assertShape((await get(roomUrl(s, silent.room))).json, { seq: 0, state: "open" });
});

scenario("from open to live to closed, and open again when the customer comes back", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId);
  assertShape((await change(s, room, "assign", AGENT)).json, { state: "open", assignee: AGENT });
  const sent = await post(roomUrl(s, room, "/messages"), { ...AGENT, role: "agent", message: "How can I help?" });
  assertShape(sent, { status: 201 });
  assertShape((await get(roomUrl(s, room))).json, { state: "live", assignee: AGENT });
  await entryWhen(s, domainId, room, (r) => r.state === "live", "&state=live");
  assertShape((await change(s, room, "close")).json, { state: "closed", assignee: AGENT });
  assertShape((await change(s, room, "close")).json, { state: "closed" });
  await entryWhen(s, domainId, room, (r) => r.state === "closed", "&state=closed");
  await say(member, room, "cleo", "one more thing", { role: "customer" });
  assertShape((await get(roomUrl(s, room))).json, { state: "open", assignee: AGENT });
  assertShape((await change(s, room, "close")).json, { state: "closed" });
  assertShape((await change(s, room, "reopen")).json, { state: "open" });
  assertShape((await change(s, room, "assign", { userId: null })).json, { assignee: absent });
  const again = await entryWhen(s, domainId, room, (r) => r.state === "open" && !r.assignee, "&assignee=");
  assert.deepEqual((await list(s, domainId, "&state=live")).rooms, []);
  assert.equal(again.seq, 3);
});

scenario("a takeover makes a room live, and closing it hands back", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId);
  const agent = await s.member(room, "ann", { role: "agent" });
  agent.send({ type: "toggle-live-agent", roomId: room, enabled: true });
  await member.next({ type: "live-agent-toggled", roomId: room, enabled: true });
  assertShape((await get(roomUrl(s, room))).json, { state: "live" });
  assertShape((await change(s, room, "close")).json, { state: "closed" });
  assertShape(await member.next({ type: "live-agent-toggled", roomId: room, enabled: false }), { seq: 3 });
  await say(member, room, "cleo", "hello?", { role: "customer" });
  assertShape((await get(roomUrl(s, room))).json, { state: "open" });
});

scenario("a message that is sent twice over HTTP is there once", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId);
  const body = { ...AGENT, role: "agent", message: "How can I help?", clientMessageId: "m-1" };
  const [first, second] = [await post(roomUrl(s, room, "/messages"), body), await post(roomUrl(s, room, "/messages"), body)];
  assert.deepEqual([first.status, second.status], [201, 201]);
  assertShape(first.json, { success: true, id: text, roomId: room, seq: 2, clientMessageId: "m-1", duplicate: absent, timestamp, type: absent });
  assert.deepEqual(second.json, { ...first.json, duplicate: true });
  assertShape(await member.next({ type: "new-message", roomId: room, userId: "ann" }), { id: first.json.id, seq: 2, role: "agent", message: body.message });
  await member.fence(room);
  assert.equal(member.unread({ type: "new-message", roomId: room, userId: "ann" }).length, 0);
});

scenario("history is read both ways", async (s) => {
  const { room } = await customer(s, s.unique("shop"), { words: ["1", "2", "3", "4", "5"] });
  const page = async (query) => {
    const { json } = await get(roomUrl(s, room, `/messages${query}`));
    return { said: json.messages.map((m) => m.message).join(""), hasMore: json.hasMore };
  };
  assert.deepEqual(await page(""), { said: "12345", hasMore: false });
  assert.deepEqual(await page("?limit=2"), { said: "45", hasMore: true });
  assert.deepEqual(await page("?limit=2&beforeSeq=4"), { said: "23", hasMore: true });
  assert.deepEqual(await page("?limit=3&afterSeq=1"), { said: "234", hasMore: true });
  assert.deepEqual(await page("?afterSeq=5"), { said: "", hasMore: false });
});

scenario("unread is counted for each agent: what came after they read or wrote", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId, { words: ["1", "2", "3"] });
  const unread = (user, count) => entryWhen(s, domainId, room, (r) => r.unread === count, `&userId=${user}`);
  await unread("ann", 3);
  const agent = await s.member(room, "ann", { role: "agent" });
  await agent.ask({ type: "mark-read", roomId: room, seq: 2 }, "marked-read");
  await unread("ann", 1);
  await unread("ben", 3);
  await say(member, room, "cleo", "4", { role: "customer" });
  await unread("ann", 2);
  await post(roomUrl(s, room, "/messages"), { ...AGENT, role: "agent", message: "I see" });
  await unread("ann", 0);
  await unread("ben", 5);
  assertShape((await get(roomUrl(s, room, "?userId=ann"))).json, { unread: 0 });
});

scenario("a rating is the customer's, and stays with the room", async (s) => {
  const domainId = s.unique("shop");
  const { room } = await customer(s, domainId);
  assertShape((await change(s, room, "rate", { score: 2 })).json, { rating: { score: 2 } });
  const rating = { score: 5, comment: "Merci — très bien" };
  assertShape((await change(s, room, "rate", rating)).json, { rating });
  await entryWhen(s, domainId, room, (r) => r.rating?.score === 5);
  for (const score of [0, 6, 1.5, "5", null, -1]) assertHttpError(await change(s, room, "rate", { score }), 400, "invalid_request", "score");
  assertHttpError(await change(s, room, "rate", { score: 1, comment: "x".repeat(1001) }), 413, "too_large", "comment");
});

scenario("the customer's page on the site stands in the list", async (s) => {
  const [domainId, user] = [s.unique("shop"), s.unique("cleo")];
  const { room } = await customer(s, domainId, { user });
  const browser = await s.connect();
  browser.send({ type: "visitor-joined-domain", domainId, visitorId: user, visitorData: { url: "https://shop.example/hats", title: "Hats" } });
  await browser.next({ type: "visitor-joined-domain", domainId });
  await entryWhen(s, domainId, room, (r) => r.page?.url === "https://shop.example/hats" && r.page.title === "Hats");
  browser.send({ type: "visitor-activity", domainId, visitorId: user, url: "https://shop.example/pay", title: "Pay" });
  await entryWhen(s, domainId, room, (r) => r.page?.url === "https://shop.example/pay");
});

scenario("those who watch hear how rooms stand; a visitor does not", async (s) => {
  const domainId = s.unique("shop");
  const dashboard = await s.connect();
  await dashboard.fence(s.unique("room"));
  const { member, room } = await customer(s, domainId);
  // Of its own room: those of earlier scenarios are told of once more, up to a second later.
  const told = await dashboard.next((f) => f.type === "room-updated" && f.room.roomId === room);
  assertShape(told, { timestamp });
  assertShape(told.room, { roomId: room, domainId, state: "open", seq: positive, lastMessage: told.room.lastMessage });
  const all = Array.from({ length: 20 }, (_, n) => say(member, room, "cleo", `and ${n}`, { role: "customer" }));
  await Promise.all(all);
  const last = await dashboard.next((f) => f.type === "room-updated" && f.room.roomId === room && f.room.seq === 21);
  assert.equal(last.room.lastMessage.seq, 21);
  assert.ok(dashboard.unread((f) => f.type === "room-updated" && f.room.roomId === room).length < 10, "a busy room is told of now and then");
  await member.fence(room);
  assert.equal(member.unread("room-updated").length, 0);
});

scenario("an edit and a deletion show in the list", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId, { words: ["first"] });
  const { id } = await say(member, room, "cleo", "secnod", { role: "customer" });
  await member.ask({ type: "edit-message", roomId: room, messageId: id, message: "second" }, "message-sent");
  await entryWhen(s, domainId, room, (r) => r.lastMessage.message === "second" && r.seq === 3);
  await member.ask({ type: "delete-message", roomId: room, messageId: id }, "message-sent");
  await entryWhen(s, domainId, room, (r) => r.lastMessage.message === "first" && r.seq === 4);
});

scenario("what a list says survives kill -9", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId);
  await change(s, room, "assign", AGENT);
  await change(s, room, "rate", { score: 4 });
  // Said within the second in which the list is told nothing new.
  await say(member, room, "cleo", "the last word", { role: "customer" });
  await s.host.kill9();
  await s.host.restart();
  const entry = await entryWhen(s, domainId, room, (r) => r.seq === 2 && r.rating?.score === 4);
  assertShape(entry, { assignee: AGENT, lastMessage: { ...entry.lastMessage, message: "the last word" } });
});

scenario("what cannot be is refused, and names why", async (s) => {
  const domainId = s.unique("shop");
  const { room } = await customer(s, domainId);
  const bad = (query, field) => get(s.url(`/rooms?domainId=${encode(domainId)}${query}`)).then((r) => assertHttpError(r, 400, "invalid_request", field));
  for (const cursor of ["", "garbage", "d1", "d1.x", "u-1.4", "d1.1'--", "d99999999999999999999.1", "%00", "%F0%9F%98%80"]) await bad(`&cursor=${cursor}`, "cursor");
  for (const state of ["lively", "", "OPEN", "open' OR 1=1 --", "0"]) await bad(`&state=${encode(state)}`, "state");
  for (const limit of ["0", "-1", "many", "1e3", "1.5"]) await bad(`&limit=${limit}`, "limit");
  await bad(`&assignee=${"x".repeat(129)}`, "assignee");
  await bad("&userId=%0A", "userId");
  for (const domain of ["", "x".repeat(129), "%0A"]) assertHttpError(await get(s.url(`/rooms?domainId=${domain}&state=open`)), 400, "invalid_request", "domainId");
  assert.deepEqual((await list(s, domainId, `&assignee=${encode("' OR 1=1 --")}`)).rooms, []);
  await listWhen(s, domainId, (rooms) => rooms.length === 1, `&userId=${encode("'); DROP TABLE inbox_room; --")}`);
  for (const route of ["", "/assign", "/close", "/reopen", "/rate"]) {
    const missing = roomUrl(s, s.unique("nowhere"), route);
    assertHttpError(await (route ? post(missing, { ...AGENT, score: 3 }) : get(missing)), 404, "not_found");
  }
  assertHttpError(await post(roomUrl(s, room, "/messages"), { message: "" }), 400, "invalid_request", "message");
  assertHttpError(await post(roomUrl(s, room, "/messages"), "no"), 400, "invalid_json");
  assertHttpError(await change(s, room, "assign", { userId: "ann" }), 400, "invalid_request", "userName");
  assertHttpError(await get(roomUrl(s, room, "/messages?limit=0")), 400, "invalid_request", "limit");
  assertHttpError(await get(roomUrl(s, "x".repeat(129))), 400, "invalid_request", "roomId");
  assertHttpError(await get(roomUrl(s, room, "/close")), 405, "invalid_request");
});

scenario("a thousand rooms are read page by page while they change, and none is missed", async (s) => {
  const domainId = s.unique("shop");
  const names = Array.from({ length: 1000 }, (_, n) => `${domainId}-${n}`);
  const speak = (room, message) => post(roomUrl(s, room, "/messages"), { userId: "cleo", userName: "Cleo", role: "customer", domainId, message });
  for (let from = 0; from < names.length; from += 20) await Promise.all(names.slice(from, from + 20).map((room) => speak(room, "hello")));
  const listed = async () => {
    const all = new Set();
    for (let cursor = ""; cursor !== undefined; ) {
      const page = await list(s, domainId, `&limit=200${cursor && `&cursor=${encode(cursor)}`}`);
      for (const { roomId } of page.rooms) all.add(roomId);
      cursor = page.cursor;
    }
    return all.size;
  };
  await eventually(listed, (count) => count === names.length);
  const seen = new Map();
  let [cursor, pages, again] = ["", 0, 0];
  do {
    const page = await list(s, domainId, `&limit=100${cursor && `&cursor=${encode(cursor)}`}`);
    assert.ok(page.rooms.length <= 100);
    for (const room of page.rooms) {
      assert.ok(!seen.has(room.roomId) || room.seq > seen.get(room.roomId), "a room comes twice only if it has changed");
      again += Number(seen.has(room.roomId));
      seen.set(room.roomId, room.seq);
    }
    cursor = page.cursor;
    pages += 1;
    // The oldest, which no page has shown yet, move to the top behind the reader's back.
    if (pages <= 5) await Promise.all(names.slice(pages * 20, pages * 20 + 20).map((room) => speak(room, "again")));
  } while (cursor);
  assert.equal(seen.size, 1000);
  assert.ok(pages < 15 && again <= 100, `${pages} pages, ${again} rooms again`);
}, { timeout: 300_000 });

const STATES = ["open", "waiting", "live", "closed"];
const AGENTS = { nobody: undefined, ann: AGENT, ben: { userId: "ben", userName: "Ben" } };

/** Two rooms of each state in the hands of each agent and of nobody, once the list stands as the rooms do. */
async function desks(s, domainId) {
  const rooms = [];
  for (const state of STATES) {
    for (const assignee of Object.values(AGENTS)) {
      for (const _ of [1, 2]) {
        const { member, room } = await customer(s, domainId);
        if (state === "waiting") await member.ask({ type: "request-human", roomId: room, domainId, userId: "cleo" }, "human-requested");
        if (state === "live") {
          (await s.member(room, "ann", { role: "agent" })).send({ type: "toggle-live-agent", roomId: room, enabled: true });
          await member.next({ type: "live-agent-toggled", enabled: true });
        }
        if (assignee) await change(s, room, "assign", assignee);
        if (state === "closed") await change(s, room, "close");
        rooms.push({ room, member, state, assignee: assignee?.userId ?? "" });
      }
    }
  }
  const stand = new Map(await Promise.all(rooms.map(async ({ room }) => [room, JSON.stringify((await get(roomUrl(s, room))).json)])));
  await listWhen(s, domainId, (listed) => listed.length === rooms.length && listed.every((r) => JSON.stringify(r) === stand.get(r.roomId)));
  return rooms;
}

/** All pages of a list. @param {() => Promise<unknown>} [between] two of them */
async function paged(s, domainId, query, limit, between = async () => {}) {
  const names = [];
  for (let cursor = ""; cursor !== undefined; ) {
    const page = await list(s, domainId, `${query}&limit=${limit}${cursor && `&cursor=${encode(cursor)}`}`);
    assert.ok(page.rooms.length <= limit && (page.rooms.length > 0 || !page.cursor), "a page is full, or as long as there is something left");
    names.push(...page.rooms.map(({ roomId }) => roomId));
    cursor = page.cursor;
    if (cursor) await between();
  }
  return names;
}

scenario("a list of one state, of one agent, of nobody, or of both at once is that part of the whole, in its order, over pages", async (s) => {
  const [domainId, other] = [s.unique("shop"), s.unique("elsewhere")];
  const rooms = await desks(s, domainId);
  const stranger = await customer(s, other);
  await entryWhen(s, other, stranger.room, (r) => r.state === "open");
  const order = (await list(s, domainId)).rooms.map(({ roomId }) => roomId);
  for (const state of [undefined, ...STATES]) {
    for (const assignee of [undefined, "", "ann", "ben", "nobody-we-know"]) {
      const query = `${state ? `&state=${state}` : ""}${assignee === undefined ? "" : `&assignee=${assignee}`}`;
      const wanted = rooms.filter((r) => (state ?? r.state) === r.state && (assignee ?? r.assignee) === r.assignee).map(({ room }) => room);
      const expected = order.filter((room) => wanted.includes(room));
      for (const limit of [1, 5, 200]) assert.deepEqual(await paged(s, domainId, query, limit), expected, `${query}, by ${limit}`);
    }
  }
  assert.deepEqual(await paged(s, other, "&state=open", 1), [stranger.room]);
  assert.deepEqual(await paged(s, s.unique("nowhere"), "&state=open&assignee=", 1), []);
});

scenario("pages of one state miss none of it while rooms move, come to it and leave it behind the reader's back", async (s) => {
  const domainId = s.unique("shop");
  const rooms = await desks(s, domainId);
  const order = (await list(s, domainId, "&state=waiting")).rooms.map(({ roomId }) => roomId);
  const [first, last] = [order[0], order.at(-1)].map((name) => rooms.find(({ room }) => room === name));
  const [comes, ...others] = rooms.filter(({ state }) => state === "open");
  const moves = [
    // To the top, which has been read.
    () => say(last.member, last.room, "cleo", "still there?", { role: "customer" }).then(() => entryWhen(s, domainId, last.room, (r) => r.seq > 1 && r.lastMessage.message === "still there?")),
    () => comes.member.ask({ type: "request-human", roomId: comes.room, domainId, userId: "cleo" }, "human-requested").then(() => entryWhen(s, domainId, comes.room, (r) => r.state === "waiting")),
    () => change(s, first.room, "close").then(() => entryWhen(s, domainId, first.room, (r) => r.state === "closed")),
    () => say(others[0].member, others[0].room, "cleo", "of no concern", { role: "customer" }),
  ];
  const names = await paged(s, domainId, "&state=waiting", 1, () => moves.shift()?.());
  assert.equal(moves.length, 0, "all of it happened between two pages");
  assert.deepEqual(names.slice(0, 5), order.slice(0, 5), "what does not move is where it was");
  assert.deepEqual(names.slice(5), [last.room, comes.room], "what has changed comes behind, once");
  const now = [comes.room, last.room, ...order.slice(1, 5)];
  assert.deepEqual(await paged(s, domainId, "&state=waiting", 4), now, "and whoever begins anew finds it on top");
});

scenario("a visitor who is in no room hears that somebody speaks in the room of their name, also on the next page", async (s) => {
  const domainId = s.unique("shop");
  const visitorId = s.unique("visitor");
  const first = await s.connect();
  await first.ask({ type: "visitor-joined-domain", domainId, visitorId });
  const other = await s.connect();
  await other.ask({ type: "visitor-joined-domain", domainId, visitorId: s.unique("visitor") });
  const speak = (message, role, userId) => post(roomUrl(s, visitorId, "/messages"), { message, userId, userName: userId, role, domainId });
  assert.equal((await speak("Shall I help you?", "agent", "ann")).status, 201);
  const waiting = await first.next({ type: "message-waiting" });
  assertShape(waiting, { type: "message-waiting", roomId: visitorId, domainId, timestamp });
  first.socket.terminate();
  const second = await s.connect();
  second.send({ type: "visitor-joined-domain", domainId, visitorId });
  assertShape(await second.next({ type: "message-waiting" }), { type: "message-waiting", roomId: visitorId, domainId, timestamp });

  // What they say themselves is no news to them: whoever comes now is told nothing.
  assert.equal((await speak("Yes, please.", "customer", visitorId)).status, 201);
  await listWhen(s, domainId, ([room]) => room?.lastMessage?.message === "Yes, please.");
  const third = await s.connect();
  await third.ask({ type: "visitor-joined-domain", domainId, visitorId });
  await third.ask({ type: "ping" });
  assert.ok(!third.frames.some(({ type }) => type === "message-waiting"));
  assert.ok(!other.frames.some(({ type }) => type === "message-waiting"));
});
