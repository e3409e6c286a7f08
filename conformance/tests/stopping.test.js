/** A stop in the middle of everything: what was acknowledged is stored, what was on its way arrives, and nobody can hold it up. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { bare } from "../bare.js";
import { storedLog } from "../follower.js";
import * as faulty from "../mocks/faulty.js";
import { sayMany, suite } from "../scenario.js";
import { assertShape, matching } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { host, scenario: played } = suite(provider.env, { needs: "process" });

/** What a client is told, so that not all of them are back in the same moment. */
const REASON = /^restarting; retryAfterMs=(\d+)$/;
const SCENARIO_MS = 300_000;
const GUARD_MS = 60_000;

/** One that fails leaves a host for the next. */
function scenario(name, play) {
  const restart = async () => {
    await host.kill9();
    await host.restart();
  };
  played(name, (s) => play(s).finally(restart), { timeout: SCENARIO_MS });
}

const event = (roomId, userId, n) => ({ type: "send-message", roomId, userId, userName: "User", role: "user", message: `message ${n} ${"x".repeat(500)}`, clientMessageId: `${userId}-${n}` });

/** A request that is under way and does not end. The one before it on the same connection says that it has been read. */
async function unending() {
  const connection = await bare(host.baseUrl);
  connection.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /ai/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
  await connection.untilReceived(/^HTTP\/1\.1 200 /);
  return connection;
}

const logged = (client) => client.frames.filter((f) => f.type === "new-message");

/** `count` members in rooms of ten. @returns {Promise<{room: string, userId: string, client: any}[]>} */
async function crowd(s, count) {
  const rooms = Array.from({ length: Math.ceil(count / 10) }, () => s.unique("room"));
  const entering = Array.from({ length: count }, async (_, n) => {
    const [room, userId] = [rooms[n % rooms.length], `user-${n}`];
    return { room, userId, client: await s.member(room, userId, {}, n % 2 ? { query: `?roomId=${room}` } : {}) };
  });
  return Promise.all(entering);
}

scenario("SIGTERM under load: what was acknowledged is stored, what one member heard all did, and each is told when to be back", async (s) => {
  const members = await crowd(s, 100);
  // So many that they are read in the five seconds that a stop waits for readers.
  for (let n = 1; n <= 20; n += 1) for (const { room, userId, client } of members) client.send(event(room, userId, n));
  await members[0].client.take(3, "message-sent");
  const stopping = host.stop();
  const ends = await Promise.all(members.map(({ client }) => client.untilClosed(GUARD_MS)));
  assert.deepEqual(await stopping, { code: 0, signal: null });

  for (const end of ends) assertShape(end, { code: 1001, reason: matching(REASON) });
  const waits = ends.map(({ reason }) => Number(REASON.exec(reason)[1]));
  assert.ok(new Set(waits).size > 1, `a hundred clients are to be back at ${waits.slice(0, 10)}, …`);

  await host.restart();
  for (const room of new Set(members.map((m) => m.room))) {
    const there = members.filter((m) => m.room === room).map((m) => m.client);
    const log = await storedLog(s, room, there[0].joined.epoch);
    for (const ack of there.flatMap((client) => client.frames.filter((f) => f.type === "message-sent"))) {
      assert.equal(log.frames[ack.seq - 1]?.id, ack.id, `acknowledged: ${JSON.stringify(ack)}`);
    }
    const furthest = Math.max(...there.map((client) => logged(client).length));
    for (const client of there) assert.deepEqual(logged(client), log.frames.slice(0, furthest), "as far as any of them heard");
  }
});

scenario("nobody who stalls holds it up: readers that don't read, requests and handshakes without an end, a model that writes on", async (s) => {
  const [room, watched] = [s.unique("room"), s.unique("room")];
  const [ann, stuck] = [await s.member(room, "ann"), await s.member(room, "stuck")];
  const bystander = await s.member(watched, "bob");
  provider.play(faulty.held());
  bystander.send({ type: "ai-stream", message: "a story", conversationId: s.unique("talk") });
  const upstream = await provider.request(0);
  upstream.token("Once upon ");
  await bystander.next("ai-stream-chunk");
  stuck.socket.pause();
  await sayMany(ann, room, "ann", 600, () => "x".repeat(15_000));
  const unfinished = [];
  for (const begun of ["", "G", "GET /ws HTTP/1.1\r\nHost: x\r\n", "POST /ai/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", "POST /ai/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"]) {
    for (let n = 0; n < 5; n += 1) {
      const connection = await bare(host.baseUrl);
      connection.write(begun);
      unfinished.push(connection);
    }
  }
  const stopping = host.stop();
  for (const client of [ann, bystander]) assertShape(await client.untilClosed(GUARD_MS), { code: 1001, reason: matching(REASON) });
  assert.equal(logged(ann).length, 600);
  assertShape(bystander.frames.find((f) => f.type === "ai-stream-complete"), { fullResponse: "Once upon ", finishReason: "interrupted" });
  assert.deepEqual(await stopping, { code: 0, signal: null });
  for (const connection of unfinished) await connection.untilClosed();
  await upstream.gone;
  await host.restart();
  assert.equal((await storedLog(s, room, ann.joined.epoch)).frames.length, 600);
});

scenario("whoever comes while it stops is refused, and can be told apart from who is cut off", async (s) => {
  // Keeps the stop waiting, so that there is a while to come in.
  const [ann, holding] = [await s.member(s.unique("room"), "ann"), await unending()];
  await ann.fence(s.unique("room"));
  const url = host.baseUrl;
  const stopping = host.stop();
  await ann.untilClosed(GUARD_MS);
  for (let n = 0; n < 20; n += 1) {
    const refused = await bare(url).then(() => null, (error) => error);
    assert.equal(refused?.code, "ECONNREFUSED", `a connection was ${refused ?? "accepted"}`);
  }
  assert.equal(holding.isClosed, false, "the stop was still under way");
  assert.deepEqual(await stopping, { code: 0, signal: null });
});

for (const [first, second] of [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"]]) {
  scenario(`${second} during the stop that ${first} began ends it, and nothing acknowledged is lost`, async (s) => {
    const room = s.unique("room");
    const [ann, holding] = [await s.member(room, "ann"), await unending()];
    for (let n = 1; n <= 200; n += 1) ann.send(event(room, "ann", n));
    await ann.next("message-sent");
    const stopping = host.signal(first);
    await ann.untilClosed(GUARD_MS);
    const exit = await host.signal(second);
    assert.deepEqual(await stopping, exit);
    assert.ok(exit.code !== null || [first, second].includes(exit.signal), `it ended with ${JSON.stringify(exit)}`);
    await holding.untilClosed();
    await host.restart();
    const log = await storedLog(s, room, ann.joined.epoch);
    for (const ack of ann.frames.filter((f) => f.type === "message-sent")) assert.equal(log.frames[ack.seq - 1]?.id, ack.id);
  });
}
