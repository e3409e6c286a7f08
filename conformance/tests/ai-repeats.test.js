/** Questions that are asked twice are answered once; what a customer said and nobody came to ask is asked, once. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { eventually } from "../eventually.js";
import { openStream, request } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());

const put = async (s, domainId, settings) => {
  const headers = { "content-type": "application/json" };
  const kept = await request(s.url(`/domains/${domainId}`), { method: "PUT", headers, body: JSON.stringify(settings) });
  assert.equal(kept.status, 200, kept.text);
};
const shop = { model: "gpt-4o", ai: { autoReply: true } };
const byAi = { type: "new-message", role: "assistant" };
/** What the model was asked, the last turn of each request. */
const asked = () => provider.requests.map((one) => one.messages.at(-1).content);

describe("the same question", () => {
  const { scenario } = suite(provider.env);

  scenario("repeated while it is answered, on every way: one request to the model, and all hear its answer", async (s) => {
    provider.play(faulty.held());
    const question = { message: "why?", userId: "ann", conversationId: s.unique("talk"), model: "gpt-4o" };
    const [clicks, named, other] = [await s.connect(), await s.connect(), await s.connect()];
    clicks.send({ type: "ai-stream", ...question });
    const upstream = await provider.request(0);
    upstream.token("Be");
    assertShape(await clicks.next("ai-stream-chunk"), { chunk: "Be", index: 0 });
    clicks.send({ type: "ai-stream", ...question });
    named.send({ type: "ai-stream", id: "again", ...question });
    assertShape(await named.next("ai-stream-chunk"), { chunk: "Be", index: 0, replyTo: "again" });
    other.send({ type: "ai-chat", id: "whole", ...question });
    // Behind it on the same connection: so the one before has joined too.
    assertShape(await other.ask({ type: "ai-resume", conversationId: question.conversationId }), { type: "ai-stream-chunk", chunk: "Be" });
    const streamed = await openStream(s.url("/ai/stream"), question);
    // And so has the second click.
    await clicks.fence(question.conversationId);
    clicks.send({ type: "ai-chat", id: "behind", ...question, message: "and then?" });
    upstream.token("cause.");
    upstream.finish();
    assertShape(await clicks.next("ai-stream-complete"), { fullResponse: "Because.", finishReason: "stop" });
    assertShape(await named.next("ai-stream-complete"), { fullResponse: "Because.", replyTo: "again" });
    assertShape(await other.next("ai-response"), { message: "Because.", replyTo: "whole" });
    assert.equal(await streamed.rest(), "Because.");
    const behind = await provider.request(1);
    assert.equal(behind.messages.at(-1).content, "and then?");
    behind.token("Nothing.");
    behind.finish();
    assertShape(await clicks.next("ai-response"), { message: "Nothing.", replyTo: "behind" });
    assert.equal(clicks.frames.filter((f) => f.type === "ai-stream-complete").length, 1, "a second click without a name hears no second answer");
    assert.equal(clicks.frames.filter((f) => f.type === "ai-stream-chunk").map((f) => f.chunk).join(""), "Because.");
    assert.deepEqual(asked(), ["why?", "and then?"]);
  });

  scenario("asked again after its answer, or by somebody else meanwhile, is a question of its own", async (s) => {
    provider.play(faulty.answers("Yes."));
    const [client, conversationId] = [await s.connect(), s.unique("talk")];
    const ask = (userId) => client.ask({ type: "ai-chat", message: "yes", userId, conversationId, model: "gpt-4o" });
    for (let n = 0; n < 2; n += 1) assertShape(await ask("ann"), { type: "ai-response", message: "Yes." });
    provider.play(faulty.held());
    const [ann, bob] = [ask("ann"), ask("bob")];
    (await provider.request(0)).finish();
    (await provider.request(1)).finish();
    await Promise.all([ann, bob]);
    assert.equal(provider.requests.length, 2);
  });

  scenario("a customer clicks twice, and the page tries again: one answer; the same words afterwards get another", async (s) => {
    const [domainId, room] = [s.unique("shop"), s.unique("room")];
    await put(s, domainId, shop);
    provider.play(faulty.held());
    const customer = await s.member(room, "bob", { role: "customer", domainId });
    const speak = (clientMessageId) => customer.ask({ type: "send-message", roomId: room, userId: "bob", userName: "Bob", role: "customer", message: "when?", clientMessageId }, "message-sent");
    await speak("one");
    const upstream = await provider.request(0);
    assertShape(await speak("one"), { duplicate: true, seq: 1 });
    assertShape(await speak("two"), { seq: 2 });
    upstream.token("At nine.");
    upstream.finish();
    assertShape(await customer.next(byAi), { message: "At nine.", seq: 3 });
    assertShape(await speak("one"), { duplicate: true });
    assertShape(await speak("three"), { seq: 4 });
    const second = await provider.request(1);
    second.token("At nine, as I said.");
    second.finish();
    assertShape(await customer.next(byAi), { message: "At nine, as I said.", seq: 5 });
    assert.deepEqual(asked(), ["when?", "when?"]);
  });
});

/** Said while nobody was to ask it of the AI, as if whoever was to had died. */
async function saidInVain(s) {
  const [domainId, room] = [s.unique("shop"), s.unique("room")];
  await put(s, domainId, { ...shop, ai: { autoReply: false } });
  provider.play(faulty.answers("At nine."));
  const customer = await s.member(room, "bob", { role: "customer", domainId });
  for (const message of ["hello", "when do you open?"]) await say(customer, room, "bob", message, { role: "customer" });
  await customer.fence(room);
  assert.equal(provider.requests.length, 0);
  await put(s, domainId, shop);
  return { domainId, room, customer };
}

describe("after a crash", () => {
  const { host, scenario } = suite(provider.env, { needs: "process" });

  scenario("what a customer said and nobody asked is asked at the start, and once over further crashes", async (s) => {
    const { domainId, room } = await saidInVain(s);
    await host.kill9();
    await host.restart();
    assert.equal((await provider.request(0)).messages.at(-1).content, "hello\nwhen do you open?");
    const back = await s.member(room, "bob", { role: "customer", domainId });
    const answered = async () => {
      const history = await back.ask({ type: "fetch-history", roomId: room }, "message-history");
      return history.messages.filter((message) => message.role === "assistant").map((message) => message.message);
    };
    await eventually(answered, ({ length }) => length > 0);
    await host.kill9();
    await host.restart();
    const again = await s.member(room, "bob", { role: "customer", domainId });
    await again.fence(room);
    await say(again, room, "bob", "thanks", { role: "customer" });
    await again.next(byAi);
    assert.deepEqual(asked(), ["hello\nwhen do you open?", "thanks"]);
  });

  scenario("killed as customers are acknowledged: each is answered, or told that its answer was interrupted", async (s) => {
    const [domainId, rooms] = [s.unique("shop"), Array.from({ length: 24 }, () => s.unique("room"))];
    await put(s, domainId, shop);
    provider.play(faulty.answers("At nine."));
    const customers = await Promise.all(rooms.map((room) => s.member(room, "bob", { role: "customer", domainId })));
    const speak = (room, n) => say(customers[n], room, "bob", `when, in ${room}?`, { role: "customer" });
    await Promise.all(rooms.map(speak));
    await host.kill9();
    const before = asked().length;
    await host.restart();
    for (const room of rooms) {
      const back = await s.member(room, "bob", { role: "customer", domainId });
      let end = {};
      while (end.type !== "ai-stream-complete") end = await back.ask({ type: "ai-resume", conversationId: room });
      assert.ok(["stop", "interrupted"].includes(end.finishReason), JSON.stringify(end));
    }
    const times = (text) => asked().filter((one) => one === text).length;
    for (const room of rooms) assert.ok(times(`when, in ${room}?`) <= 1, `${before} were asked before`);
  });
});

describe("after an eviction", () => {
  const { host, scenario } = suite(provider.env, { needs: "eviction" });

  scenario("what a customer said and nobody asked is asked when the room is next touched, and once", async (s) => {
    const { room, customer } = await saidInVain(s);
    await host.evict("room", room);
    await customer.fence(room);
    assertShape(await customer.next(byAi), { message: "At nine.", seq: 3 });
    await host.evict("room", room);
    await say(customer, room, "bob", "thanks", { role: "customer" });
    assertShape(await customer.next(byAi), { seq: 5 });
    assert.deepEqual(asked(), ["hello\nwhen do you open?", "thanks"]);
  });
});
