/** What becomes of messages after they were sent, and who is in charge: each change has its place in the room's order. */
import assert from "node:assert/strict";
import { after } from "node:test";
import * as faulty from "../mocks/faulty.js";
import { join, say, streamAnswer, suite } from "../scenario.js";
import { assertError, assertShape, timestamp } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { scenario } = suite(provider.env);

scenario("a message is edited and another deleted: everyone is told, and the history reads so", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const [one, two] = [await say(ann, room, "ann", "one"), await say(ann, room, "ann", "two")];
  const edited = await ann.ask({ type: "edit-message", roomId: room, messageId: one.id, message: "uno" }, "message-sent");
  assertShape(edited, { success: true, roomId: room, id: one.id, seq: 3, timestamp });
  const deleted = await ann.ask({ type: "delete-message", roomId: room, messageId: two.id }, "message-sent");
  assertShape(deleted, { id: two.id, seq: 4 });
  for (const client of [ann, bob]) {
    assertShape(await client.next("message-updated"), { roomId: room, seq: 3, id: one.id, message: "uno", timestamp });
    assertShape(await client.next("message-deleted"), { roomId: room, seq: 4, id: two.id, timestamp });
  }
  const { messages } = await bob.ask({ type: "fetch-history", roomId: room }, "message-history");
  assert.deepEqual(messages.map((m) => [m.id, m.seq, m.message]), [[one.id, 1, "uno"]]);
});

scenario("only its author or an agent changes a message, and only one that is there", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const agent = await s.member(room, "agnes", { role: "agent" });
  const stranger = await s.connect();
  const { id } = await say(ann, room, "ann", "mine");
  const edit = { type: "edit-message", roomId: room, messageId: id, message: "yours" };
  for (const client of [bob, stranger]) assertError(await client.ask(edit, "error"), "forbidden");
  assertError(await bob.ask({ type: "delete-message", roomId: room, messageId: id }, "error"), "forbidden");
  for (const messageId of [`${id}9`, "nothing", `${id.slice(0, -1)}0`]) assertError(await ann.ask({ ...edit, messageId }, "error"), "not_found");
  assertError(await ann.ask({ ...edit, messageId: undefined }, "error"), "invalid_request", "messageId");
  assertError(await ann.ask({ ...edit, message: "" }, "error"), "invalid_request", "message");
  assertError(await ann.ask({ ...edit, message: "x".repeat(17_000) }, "error"), "too_large");
  assertShape(await agent.ask({ type: "delete-message", roomId: room, messageId: id }, "message-sent"), { seq: 2 });
  assertError(await ann.ask(edit, "error"), "not_found");
});

scenario("whoever was away gets the changes as they were told, in their places, over kill -9", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann", { role: "agent" }), await s.member(room, "bob")];
  const one = await say(ann, room, "ann", "one");
  await ann.ask({ type: "edit-message", roomId: room, messageId: one.id, message: "uno" }, "message-sent");
  ann.send({ type: "toggle-live-agent", roomId: room, enabled: true });
  await say(ann, room, "ann", "two");
  await ann.ask({ type: "delete-message", roomId: room, messageId: one.id }, "message-sent");
  const live = [];
  for (let n = 0; n < 5; n += 1) live.push(await bob.next((f) => f.seq === n + 1 && f.type !== "message-sent"));
  await s.host.kill9();
  await s.host.restart();
  const back = await s.connect();
  const joined = await join(back, room, "bob", { epoch: bob.joined.epoch, lastSeq: 0 });
  assertShape(joined, { resumed: true, seq: 5, liveAgent: true });
  const replayed = [];
  for (let n = 0; n < 5; n += 1) replayed.push(await back.next((f) => f.seq === n + 1 && f.type !== "joined-room"));
  assert.deepEqual(replayed, live);
  assert.deepEqual(live.map((f) => f.type), ["new-message", "message-updated", "live-agent-toggled", "new-message", "message-deleted"]);
});

scenario("an agent takes over in the middle of an answer: not a word of the AI after that place", async (s) => {
  const room = s.unique("room");
  const [agent, bob] = [await s.member(room, "agnes", { role: "agent" }), await s.member(room, "bob")];
  provider.play(faulty.held());
  bob.send({ type: "ai-stream", message: "a story", roomId: room, conversationId: s.unique("talk") });
  const upstream = await provider.request(0);
  upstream.token("Once ");
  assertShape(await agent.next("ai-stream-chunk"), { roomId: room, chunk: "Once " });
  agent.send({ type: "toggle-live-agent", roomId: room, enabled: true });
  assertShape(await agent.next("live-agent-toggled"), { roomId: room, seq: 2, enabled: true, userId: "agnes", timestamp });
  assertShape(await bob.next("ai-stream-complete"), { finishReason: "cancelled" });
  await upstream.gone;
  assertShape(await say(agent, room, "agnes", "I am here", { role: "agent" }), { seq: 3 });
  const { joined, complete } = await streamAnswer(bob, { message: "hello?", roomId: room, conversationId: s.unique("talk") });
  assert.deepEqual([joined, complete.finishReason], ["", "cancelled"]);
  await agent.fence(room);
  const heard = agent.frames.slice(agent.frames.findIndex((f) => f.type === "live-agent-toggled"));
  assert.deepEqual(heard.filter((f) => f.type.startsWith("ai-") || f.role === "assistant"), []);

  agent.send({ type: "toggle-live-agent", roomId: room, enabled: false });
  await bob.next({ type: "live-agent-toggled", enabled: false });
  provider.play(faulty.answers("Back ", "again."));
  assert.equal((await streamAnswer(bob, { message: "and now?", roomId: room, conversationId: s.unique("talk") })).joined, "Back again.");
  assertShape(await agent.next({ type: "new-message", role: "assistant" }), { message: "Back again." });
});

scenario("only an agent takes over, and taking over twice is one place in the log", async (s) => {
  const room = s.unique("room");
  const [agent, bob] = [await s.member(room, "agnes", { role: "agent" }), await s.member(room, "bob")];
  const toggle = { type: "toggle-live-agent", roomId: room, enabled: true };
  assertError(await bob.ask(toggle, "error"), "forbidden");
  assertError(await (await s.connect()).ask(toggle, "error"), "forbidden");
  assertError(await agent.ask({ ...toggle, enabled: "yes" }, "error"), "invalid_request", "enabled");
  agent.send(toggle);
  assertShape(await bob.next("live-agent-toggled"), { seq: 1, enabled: true });
  assertShape(await agent.ask(toggle, "live-agent-toggled"), { enabled: true });
  assertShape(await say(bob, room, "bob", "hello"), { seq: 2 });
  assertShape((await s.member(room, "cid")).joined, { liveAgent: true, seq: 2 });
});
