/** The WebSocket for Node 20 against another's server, and against bytes that no server should send. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { dice, SEEDS } from "../../../conformance/dice.js";
import { NodeWebSocket } from "../src/node-websocket.js";
import { seen } from "./support/seen.js";

const TIMEOUT = { timeout: 60_000 };

function open(port) {
  const socket = new NodeWebSocket(`ws://127.0.0.1:${port}/ws`);
  const events = seen();
  for (const name of ["open", "message", "close", "error"]) socket[`on${name}`] = (event) => events.add({ name, ...event });
  return Object.assign(socket, { events });
}

/** A server that upgrades and then does with the bare connection what the test wants. */
async function bare(t, play, headers = {}) {
  const server = createServer();
  server.on("upgrade", (request, socket) => {
    const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    const lines = Object.entries({ Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Accept": accept, ...headers });
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    socket.resume();
    t.after(() => socket.destroy());
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
    play(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return server.address().port;
}

const frame = (first, payload) => Buffer.concat([Buffer.from(payload.length < 126 ? [first, payload.length] : [first, 126, payload.length >> 8, payload.length & 255]), payload]);

for (const seed of SEEDS) {
  test(`seed ${seed}: texts of all sizes, whole and in fragments, with pings between, come as they were sent, both ways`, TIMEOUT, async (t) => {
    const chance = dice(seed);
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
    await once(server, "listening");
    t.after(() => {
      for (const client of server.clients) client.terminate();
      server.close();
    });
    const got = seen();
    server.on("connection", (socket) => {
      socket.on("message", (data) => got.add(String(data)));
      socket.on("pong", () => got.add("pong"));
      for (const text of texts) {
        const characters = [...text];
        while (chance.chance(40)) socket.send(characters.splice(0, chance.below(characters.length + 1)).join(""), { fin: false });
        socket.ping();
        socket.send(characters.join(""));
      }
      socket.close(4321, "Grüße");
    });
    const texts = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000, ...Array.from({ length: 30 }, () => chance.below(2_000))].map((size) => "aß€😀".repeat(size).slice(0, size).toWellFormed?.() ?? "a".repeat(size));
    const socket = open(server.address().port);
    socket.onopen = () => texts.forEach((text) => socket.send(text));
    const { code, reason } = await socket.events.next({ name: "close" });
    assert.deepEqual([code, reason], [4321, "Grüße"]);
    assert.deepEqual(socket.events.all.filter(({ name }) => name === "message").map(({ data }) => data), texts);
    await got.next(() => got.all.filter((item) => item !== "pong").length === texts.length);
    assert.deepEqual(got.all.filter((item) => item !== "pong"), texts);
    assert.equal(got.all.length, 2 * texts.length);
  });

  test(`seed ${seed}: frames that come in pieces`, TIMEOUT, async (t) => {
    const chance = dice(seed);
    const texts = Array.from({ length: 50 }, (_, n) => `${n} ${"€".repeat(chance.below(300))}`);
    const bytes = Buffer.concat([...texts.map((text) => frame(0x81, Buffer.from(text))), frame(0x88, Buffer.from([3, 232]))]);
    const port = await bare(t, async (socket) => {
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + chance.below(60);
        socket.write(bytes.subarray(at, (at += size)));
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const socket = open(port);
    assert.equal((await socket.events.next({ name: "close" })).code, 1000);
    assert.deepEqual(socket.events.all.filter(({ name }) => name === "message").map(({ data }) => data), texts);
  });
}

for (const [what, code, bytes] of [
  ["a masked frame", 1002, Buffer.from([0x81, 0x81, 0, 0, 0, 0, 65])],
  ["a reserved bit", 1002, Buffer.from([0xc1, 1, 65])],
  ["a continuation of nothing", 1002, Buffer.from([0x80, 1, 65])],
  ["a text within a text", 1002, Buffer.from([0x01, 1, 65, 0x81, 1, 65])],
  ["a fragmented ping", 1002, Buffer.from([0x09, 1, 65])],
  ["a binary message", 1002, Buffer.from([0x82, 1, 65])],
  ["text that is not UTF-8", 1007, Buffer.from([0x81, 2, 0xc3, 0x28])],
  ["a frame without end", 1009, Buffer.from([0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0])],
]) {
  test(`${what} ends the connection with ${code}`, TIMEOUT, async (t) => {
    const socket = open(await bare(t, (peer) => peer.write(bytes)));
    assert.equal((await socket.events.next({ name: "close" })).code, code);
    assert.equal(socket.events.all.filter(({ name }) => name === "message").length, 0);
  });
}

test("a peer that vanishes, one that speaks for somebody else, and one that is hung up on", TIMEOUT, async (t) => {
  const vanished = open(await bare(t, (socket) => socket.write(Buffer.from([0x81, 5, 65]), () => socket.destroy())));
  assert.equal((await vanished.events.next({ name: "close" })).code, 1006);
  const stranger = open(await bare(t, () => {}, { "Sec-WebSocket-Accept": "no" }));
  assert.equal((await stranger.events.next({ name: "close" })).code, 1006);
  assert.ok(stranger.events.all.every(({ name }) => name !== "open"));
  const early = open(await bare(t, () => {}));
  early.close();
  assert.equal((await early.events.next({ name: "close" })).code, 1006);
});
