/** Answers of the AI: whole or as they are written, over lost connections, cancelled, or from a server that cannot do all of it. */
import assert from "node:assert/strict";
import { ANN, refused, scenario } from "./support/play.js";

const WORDS = ["Once ", "upon ", "a ", "time."];
const STORY = WORDS.join("");
const complete = (fullResponse, more) => ({ type: "ai-stream-complete", fullResponse, model: "m", provider: "demo", conversationId: "talk", finishReason: "stop", ...more });
const chunk = (index) => ({ type: "ai-stream-chunk", chunk: WORDS[index], index, conversationId: "talk" });

async function read(stream) {
  const texts = [];
  for await (const text of stream) texts.push(text);
  return texts;
}

/** A server that knows resume and cancel, and writes a word whenever the test says so. */
async function writer(s, answers = {}) {
  const server = await s.serve();
  let written = 0;
  let tell = () => {};
  server.answers = {
    "ai-stream": (_frame, reply) => (tell = reply),
    "ai-resume"(frame, reply) {
      tell = reply;
      for (let n = (frame.afterIndex ?? -1) + 1; n < written; n += 1) reply(chunk(n));
    },
    "ai-cancel": (_frame, reply) => reply(complete(WORDS.slice(0, written).join(""), { finishReason: "cancelled" })),
    ...answers,
  };
  return Object.assign(server, {
    write: () => tell(chunk(written++)),
    complete: (more) => tell(complete(STORY, more)),
  });
}

scenario("an answer comes word by word, and its end says how", async (s) => {
  const server = await writer(s);
  const stream = s.connect(server.url).ai.stream("Tell me a story", { conversationId: "talk", domainId: "shop.example", model: "m", systemPrompt: "Be brief", roomId: "room" });
  const { type, id: _, socket: __, ...asked } = await server.frames.next({ type: "ai-stream" });
  assert.deepEqual(asked, { message: "Tell me a story", conversationId: "talk", domainId: "shop.example", model: "m", systemPrompt: "Be brief", roomId: "room" });
  const reading = read(stream);
  for (const _ of WORDS) server.write();
  server.complete();
  assert.deepEqual(await reading, WORDS);
  assert.deepEqual([(await stream.answer).finishReason, stream.index, type], ["stop", 3, "ai-stream"]);
  assert.ok(server.frames.all.every((frame) => frame.type !== "ai-cancel"));
});

scenario("the conversation has the name that the server would give it, or a fresh one", async (s) => {
  const server = await writer(s);
  const { ai } = s.connect(server.url);
  const streams = [ai.stream("?", { userId: "ann" }), ai.stream("?", { userId: "ann", domainId: "shop.example" }), ai.stream("?"), ai.stream("?")];
  const names = streams.map(({ conversationId }) => conversationId);
  assert.deepEqual(names.slice(0, 2), ["default-ann", "shop.example-ann"]);
  assert.match(names[2], /^[\d-]{3,64}$/);
  assert.notEqual(names[2], names[3]);
});

scenario("a connection that is lost in the middle: the rest follows, not a word twice (needs ai-resume)", async (s) => {
  const server = await writer(s);
  const stream = s.connect(server.url).ai.stream("?", { conversationId: "talk" });
  await server.frames.next({ type: "ai-stream" });
  const reading = stream[Symbol.asyncIterator]();
  server.write();
  assert.equal((await reading.next()).value, "Once ");
  server.cut();
  server.write();
  const resumed = await server.frames.next({ type: "ai-resume" });
  assert.deepEqual([resumed.conversationId, resumed.afterIndex], ["talk", 0]);
  server.write();
  server.complete();
  const rest = [];
  for (let next; !(next = await reading.next()).done; ) rest.push(next.value);
  assert.equal(["Once ", ...rest].join(""), STORY);
});

scenario("a question that was cut off before a word came is not asked twice (needs ai-resume)", async (s) => {
  const server = await writer(s);
  const stream = s.connect(server.url).ai.stream("?", { conversationId: "talk" });
  await server.frames.next({ type: "ai-stream" });
  server.cut();
  const resumed = await server.frames.next({ type: "ai-resume" });
  assert.ok(!("afterIndex" in resumed));
  server.complete();
  assert.deepEqual(await read(stream), [STORY]);
  assert.equal(server.frames.all.filter(({ type }) => type === "ai-stream").length, 1);
});

for (const code of ["unknown_type", "not_found", "invalid_request"]) {
  scenario(`a server that answers ai-resume with ${code}: what came is there, then it ends with interrupted`, async (s) => {
    const server = await writer(s, { "ai-resume": (_frame, reply) => reply({ type: "error", code, message: "no" }) });
    const stream = s.connect(server.url).ai.stream("?", { conversationId: "talk" });
    await server.frames.next({ type: "ai-stream" });
    const reading = stream[Symbol.asyncIterator]();
    server.write();
    assert.equal((await reading.next()).value, "Once ");
    server.cut();
    const error = await refused(reading.next(), "interrupted");
    assert.equal(error.cause.code, code);
    await refused(stream.answer, "interrupted");
  });
}

scenario("a question that waits for a connection is asked once there is one", async (s) => {
  const server = await writer(s);
  server.admits = () => 503;
  const stream = s.connect(server.url).ai.stream("?", { conversationId: "talk" });
  server.admits = () => 101;
  await server.frames.next({ type: "ai-stream" });
  server.complete();
  assert.deepEqual(await read(stream), [STORY]);
});

scenario("cancelled: it ends at once with what there was, and the server is told (needs ai-cancel)", async (s) => {
  const server = await writer(s);
  const stream = s.connect(server.url).ai.stream("?", { conversationId: "talk" });
  await server.frames.next({ type: "ai-stream" });
  const reading = stream[Symbol.asyncIterator]();
  server.write();
  await reading.next();
  stream.cancel();
  assert.deepEqual(await reading.next(), { value: undefined, done: true });
  const answer = await stream.answer;
  assert.deepEqual([answer.fullResponse, answer.finishReason], ["Once ", "cancelled"]);
  assert.equal((await server.frames.next({ type: "ai-cancel" })).conversationId, "talk");
});

scenario("cancelled where the server does not know ai-cancel: it ends here all the same, without an error", async (s) => {
  const server = await writer(s, { "ai-cancel": (_frame, reply) => reply({ type: "error", code: "unknown_type", message: "no" }) });
  const client = s.connect(server.url);
  const stream = client.ai.stream("?", { conversationId: "talk" });
  await server.frames.next({ type: "ai-stream" });
  server.write();
  for await (const text of stream) {
    assert.equal(text, "Once ");
    break;
  }
  assert.equal((await stream.answer).finishReason, "cancelled");
  server.write();
  server.complete();
  await client.request({ type: "fetch-history", roomId: "room" });
  assert.deepEqual(client.errors.all, []);
});

scenario("a signal cancels, also one that has gone off already", async (s) => {
  const server = await writer(s);
  const { ai } = s.connect(server.url);
  const controller = new AbortController();
  const stream = ai.stream("?", { signal: controller.signal });
  await server.frames.next({ type: "ai-stream" });
  server.write();
  const reading = read(stream);
  controller.abort();
  await reading;
  assert.equal((await stream.answer).finishReason, "cancelled");
  assert.deepEqual(await read(ai.stream("?", { signal: AbortSignal.abort() })), []);
});

scenario("an answer of an earlier life of the page is taken up where it was (needs ai-resume)", async (s) => {
  const server = await writer(s);
  const { ai } = s.connect(server.url);
  const gone = ai.stream("?", { conversationId: "talk" });
  await server.frames.next({ type: "ai-stream" });
  server.write();
  server.write();
  const stream = ai.resume("talk", { afterIndex: 0 });
  await server.frames.next({ type: "ai-resume", afterIndex: 0 });
  server.complete();
  assert.deepEqual(await read(stream), ["upon "]);
  assert.equal(gone.index, 1);
});

scenario("no model answers: the sentence to show is the answer, and says that it is none", async (s) => {
  const server = await writer(s, {
    "ai-stream": (_frame, reply) => reply(complete("Sorry, try later.", { error: true, code: "ai_unavailable", finishReason: "error" })),
    "ai-chat": (_frame, reply) => reply({ type: "ai-response", message: "Sorry, try later.", error: true, code: "ai_timeout" }),
  });
  const { ai } = s.connect(server.url);
  const stream = ai.stream("?");
  assert.deepEqual(await read(stream), ["Sorry, try later."]);
  assert.deepEqual([(await stream.answer).error, (await stream.answer).code], [true, "ai_unavailable"]);
  const answer = await ai.chat("?", { userId: "ann" });
  assert.deepEqual([answer.message, answer.code], ["Sorry, try later.", "ai_timeout"]);
});

scenario("refusals have their code and their hint", async (s) => {
  const refusal = (_frame, reply) => reply({ type: "error", code: "rate_limited", message: "slower", retryAfterMs: 3_000 });
  const server = await writer(s, { "ai-stream": refusal, "ai-chat": refusal });
  const { ai } = s.connect(server.url);
  assert.equal((await refused(ai.chat("?"), "rate_limited")).retryAfterMs, 3_000);
  assert.equal((await refused(read(ai.stream("?")), "rate_limited")).retryAfterMs, 3_000);
});

scenario("a whole answer that is cut off ends with interrupted: it may have been heard, so it is not asked again", async (s) => {
  const server = await writer(s, { "ai-chat": (_frame, _reply, socket) => socket.terminate() });
  const client = s.connect(server.url);
  await refused(client.ai.chat("?"), "interrupted");
  await client.join("room", ANN).ready;
  assert.equal(server.frames.all.filter(({ type }) => type === "ai-chat").length, 1);
});

scenario("a server that tells again what was told: not a word is doubled (needs ai-resume)", async (s) => {
  const server = await writer(s, {
    "ai-resume": (_frame, reply) => {
      for (const index of WORDS.keys()) reply(chunk(index));
      reply(complete(STORY));
    },
  });
  const stream = s.connect(server.url).ai.stream("?", { conversationId: "talk" });
  await server.frames.next({ type: "ai-stream" });
  const reading = read(stream);
  server.write();
  server.write();
  server.cut();
  assert.equal((await reading).join(""), STORY);
});
