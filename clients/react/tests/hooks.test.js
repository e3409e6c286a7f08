/** Each hook under StrictMode, against a server that does what the scenario wants. */
import { openStage, mount } from "./support/mount.js";
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { useAiChat, useConnection, useDomainStats, useRoom, useVisit, useVisitors, useWeeziq } from "../src/index.js";
import { ANN, refused, scenario } from "../../js/tests/support/play.js";

const BOB = { userId: "bob", userName: "Bob" };
const inRoom = () => useRoom("room", ANN);
const texts = ({ messages }) => messages.map(({ message }) => message);
const count = (server, type) => server.frames.all.filter((frame) => frame.type === type).length;
/** Twice there and back: what was put off for a turn is done by then, and whatever was sent has come. */
const settled = async ({ sockets }) => {
  for (const socket of [...sockets.all, ...sockets.all]) {
    socket.ping();
    await once(socket, "pong");
  }
};
/** @param {any} socket */
const closed = (socket) => new Promise((resolve) => (socket.readyState === 3 ? resolve() : socket.on("close", resolve)));

scenario("a double mount makes one connection and one join, and unmounting ends both", async (s) => {
  const server = await s.serve();
  const view = mount(s, server.url, inRoom);
  await view.values.next({ status: "joined" });
  await settled(server);
  assert.deepEqual([server.sockets.all.length, count(server, "join-room"), count(server, "leave-room")], [1, 1, 0]);
  view.unmount();
  await server.frames.next({ type: "leave-room" });
  await closed(server.sockets.all[0]);
  assert.equal(server.sockets.all.length, 1);
});

scenario("no hook, no connection; and an empty page keeps the one that there is", async (s) => {
  const server = await s.serve();
  const stage = openStage(s, server.url);
  stage.show({ idle: () => "nothing" });
  await stage.values("idle").next();
  assert.equal(server.sockets.all.length, 0);
  for (let visit = 1; visit <= 2; visit += 1) {
    stage.show({ room: inRoom });
    await server.frames.next({ type: "join-room" });
    stage.show({});
    await server.frames.next({ type: "leave-room" });
  }
  assert.equal(server.sockets.all.length, 1);
});

scenario("two components in one room share its membership, and it ends with the last of them", async (s) => {
  const server = await s.serve();
  const stage = openStage(s, server.url);
  stage.show({ list: inRoom, box: inRoom });
  await stage.values("list").next({ status: "joined" });
  const { send } = await stage.values("box").next({ status: "joined" });
  stage.show({ list: inRoom });
  await send("Hello");
  await stage.values("list").next((state) => texts(state).includes("Hello"));
  assert.deepEqual([count(server, "join-room"), count(server, "leave-room")], [1, 0]);
  stage.show({});
  await server.frames.next({ type: "leave-room" });
});

scenario("a page that gives way to another with the same room does not leave it", async (s) => {
  const server = await s.serve();
  const stage = openStage(s, server.url);
  stage.show({ first: inRoom });
  await stage.values("first").next({ status: "joined" });
  stage.show({ second: inRoom });
  await stage.values("second").next({ status: "joined" });
  await settled(server);
  assert.deepEqual([count(server, "join-room"), count(server, "leave-room")], [1, 0]);
});

scenario("another room: the old one is left and nothing of it is shown; what is still said there is said there", async (s) => {
  const server = await s.serve();
  server.say("in the first");
  const view = mount(s, server.url, () => useRoom("room", ANN));
  const first = await view.values.next((state) => texts(state).length === 1);
  view.use(() => useRoom("other", ANN));
  const next = await view.values.next((state) => state.send !== first.send);
  assert.deepEqual([next.status, next.messages], ["joining", []]);
  await server.frames.next({ type: "join-room", roomId: "other" });
  await server.frames.next({ type: "leave-room", roomId: "room" });
  await refused(first.loadEarlier(), "closed");
  await first.send("after an upload");
  const kinds = server.frames.all.filter(({ roomId }) => roomId === "room").map(({ type }) => type);
  await server.frames.next({ type: "leave-room", roomId: "room" });
  assert.deepEqual(kinds, ["join-room", "leave-room", "join-room", "send-message"]);
  view.use(() => useRoom(null, ANN));
  await server.frames.next({ type: "leave-room", roomId: "other" });
  await refused(view.now.send("where?"), "closed");
});

scenario("another user in the same room joins anew", async (s) => {
  const server = await s.serve();
  const view = mount(s, server.url, () => useRoom("room", ANN));
  await view.values.next({ status: "joined" });
  view.use(() => useRoom("room", BOB));
  await server.frames.next({ type: "leave-room", userId: undefined });
  await server.frames.next({ type: "join-room", userId: "bob" });
  await view.values.next({ status: "joined" });
});

scenario("two users in one room over one connection: the second is told why not", async (s) => {
  const server = await s.serve();
  const stage = openStage(s, server.url);
  stage.show({ ann: inRoom });
  await stage.values("ann").next({ status: "joined" });
  stage.show({ ann: inRoom, bob: () => useRoom("room", BOB) });
  const { error } = await stage.values("bob").next({ status: "refused" });
  assert.equal(error.code, "invalid_request");
  assert.equal(stage.values("ann").all.at(-1).status, "joined");
});

scenario("what is said shows at once, is there once when it is heard, and leaving waits for it", async (s) => {
  const server = await s.serve();
  let acknowledge;
  const stored = server.answers;
  stored["send-message"] = ({ message, clientMessageId }, reply) => {
    acknowledge = () => {
      const { id, seq } = server.say(message, { clientMessageId, userId: "ann" });
      reply({ type: "message-sent", success: true, id, seq, roomId: "room", clientMessageId });
    };
  };
  const view = mount(s, server.url, inRoom);
  await view.values.next({ status: "joined" });
  const sent = view.now.send("Hello");
  await view.values.next(({ pending }) => pending[0]?.message === "Hello");
  await server.frames.next({ type: "send-message" });
  view.empty();
  await settled(server);
  assert.equal(count(server, "leave-room"), 0, "before it is stored");
  acknowledge();
  assert.equal((await sent).seq, 1);
  await server.frames.next({ type: "leave-room" });
  for (const { messages, pending } of view.values.all) assert.ok(messages.length + pending.length <= 1, "never twice");
});

scenario("edits, deletions, typing, reading, presence and takeovers change what is shown, and nothing else", async (s) => {
  const server = await s.serve();
  const view = mount(s, server.url, inRoom);
  await view.values.next({ status: "joined" });
  const [one, two] = [server.say("one"), server.say("two")];
  const both = await view.values.next((state) => texts(state).length === 2);
  const place = (frame) => server.tell({ roomId: "room", seq: server.log.push(frame), ...frame });
  place({ type: "message-updated", id: one.id, message: "ONE" });
  const edited = await view.values.next((state) => texts(state)[0] === "ONE");
  assert.equal(edited.messages[1], both.messages[1], "the same object");
  place({ type: "message-deleted", id: two.id });
  await view.values.next((state) => texts(state).length === 1);
  for (const userId of ["ann", "bob"]) server.tell({ type: "user-typing", roomId: "room", userId, userName: userId, isTyping: true });
  const typing = await view.values.next((state) => state.typing.length > 0);
  assert.deepEqual(typing.typing, [{ userId: "bob", userName: "bob" }]);
  assert.equal(typing.messages, view.now.messages);
  server.tell({ type: "user-left", roomId: "room", userId: "bob", userName: "bob" });
  await view.values.next((state) => state.typing.length === 0);
  server.tell({ type: "message-read", roomId: "room", userId: "bob", seq: 2 });
  await view.values.next((state) => state.reads.bob === 2);
  server.tell({ type: "room-users", roomId: "room", users: [{ userId: "bob" }], count: 1 });
  await view.values.next((state) => state.users.length === 1);
  place({ type: "live-agent-toggled", enabled: true, userId: "bob" });
  await view.values.next({ liveAgent: true });
  assert.deepEqual(Object.values(view.now).filter((value, n) => typeof value === "function" && value !== Object.values(both)[n]), [], "the functions stay the same");
});

scenario("an answer that is written in the room shows as it grows, gives way to the message, and ends with a takeover", async (s) => {
  const server = await s.serve();
  const view = mount(s, server.url, inRoom);
  await view.values.next({ status: "joined" });
  const chunk = (index, text) => server.tell({ type: "ai-stream-chunk", roomId: "room", conversationId: "c", index, chunk: text });
  chunk(0, "Yes");
  chunk(1, ", it is.");
  await view.values.next((state) => state.writing?.text === "Yes, it is.");
  server.tell({ type: "ai-stream-complete", roomId: "room", conversationId: "c", finishReason: "stop", fullResponse: "Yes, it is." });
  server.say("Yes, it is.", { role: "assistant" });
  const done = await view.values.next((state) => texts(state).length === 1);
  assert.equal(done.writing, undefined);
  assert.ok(view.values.all.slice(-2)[0].writing, "no moment without it");
  chunk(5, "the middle of another");
  await view.values.next((state) => state.writing?.text === "");
  server.tell({ type: "live-agent-toggled", roomId: "room", seq: server.log.push({}), enabled: true, userId: "bob" });
  await view.values.next((state) => state.liveAgent && !state.writing);
});

scenario("earlier messages are fetched once however often they are asked for", async (s) => {
  const server = await s.serve();
  for (let n = 1; n <= 60; n += 1) server.say(`${n}`);
  server.answers["fetch-history"] = ({ beforeSeq, limit }, reply) => {
    const before = server.log.filter(({ seq }) => seq < beforeSeq);
    reply({ type: "message-history", roomId: "room", messages: before.slice(-limit), hasMore: before.length > limit });
  };
  const view = mount(s, server.url, inRoom);
  const { loadEarlier } = await view.values.next({ hasMore: true });
  await Promise.all([loadEarlier(), loadEarlier()]);
  await view.values.next({ hasMore: false });
  assert.deepEqual(texts(view.now), Array.from({ length: 60 }, (_, n) => `${n + 1}`));
  await loadEarlier();
  assert.equal(count(server, "fetch-history"), 1);
});

scenario("over a lost connection what is shown stays, and what was missed is added", async (s) => {
  const server = await s.serve();
  server.say("before");
  const view = mount(s, server.url, () => ({ room: inRoom(), link: useConnection() }));
  await view.values.next(({ room }) => texts(room).length === 1);
  server.admits = () => 503;
  server.cut();
  const out = await view.values.next(({ room }) => room.status === "joining");
  assert.deepEqual(texts(out.room), ["before"]);
  const waiting = await view.values.next(({ link }) => link.state === "waiting" && link.error?.code === "refused");
  assert.ok(waiting.link.retryInMs > 0);
  const sent = view.now.room.send("mine");
  server.log.push({ type: "new-message", roomId: "room", id: "m", seq: 2, message: "missed" });
  server.admits = () => 101;
  assert.equal((await sent).seq, 3);
  await view.values.next(({ room }) => texts(room).length === 3);
  assert.deepEqual(texts(view.now.room), ["before", "missed", "mine"]);
});

scenario("after more was missed than is replayed, what was deleted meanwhile is gone too", async (s) => {
  const MISSED = 1_100;
  const server = await s.serve();
  const [, deleted] = [server.say("kept"), server.say("deleted")];
  server.answers["fetch-history"] = ({ afterSeq = 0, beforeSeq = Infinity, limit }, reply) => {
    const all = server.log.filter(({ type, id, seq }) => type === "new-message" && id !== deleted.id && seq > afterSeq && seq < beforeSeq);
    const messages = beforeSeq === Infinity ? all.slice(0, limit) : all.slice(-limit);
    reply({ type: "message-history", roomId: "room", messages, hasMore: all.length > limit });
  };
  const view = mount(s, server.url, inRoom);
  await view.values.next((state) => texts(state).length === 2);
  server.cut();
  server.log.push({ type: "message-deleted", roomId: "room", seq: 3, id: deleted.id });
  for (let n = 4; n < 4 + MISSED; n += 1) server.log.push({ type: "new-message", roomId: "room", seq: n, id: `m${n}`, message: `${n}` });
  const state = await view.values.next(({ messages }) => messages.length === 1 + MISSED);
  assert.deepEqual([texts(state)[0], texts(state)[1], texts(state).at(-1)], ["kept", "4", `${3 + MISSED}`]);
});

scenario("a room that refuses says why, with a code, and so does a message that nobody will have", async (s) => {
  const server = await s.serve({ "join-room": ({ roomId }, reply) => roomId === "closed" && reply({ type: "error", code: "forbidden", message: "members only" }) });
  const stage = openStage(s, server.url);
  stage.show({ closed: () => useRoom("closed", ANN) });
  const state = await stage.values("closed").next({ status: "refused" });
  assert.deepEqual([state.error.name, state.error.code, state.error.message], ["WeeziqError", "forbidden", "members only"]);
  await refused(state.send("anyway"), "forbidden");
});

scenario("an answer is written to its end though nobody looks, and whoever comes back finds it", async (s) => {
  let go;
  const server = await s.serve({
    "ai-stream"({ conversationId }, reply) {
      reply({ type: "ai-stream-chunk", conversationId, index: 0, chunk: "Yes" });
      go = () => reply({ type: "ai-stream-complete", conversationId, fullResponse: "Yes, it is.", finishReason: "stop" });
    },
  });
  const chat = () => useAiChat({ userId: "ann", domainId: "shop" });
  const view = mount(s, server.url, chat);
  const { send } = await view.values.next({ status: "ready" });
  send("Is it?");
  await view.values.next(({ messages, status }) => status === "writing" && messages[1].text === "Yes");
  view.empty();
  await settled(server);
  go();
  view.use(chat);
  const { messages } = await view.values.next(({ status, messages: all }) => status === "ready" && all.length === 2);
  assert.deepEqual(messages.map(({ role, text, status }) => [role, text, status]), [["user", "Is it?", "done"], ["assistant", "Yes, it is.", "done"]]);
  assert.equal(messages[1].answer.finishReason, "stop");
  assert.equal(count(server, "ai-stream"), 1);
});

scenario("the page goes away while an answer is written: no error, and the connection ends with it", async (s) => {
  const server = await s.serve({
    "ai-stream": ({ conversationId }, reply) => reply({ type: "ai-stream-chunk", conversationId, index: 0, chunk: "Yes" }),
  });
  const view = mount(s, server.url, () => useAiChat({ userId: "ann" }));
  const { send } = await view.values.next({ status: "ready" });
  const answered = send("Is it?");
  await view.values.next({ status: "writing" });
  view.unmount();
  const [{ conversationId }] = server.frames.all.filter(({ type }) => type === "ai-stream");
  server.tell({ type: "ai-stream-complete", replyTo: server.frames.all.find(({ type }) => type === "ai-stream").id, conversationId, fullResponse: "Yes.", finishReason: "stop" });
  assert.equal((await answered).fullResponse, "Yes.");
  await closed(server.sockets.all[0]);
});

scenario("stopping keeps what was written; a failure has a code, in the list and beside it", async (s) => {
  const server = await s.serve({
    "ai-stream"({ conversationId, message }, reply) {
      if (message === "no") reply({ type: "error", code: "rate_limited", message: "slowly", retryAfterMs: 5 });
      else reply({ type: "ai-stream-chunk", conversationId, index: 0, chunk: "Well" });
    },
  });
  const view = mount(s, server.url, () => useAiChat());
  const { send, stop } = await view.values.next({ status: "ready" });
  const answered = send("yes");
  await view.values.next({ status: "writing" });
  stop();
  assert.equal((await answered).finishReason, "cancelled");
  await view.values.next(({ status, messages }) => status === "ready" && messages[1].text === "Well");
  const error = await refused(send("no"), "rate_limited");
  const failed = await view.values.next(({ messages }) => messages[3]?.status === "failed");
  assert.deepEqual([failed.error, failed.messages[3].error], [error, error]);
  assert.equal(view.now.send, send, "the function stays the same");
  const asked = server.frames.all.filter(({ type }) => type === "ai-stream").map(({ conversationId }) => conversationId);
  assert.equal(asked[0], asked[1], "one conversation");
});

scenario("visitors come, move and go; what an arrival does not say is asked for", async (s) => {
  const row = (id) => ({ id, browser: "Firefox", url: "/a", title: "A", timestamp: "t", lastActivity: "t" });
  let here = [row("one")];
  const stats = ({ domainId }, reply) => reply({ type: "domain-stats", domainId, activeVisitors: here.length, totalVisitors: 10 + here.length, visitors: here, timestamp: "t" });
  const server = await s.serve({ "get-domain-stats": stats });
  const view = mount(s, server.url, () => useVisitors("shop"));
  const { visitors } = await view.values.next({ status: "live" });
  assert.deepEqual(visitors.map(({ id }) => id), ["one"]);
  here = [row("one"), row("two")];
  server.tell({ type: "visitor-joined-domain", domainId: "elsewhere", visitorId: "x", visitorData: {}, activeCount: 9, timestamp: "t" });
  server.tell({ type: "visitor-joined-domain", domainId: "shop", visitorId: "two", visitorData: { url: "/b" }, activeCount: 2, timestamp: "t" });
  const arrived = await view.values.next({ activeVisitors: 2 });
  assert.deepEqual(arrived.visitors.map(({ id, url }) => [id, url]), [["one", "/a"], ["two", "/b"]]);
  const known = await view.values.next({ totalVisitors: 12 });
  assert.equal(known.visitors[1].browser, "Firefox");
  server.tell({ type: "visitor-activity", domainId: "shop", visitorId: "one", url: "/cart", timestamp: "later" });
  const moved = await view.values.next((state) => state.visitors[0].url === "/cart");
  assert.equal(moved.visitors[0].title, "A");
  server.tell({ type: "visitor-left-domain", domainId: "shop", visitorId: "one", activeCount: 1, timestamp: "t" });
  await view.values.next({ activeVisitors: 1 });
  here = [row("two"), row("three")];
  server.cut();
  await view.values.next({ status: "loading" });
  const back = await view.values.next({ status: "live" });
  assert.deepEqual(back.visitors.map(({ id }) => id), ["two", "three"]);
});

scenario("the numbers of all sites, and why there are none", async (s) => {
  const server = await s.serve({
    "get-all-domain-stats": (_frame, reply) => reply({ type: "all-domain-stats", stats: { shop: { activeVisitors: 1, totalVisitors: 5, lastUpdated: "t" } }, timestamp: "t" }),
  });
  const view = mount(s, server.url, useDomainStats);
  await view.values.next({ status: "live" });
  server.tell({ type: "visitor-left-domain", domainId: "shop", visitorId: "one", activeCount: 0, timestamp: "t" });
  const left = await view.values.next(({ stats }) => stats.shop.activeVisitors === 0);
  assert.equal(left.stats.shop.totalVisitors, 5);
  server.answers["get-all-domain-stats"] = (_frame, reply) => reply({ type: "error", code: "forbidden", message: "agents only" });
  server.cut();
  const { error, stats } = await view.values.next({ status: "failed" });
  assert.equal(error.code, "forbidden");
  assert.ok(stats.shop, "what is shown stays");
});

scenario("a visit is told once, and its end", async (s) => {
  const server = await s.serve();
  const view = mount(s, server.url, () => useVisit("shop", { visitorId: "v", data: { plan: "free" } }));
  const { activity } = await view.values.next({ visitorId: "v" });
  const { visitorData } = await server.frames.next({ type: "visitor-joined-domain" });
  assert.deepEqual([visitorData.plan, visitorData.url, visitorData.title], ["free", "https://shop.example/start", "Shop"]);
  activity({ url: "/cart", title: "Cart" });
  await server.frames.next({ type: "visitor-activity", url: "/cart" });
  view.empty();
  await server.frames.next({ type: "visitor-left-domain" });
  assert.equal(count(server, "visitor-joined-domain"), 1);
});

scenario("what nobody waits for reaches onError, and the client itself is there for the rest", async (s) => {
  const server = await s.serve();
  const view = mount(s, server.url, useWeeziq);
  const client = await view.values.next((one) => one !== null);
  await server.sockets.next();
  server.tell("garbage");
  assert.equal((await view.errors.next()).code, "bad_frame");
  assert.equal(client.url.href, server.url);
});

scenario("another address is another connection", async (s) => {
  const [one, two] = [await s.serve(), await s.serve()];
  const stage = openStage(s, one.url);
  stage.show({ a: inRoom });
  await stage.values("a").next({ status: "joined" });
  stage.show({ a: inRoom }, two.url);
  await two.frames.next({ type: "join-room" });
  await closed(one.sockets.all[0]);
});

test("a hook without a provider says what is missing", () => {
  const Lost = () => inRoom().status;
  assert.throws(() => renderToString(createElement(Lost)), /WeeziqProvider/);
});

