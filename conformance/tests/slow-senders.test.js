/**
 * Whoever begins and does not end, or says everything in crumbs: they are served if they get there, let go if they don't, and
 * nobody else has to wait for them.
 */
import assert from "node:assert/strict";
import { bare } from "../bare.js";
import { get, post } from "../http.js";
import { join, say, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const { host, scenario } = suite();

const MIB = 1024 * 1024;
/** The body of a request, at most. */
const BODY_BYTES_MAX = 64 * 1024;
/** What a process holds besides. */
const BESIDES_BYTES = 48 * MIB;
/** Ten seconds for a head, ten for a body, on a busy machine. */
const PATIENCE_MS = 120_000;
const DRIP_EVERY_MS = 1_000;

/** Opens many at once; all of them are gone at the end. */
async function crowd(s, count, open) {
  const all = await Promise.all(Array.from({ length: count }, async (_, n) => {
    const connection = await bare(s.host.baseUrl);
    open(connection, n);
    return connection;
  }));
  return all;
}

/** Whoever comes in the ordinary way is served. */
async function assertServed(s) {
  assert.equal((await get(s.url("/healthz"))).status, 200);
  assertShape((await post(s.url("/visitors/add"), { domainId: s.unique("domain"), visitorId: "v1" })).json, { success: true });
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  await say(ann, room, "ann", "hello");
  assertShape(await bob.next("new-message"), { message: "hello" });
}

const head = (path, fields) => [`POST ${path} HTTP/1.1`, "Host: 127.0.0.1", "Content-Type: application/json", ...fields, "", ""].join("\r\n");
const half = `{"message":"${"x".repeat(40_000)}`;

/** @type {Record<string, (connection: import("../bare.js").Bare) => void>} */
const unfinishedBodies = {
  "half of its body": (c) => c.write(head("/ai/chat", ["Content-Length: 60000"]) + half),
  "nothing of its body": (c) => c.write(head("/visitors/add", ["Content-Length: 60000"])),
  "a chunk, and no last one": (c) => c.write(head("/ai/stream", ["Transfer-Encoding: chunked"]) + `${half.length.toString(16)}\r\n${half}\r\n`),
  "more than it may": (c) => c.write(head("/ai/chat", ["Content-Length: 30000000"]) + half + half + half),
  "half of its body, for a route that reads none": (c) => c.write(head("/healthz", ["Content-Length: 60000"]) + half),
};

scenario(
  "hundreds of requests whose bodies never end: others are served, memory is bounded, and they are let go",
  async (s) => {
    const before = host.capabilities.memory ? host.memoryBytesPeak() : 0;
    const kinds = Object.values(unfinishedBodies);
    const count = 80 * kinds.length;
    const unfinished = await crowd(s, count, (connection, n) => kinds[n % kinds.length](connection));
    await assertServed(s);
    // Some say something now and then, so that they are not silent.
    const drip = setInterval(() => unfinished.slice(0, count / 2).forEach((connection) => connection.write("x")), DRIP_EVERY_MS);
    try {
      for (const connection of unfinished) assert.match(await connection.untilClosed(), /^(HTTP\/1\.1 [45]\d\d |$)/);
    } finally {
      clearInterval(drip);
    }
    if (host.capabilities.memory) {
      const [grown, allowed] = [host.memoryBytesPeak() - before, count * 2 * BODY_BYTES_MAX + BESIDES_BYTES].map((bytes) => Math.round(bytes / MIB));
      assert.ok(grown <= allowed, `grew by ${grown} MiB, ${allowed} would be fine`);
    }
    await assertServed(s);
  },
  { needs: "deadlines", timeout: 2 * PATIENCE_MS },
);

const upgrade = ["GET /ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""].join("\r\n");

/** @type {Record<string, {begin: (connection: import("../bare.js").Bare) => void, drips?: boolean}>} */
const halfHandshakes = {
  "nothing at all": { begin: () => {} },
  "one byte": { begin: (c) => c.write("G") },
  "half of the head": { begin: (c) => c.write(upgrade.slice(0, 80)) },
  "all but the last byte": { begin: (c) => c.write(upgrade.slice(0, -1)) },
  "one byte a second": { begin: (c) => c.write("G"), drips: true },
  "one byte of a header's value a second": { begin: (c) => c.write(`${upgrade.slice(0, -2)}X-Long: `), drips: true },
  "a request, and half of a second one": { begin: (c) => c.write(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n${upgrade.slice(0, 80)}`) },
};

scenario(
  "hundreds of handshakes that never come to an end: others are accepted, and they are let go",
  async (s) => {
    const kinds = Object.entries(halfHandshakes);
    const count = 60 * kinds.length;
    const begun = await crowd(s, count, (connection, n) => kinds[n % kinds.length][1].begin(connection));
    await assertServed(s);
    const drip = setInterval(() => begun.forEach((connection, n) => kinds[n % kinds.length][1].drips && connection.write("x")), DRIP_EVERY_MS);
    try {
      for (const [n, connection] of begun.entries()) {
        await connection.untilClosed().catch((error) => assert.fail(`who sends ${kinds[n % kinds.length][0]}: ${error.message}`));
      }
    } finally {
      clearInterval(drip);
    }
    await assertServed(s);
  },
  { needs: "deadlines", timeout: 2 * PATIENCE_MS },
);

/** Each byte of what a client writes from now on is a write of its own. */
function byteByByte(client) {
  const tcp = client.socket._socket;
  const write = tcp.write.bind(tcp);
  tcp.setNoDelay(true);
  tcp.cork = () => {};
  tcp.write = (data, ...rest) => {
    const bytes = Buffer.from(data);
    for (let at = 0; at < bytes.length; at += 1) write(bytes.subarray(at, at + 1), ...(at === bytes.length - 1 ? rest : []));
    return true;
  };
}

scenario("what is written byte by byte is heard like anything else", async (s) => {
  const room = s.unique("room");
  const bob = await s.member(room, "bob");
  for (const query of ["", `?roomId=${room}`]) {
    const ann = await s.connect({ query });
    byteByByte(ann);
    await join(ann, room, "ann");
    for (const message of ["short", "ünïcode 日本 😀", "x".repeat(3_000)]) {
      await say(ann, room, "ann", message);
      assertShape(await bob.next("new-message"), { message });
    }
    ann.socket.ping("are you there?");
    await new Promise((resolve) => ann.socket.once("pong", resolve));
    ann.socket.close(1000);
    assert.equal((await ann.untilClosed()).code, 1000);
  }
});

scenario("a handshake that comes byte by byte, with the first event right behind it, is one", async (s) => {
  const connection = await bare(s.host.baseUrl);
  const mask = Buffer.from([1, 2, 3, 4]);
  const text = Buffer.from('{"type":"ping"}');
  const frame = Buffer.concat([Buffer.from([0x81, 0x80 | text.length]), mask, text.map((byte, n) => byte ^ mask[n % 4])]);
  for (const byte of Buffer.concat([Buffer.from(upgrade), frame])) connection.write(Buffer.from([byte]));
  await connection.untilReceived(/^HTTP\/1\.1 101 [^]*\r\n\r\n\x81\x0f\{"type":"pong"\}$/);
  connection.destroy();
});

scenario("thousands of tiny frames are events, or parts of one", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const total = 3_000;
  for (let n = 0; n < total; n += 1) ann.sendRaw('{"type":"ping"}');
  await ann.take(total, "pong");

  const event = { type: "send-message", roomId: room, userId: "ann", userName: "Ann", role: "user", message: `in crumbs: ${"日本 😀 ".repeat(150)}` };
  const bytes = Buffer.from(JSON.stringify(event));
  let pongs = 0;
  ann.socket.on("pong", () => (pongs += 1));
  for (let at = 0; at < bytes.length; at += 1) {
    ann.sendRaw(bytes.subarray(at, at + 1), { binary: false, fin: false });
    if (at % 100 === 0) ann.sendRaw("", { binary: false, fin: false });
    if (at % 500 === 0) ann.socket.ping("between two parts");
  }
  ann.sendRaw("", { binary: false, fin: true });
  assertShape(await bob.next("new-message"), { message: event.message });
  await ann.fence(room);
  // RFC 6455, 5.5.3: who has several pings to answer may answer the newest alone.
  const pings = Math.ceil(bytes.length / 500);
  assert.ok(pongs > 0 && pongs <= pings, `${pings} pings between parts were answered by ${pongs} pongs`);
});
