/** RFC 6455 on the wire, frame by frame, as no client library would write it. */
import assert from "node:assert/strict";
import { bare } from "../bare.js";
import { suite } from "../scenario.js";

const { scenario } = suite({}, { needs: "framing" });

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0x0, 0x1, 0x2, 0x8, 0x9, 0xa];
const FIN = 0x80;
const FRAME_BYTES_MAX = 64 * 1024;

/** @param {string[]} [more] header lines */
const handshake = (more = []) =>
  ["GET /ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", ...more, "", ""].join("\r\n");

/**
 * A client's frame.
 * @param {number} first opcode and flags
 * @param {Buffer | string} payload
 * @param {{lengthBytes?: 0 | 2 | 8}} [how] in how many bytes to say a length, at least
 */
function frame(first, payload, { lengthBytes = 0 } = {}) {
  const body = Buffer.from(payload);
  const mask = Buffer.from([1, 2, 3, 4]);
  const wide = lengthBytes || (body.length > 65_535 ? 8 : body.length > 125 ? 2 : 0);
  const length = Buffer.alloc(wide);
  if (wide === 2) length.writeUInt16BE(body.length);
  if (wide === 8) length.writeBigUInt64BE(BigInt(body.length));
  const head = Buffer.from([first, 0x80 | (wide === 8 ? 127 : wide === 2 ? 126 : body.length)]);
  return Buffer.concat([head, length, mask, body.map((byte, at) => byte ^ mask[at % 4])]);
}

const text = (payload, how) => frame(FIN | TEXT, payload, how);
const close = (code, reason = "") => frame(FIN | CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
const ping = JSON.stringify({ type: "ping" });
const PONGED = /\x81\x0f\{"type":"pong"\}/;

/** Of so many bytes, and answered with a pong. */
const padded = (bytes) => {
  const around = JSON.stringify({ type: "ping", pad: "" }).length;
  return JSON.stringify({ type: "ping", pad: "x".repeat(bytes - around) });
};

async function open(s, more = []) {
  const connection = await bare(s.host.baseUrl);
  connection.write(handshake(more));
  await connection.untilReceived(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\n/);
  return connection;
}

/** With which code the other side closes, after these frames. */
async function closedWith(s, ...frames) {
  const connection = await open(s);
  connection.write(Buffer.concat(frames));
  const head = /\x88([\x02-\x7d])([\s\S]{2})/.exec((await connection.untilReceived(/\x88[\x02-\x7d][\s\S]{2}/)).split("\r\n\r\n")[1]);
  connection.destroy();
  return (head[2].charCodeAt(0) << 8) | head[2].charCodeAt(1);
}

scenario("lengths of 7, 16 and 64 bits, up to 64 KiB, each also longer than need be", async (s) => {
  for (const [bytes, lengthBytes] of [[30, 0], [125, 0], [125, 2], [126, 2], [126, 8], [65_535, 2], [65_535, 8], [FRAME_BYTES_MAX, 8]]) {
    const connection = await open(s);
    connection.write(text(padded(bytes), { lengthBytes }));
    await connection.untilReceived(PONGED);
    connection.destroy();
  }
  assert.equal(await closedWith(s, text(padded(FRAME_BYTES_MAX + 1))), 1009);
  const endless = Buffer.from([FIN | TEXT, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]);
  assert.equal(await closedWith(s, endless), 1009, "before any of it has come");
});

scenario("a message in fragments, with control frames between them and UTF-8 cut inside characters", async (s) => {
  const connection = await open(s);
  const room = s.unique("room");
  const message = Buffer.from(JSON.stringify({ type: "send-message", roomId: room, message: "grüße 🌍", userId: "ann", userName: "Ann", role: "user" }));
  const bytes = [...message].map((_, at) => message.subarray(at, at + 1));
  const fragments = bytes.map((byte, at) => frame((at === bytes.length - 1 ? FIN : 0) | (at === 0 ? TEXT : CONTINUATION), byte));
  const between = fragments.flatMap((fragment, at) => (at % 20 === 10 ? [fragment, frame(FIN | PING, `p${at}`), frame(FIN | PONG, "")] : [fragment]));
  connection.write(Buffer.concat(between));
  await connection.untilReceived(/\x8a\x03p10[\s\S]*"type":"message-sent"/);
  connection.destroy();
  const reader = await s.connect();
  reader.send({ type: "fetch-history", roomId: room });
  assert.equal((await reader.next("message-history")).messages[0].message, "grüße 🌍");
});

scenario("fragments that cannot be", async (s) => {
  const half = frame(TEXT, '{"type":');
  assert.equal(await closedWith(s, frame(FIN | CONTINUATION, "x")), 1002, "a continuation of nothing");
  assert.equal(await closedWith(s, half, text(ping)), 1002, "a message inside another");
  assert.equal(await closedWith(s, frame(PING, "x")), 1002, "a control frame in fragments");
  assert.equal(await closedWith(s, frame(FIN | PING, "x".repeat(126))), 1002, "a control frame of more than 125 bytes");
  assert.equal(await closedWith(s, frame(TEXT, Buffer.from([0xc3])), frame(FIN | CONTINUATION, Buffer.from([0x28]))), 1007, "a character that cannot be, over a cut");
  assert.equal(await closedWith(s, frame(TEXT, Buffer.from([0xff]))), 1007, "at the first fragment that can become no text");
  const large = "x".repeat(FRAME_BYTES_MAX / 2);
  assert.equal(await closedWith(s, frame(TEXT, large), frame(CONTINUATION, large), frame(CONTINUATION, "x")), 1009, "over 64 KiB in all");
});

scenario("flags and opcodes that mean nothing here, and frames without a mask", async (s) => {
  for (const first of [FIN | 0x40 | TEXT, FIN | 0x20 | TEXT, FIN | 0x10 | TEXT, FIN | 0x3, FIN | 0x7, FIN | 0xb, FIN | 0xf]) {
    assert.equal(await closedWith(s, frame(first, ping)), 1002, `0x${first.toString(16)}`);
  }
  assert.equal(await closedWith(s, Buffer.concat([Buffer.from([FIN | TEXT, ping.length]), Buffer.from(ping)])), 1002);
});

scenario("a close is answered with its own code, one that may not be sent with 1002", async (s) => {
  assert.equal(await closedWith(s, frame(FIN | CLOSE, "")), 1000, "no code at all");
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
    assert.equal(await closedWith(s, close(code, "why not")), code);
  }
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535]) {
    assert.equal(await closedWith(s, close(code)), 1002, `${code}`);
  }
  assert.equal(await closedWith(s, frame(FIN | CLOSE, Buffer.from([3]))), 1002, "half a code");
  assert.equal(await closedWith(s, close(1000, Buffer.from([0xff]))), 1007, "a reason that is no UTF-8");
});

scenario("what follows a close is not done", async (s) => {
  const room = s.unique("room");
  const late = JSON.stringify({ type: "send-message", roomId: room, message: "too late", userId: "ann", userName: "Ann", role: "user" });
  assert.equal(await closedWith(s, close(1000), text(late)), 1000);
  const reader = await s.connect();
  reader.send({ type: "fetch-history", roomId: room });
  assert.deepEqual((await reader.next("message-history")).messages, []);
});

scenario("compression is declined, and a frame that claims it is refused", async (s) => {
  const connection = await open(s, ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]);
  assert.doesNotMatch(connection.received, /sec-websocket-extensions/i);
  connection.write(text(ping));
  await connection.untilReceived(PONGED);
  connection.write(frame(FIN | 0x40 | TEXT, Buffer.from([0xaa, 0x56, 0x2a])));
  await connection.untilReceived(/\x88[\x02-\x7d]\x03\xea/);
  connection.destroy();
});

scenario("a binary message is answered with an error, and the connection goes on", async (s) => {
  const connection = await open(s);
  connection.write(Buffer.concat([frame(FIN | BINARY, Buffer.from([1, 2, 3])), text(ping)]));
  await connection.untilReceived(/"type":"error"[\s\S]*"type":"pong"/);
  connection.destroy();
});

scenario("frames that come in one write with the handshake are heard, however that is cut", async (s) => {
  const all = Buffer.concat([Buffer.from(handshake()), text(ping), text(padded(300))]);
  const twice = /\x81\x0f\{"type":"pong"\}\x81\x0f\{"type":"pong"\}/;
  for (const at of [0, 1, 60, Buffer.byteLength(handshake()) - 1, Buffer.byteLength(handshake()) + 3, all.length - 1]) {
    const connection = await bare(s.host.baseUrl);
    connection.write(all.subarray(0, at));
    await new Promise((resolve) => setTimeout(resolve, 20));
    connection.write(all.subarray(at));
    await connection.untilReceived(twice);
    connection.destroy();
  }
});
