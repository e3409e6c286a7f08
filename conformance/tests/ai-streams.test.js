/** One answer, many readers: whoever comes back to it, in whatever way, and whoever ends it. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { setTimeout } from "node:timers/promises";
import { get, request, sseEvents } from "../http.js";
import * as faulty from "../mocks/faulty.js";
import { suite } from "../scenario.js";
import { assertError, assertHttpError, assertShape, text, timestamp } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { host, scenario } = suite(provider.env);

const chunksOf = (client, id) => client.frames.filter((f) => f.type === "ai-stream-chunk" && f.conversationId === id);
const completesOf = (client, id) => client.frames.filter((f) => f.type === "ai-stream-complete" && f.conversationId === id);
const textOf = (chunks) => chunks.map((f) => f.chunk).join("");
const complete = (id) => ({ type: "ai-stream-complete", conversationId: id });

/** An answer that has begun: its conversation, who asked, and the model's end of it. */
async function begun(s, ...tokens) {
  provider.play(faulty.held());
  const [conversationId, asker] = [s.unique("talk"), await s.connect()];
  asker.send({ type: "ai-stream", message: "hello", conversationId });
  const upstream = await provider.request(0);
  let told = "";
  for (const token of tokens) {
    upstream.token(token);
    told += token;
    await asker.next((f) => f.type === "ai-stream-chunk" && textOf(chunksOf(asker, conversationId)) === told);
  }
  return { conversationId, asker, upstream, told };
}

scenario("a connection that drops is no cancel: whoever comes back hears what was said after a chunk, then the rest", async (s) => {
  const { conversationId, asker, upstream } = await begun(s, "One, ", "two, ", "three, ");
  asker.socket.terminate();
  const back = await s.connect();
  back.send({ type: "ai-resume", conversationId, afterIndex: 0, id: "again" });
  await back.next((f) => f.type === "ai-stream-chunk" && f.index === 2);
  upstream.token("four.");
  upstream.finish();
  assertShape(await back.next(complete(conversationId)), { fullResponse: "One, two, three, four.", finishReason: "stop", replyTo: "again" });
  const chunks = chunksOf(back, conversationId);
  assert.equal(textOf(chunks), "two, three, four.");
  assert.deepEqual(chunks.map((f) => f.index), chunks.map((_, n) => n + 1));
  assert.ok(chunks.every((f) => f.replyTo === "again"));
});

scenario("many read one answer, each of them all of it and its end once", async (s) => {
  const { conversationId, asker, upstream } = await begun(s, "One, ");
  const readers = await Promise.all(Array.from({ length: 5 }, () => s.connect()));
  for (const reader of readers) {
    reader.send({ type: "ai-resume", conversationId });
    await reader.next("ai-stream-chunk");
  }
  upstream.token("two.");
  upstream.finish();
  for (const client of [asker, ...readers]) {
    await client.next(complete(conversationId));
    assert.equal(textOf(chunksOf(client, conversationId)), "One, two.");
  }
  for (const client of [asker, ...readers]) {
    await client.ask({ type: "ping" }, "pong").catch(() => {});
    assert.equal(completesOf(client, conversationId).length, 1);
  }
});

scenario("who resumes twice over one connection hears it once from there", async (s) => {
  const { conversationId, asker, upstream } = await begun(s, "One, ", "two, ");
  asker.send({ type: "ai-resume", conversationId, afterIndex: 0 });
  asker.send({ type: "ai-resume", conversationId, afterIndex: 1, id: "last" });
  await asker.next((f) => f.type === "ai-stream-chunk" && chunksOf(asker, conversationId).length === 3);
  upstream.token("three.");
  upstream.finish();
  assertShape(await asker.next(complete(conversationId)), { replyTo: "last" });
  assert.deepEqual(chunksOf(asker, conversationId).map((f) => f.index), [0, 1, 1, 2]);
  assert.equal(completesOf(asker, conversationId).length, 1);
});

scenario("an answer that nobody streams can be read by who comes to it", async (s) => {
  provider.play(faulty.held());
  const [conversationId, asker, reader] = [s.unique("talk"), await s.connect(), await s.connect()];
  const whole = asker.ask({ type: "ai-chat", message: "hello", conversationId }, "ai-response");
  const upstream = await provider.request(0);
  reader.send({ type: "ai-resume", conversationId });
  upstream.token("All of it");
  await reader.next("ai-stream-chunk");
  upstream.token(", in pieces.");
  upstream.finish();
  assertShape(await whole, { message: "All of it, in pieces." });
  assertShape(await reader.next(complete(conversationId)), { fullResponse: "All of it, in pieces." });
  assert.equal(textOf(chunksOf(reader, conversationId)), "All of it, in pieces.");
  assert.equal(chunksOf(asker, conversationId).length, 0);
});

scenario("one that has ended is told as it ended, until there is a newer question; one that never was is not found", async (s) => {
  const { conversationId, asker, upstream } = await begun(s, "Short.");
  upstream.finish();
  const ended = await asker.next(complete(conversationId));
  const late = await s.connect();
  const { replyTo: _, ...again } = await late.ask({ type: "ai-resume", conversationId, afterIndex: 0 }, "ai-stream-complete");
  assert.deepEqual(again, ended);
  provider.play(faulty.status(401));
  asker.send({ type: "ai-stream", message: "and now?", conversationId });
  await asker.next((f) => f.type === "ai-stream-complete" && f.error);
  const failed = await late.ask({ type: "ai-resume", conversationId }, "ai-stream-complete");
  assertShape(failed, { error: true, code: "ai_unavailable", fullResponse: text, timestamp });
  for (const type of ["ai-resume", "ai-cancel"]) {
    assertError(await late.ask({ type, conversationId: s.unique("nothing") }, "error"), "not_found");
    assertError(await late.ask({ type }, "error"), "invalid_request", "conversationId");
  }
  assertError(await late.ask({ type: "ai-resume", conversationId, afterIndex: -1 }, "error"), "invalid_request", "afterIndex");
});

scenario("a cancel ends it for all with what was said, drops the model, and is remembered as far as it went", async (s) => {
  const { conversationId, asker, upstream } = await begun(s, "Half an ");
  const [other, third] = [await s.connect(), await s.connect()];
  other.send({ type: "ai-resume", conversationId });
  await other.next("ai-stream-chunk");
  upstream.token("answer");
  const cancelled = await third.ask({ type: "ai-cancel", conversationId }, "ai-stream-complete");
  for (const end of [cancelled, await asker.next(complete(conversationId)), await other.next(complete(conversationId))]) {
    assertShape(end, { finishReason: "cancelled", conversationId });
    assert.match(end.fullResponse, /^Half an (answer)?$/);
  }
  assert.equal(chunksOf(third, conversationId).length, 0, "who ends it does not read it");
  for (const client of [asker, other]) assert.equal(textOf(chunksOf(client, conversationId)), cancelled.fullResponse);
  await upstream.gone;
  const again = await asker.ask({ type: "ai-cancel", conversationId }, "ai-stream-complete");
  assertShape(again, { finishReason: "cancelled", fullResponse: cancelled.fullResponse });

  provider.play(faulty.answers("Yes."));
  assertShape(await asker.ask({ type: "ai-chat", message: "and then?", conversationId }, "ai-response"), { message: "Yes." });
  assert.deepEqual((await provider.request(0)).messages.slice(1).map((m) => m.content), ["hello", cancelled.fullResponse, "and then?"]);
});

scenario("a cancel lets the next question have its turn", async (s) => {
  const { conversationId, asker } = await begun(s, "Never ");
  const next = await s.connect();
  const answer = next.ask({ type: "ai-chat", message: "me now", conversationId }, "ai-response");
  await next.ask({ type: "fetch-history", roomId: conversationId }, "message-history");
  asker.send({ type: "ai-cancel", conversationId });
  await asker.next(complete(conversationId));
  const upstream = await provider.request(1);
  upstream.token("Gladly.");
  upstream.finish();
  assertShape(await answer, { message: "Gladly." });
});

scenario("useChat comes back: the answer from its beginning, or nothing at all", async (s) => {
  const { conversationId, upstream } = await begun(s, "One, ");
  const url = s.url(`/ai/stream/${encodeURIComponent(conversationId)}/stream`);
  const resumed = fetch(url);
  const response = await resumed;
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-vercel-ai-ui-message-stream"), "v1");
  upstream.token("two.");
  upstream.finish();
  const parts = (await response.text()).split("\n\n").filter(Boolean).map((line) => line.replace(/^data: /, ""));
  assert.equal(parts.pop(), "[DONE]");
  const told = parts.map((part) => JSON.parse(part));
  assert.equal(told.filter((p) => p.type === "text-delta").map((p) => p.delta).join(""), "One, two.");
  assert.deepEqual([told[0].type, told.at(-1).type], ["start", "finish"]);
  for (const nothing of [url, s.url(`/ai/stream/${s.unique("nothing")}/stream`)]) {
    const reply = await request(nothing);
    assert.deepEqual([reply.status, reply.text], [204, ""]);
  }
  assert.equal((await request(s.url(`/ai/stream/${"x".repeat(129)}/stream`))).status, 400);
});

/** As an `EventSource` asks; resolves when the first event is there, which is when it is read by. */
async function eventsOf(s, conversationId, { query = "", ...headers } = {}) {
  const response = await fetch(s.url(`/ai/stream/${conversationId}/stream${query}`), { headers: { accept: "text/event-stream", ...headers } });
  const told = ({ event, id, data }) => [event, id, data.chunk ?? data.fullResponse];
  return { status: response.status, events: async () => sseEvents(await response.text()).map(told) };
}

scenario("an EventSource comes back behind what it has read, hears the end of what has ended, and then asks no more", async (s) => {
  const { conversationId, upstream } = await begun(s, "One, ", "two, ", "three, ");
  const readers = [
    await eventsOf(s, conversationId),
    await eventsOf(s, conversationId, { query: "?afterIndex=0" }),
    await eventsOf(s, conversationId, { query: "?afterIndex=0", "last-event-id": "1" }),
  ];
  upstream.token("four.");
  upstream.finish();
  const told = ["One, ", "two, ", "three, ", "four."].map((chunk, n) => ["chunk", `${n}`, chunk]);
  told.push(["complete", "end", "One, two, three, four."]);
  for (const [n, { status, events }] of readers.entries()) {
    assert.equal(status, 200);
    assert.deepEqual(await events(), told.slice(n));
  }
  const late = await eventsOf(s, conversationId, { "last-event-id": "2" });
  assert.deepEqual(await late.events(), told.slice(-1));
  assert.equal((await eventsOf(s, conversationId, { "last-event-id": "end" })).status, 204);
  assert.equal((await eventsOf(s, s.unique("talk"))).status, 204);
  for (const [where, field] of [[{ "last-event-id": "x" }, "Last-Event-ID"], [{ query: "?afterIndex=-1" }, "afterIndex"]]) {
    const { query = "", ...headers } = where;
    assertHttpError(await get(s.url(`/ai/stream/${conversationId}/stream${query}`), headers), 400, "invalid_request", field);
  }
});

scenario("useChat may come back behind a chunk: the same message, and of its text what is new", async (s) => {
  const { conversationId, upstream } = await begun(s, "One, ", "two, ");
  const [all, rest] = [await fetch(s.url(`/ai/stream/${conversationId}/stream`)), await fetch(s.url(`/ai/stream/${conversationId}/stream?afterIndex=0`))];
  upstream.token("three.");
  upstream.finish();
  const parts = async (reply) => sseEvents(await reply.text()).map(({ data }) => data).filter(Boolean);
  const [whole, newer] = [await parts(all), await parts(rest)];
  const deltas = (parts) => parts.filter((part) => part.type === "text-delta").map((part) => part.delta).join("");
  assert.deepEqual([deltas(whole), deltas(newer)], ["One, two, three.", "two, three."]);
  assert.deepEqual(newer.filter((part) => part.type !== "text-delta"), whole.filter((part) => part.type !== "text-delta"));
});

/** Nothing tells from outside when somebody reads what has not begun: it is given ever more time. */
const HEAD_STARTS_MS = [10, 100, 1_000, 5_000];

scenario("who comes back to a question that no model has begun to answer hears what becomes of it", async (s) => {
  for (const headStart of HEAD_STARTS_MS) {
    provider.play(faulty.held());
    const [conversationId, asker] = [s.unique("talk"), await s.connect()];
    asker.send({ type: "ai-stream", message: "hello", conversationId });
    const upstream = await provider.request(0);
    const again = get(s.url(`/ai/stream/${conversationId}/stream`));
    await setTimeout(headStart);
    upstream.reply(401, { error: { message: faulty.RAW_ERROR } });
    const reply = await again;
    if (reply.status === 204) continue; // it came when all was over
    return assert.match(reply.text, /"code":"ai_unavailable"/);
  }
  assert.fail("nobody heard of it");
});

scenario(
  "an answer that a crash cut off is told as interrupted to who comes back",
  async (s) => {
    const { conversationId } = await begun(s, "Lost ");
    await host.kill9();
    await host.restart();
    const back = await s.connect();
    const end = await back.ask({ type: "ai-resume", conversationId, afterIndex: 0 }, "ai-stream-complete");
    assertShape(end, { finishReason: "interrupted", conversationId });
  },
  { needs: "process" },
);
