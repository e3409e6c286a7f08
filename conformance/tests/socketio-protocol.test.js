/**
 * Engine.IO (revision 4) and Socket.IO (revision 5) at the level of their packets. The rules are those of the two official
 * protocol test suites (socketio/engine.io-protocol and socketio/socket.io-protocol), told again in our words against our
 * service: theirs talk to an echo server with heartbeats of a third of a second. Left out are custom namespaces and binary
 * events, which we have none of; that both are refused in good order is tested instead.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";
import { suite } from "../scenario.js";
import { text } from "../shape.js";

const { scenario } = suite({}, { needs: "socketIo" });

const GUARD_MS = 30_000;
const SEPARATOR = "\x1e";
const guard = () => AbortSignal.timeout(GUARD_MS);

const engineUrl = (s, query) => s.url(`/socket.io/?${query}`);
const polling = (s, sid) => engineUrl(s, `EIO=4&transport=polling${sid ? `&sid=${sid}` : ""}`);
const poll = (s, sid) => fetch(polling(s, sid), { signal: guard() });
const post = (s, sid, body) => fetch(polling(s, sid), { method: "POST", body, signal: guard() });

async function openPolling(s) {
  const body = await (await poll(s)).text();
  return JSON.parse(body.slice(1)).sid;
}

async function refused(response, status, code, message) {
  assert.equal(response.status, status);
  assert.deepEqual(await response.json(), { code, message });
}

/** A WebSocket whose packets are taken one by one. */
class Raw {
  packets = [];
  closed = null;
  #waiting = null;

  constructor(s, query = "") {
    this.socket = new WebSocket(engineUrl(s, `EIO=4&transport=websocket${query}`).replace(/^http/, "ws"));
    this.socket.on("message", (data) => this.#got(String(data)));
    this.socket.on("close", (code) => {
      this.closed = code;
      this.#waiting?.();
    });
    this.socket.on("error", () => {});
  }

  #got(packet) {
    this.packets.push(packet);
    this.#waiting?.();
  }

  static async open(s, query) {
    const raw = new Raw(s, query);
    await once(raw.socket, "open", { signal: guard() });
    return raw;
  }

  /** In the namespace; the packets up to there are taken. */
  static async connected(s) {
    const raw = await Raw.open(s);
    assert.match(await raw.next(), /^0/);
    raw.send("40");
    assert.match(await raw.next(), /^40/);
    return raw;
  }

  send(...packets) {
    for (const packet of packets) this.socket.send(packet);
  }

  async #until(has) {
    const late = AbortSignal.timeout(GUARD_MS);
    while (!has()) {
      await new Promise((resolve, reject) => {
        this.#waiting = resolve;
        late.addEventListener("abort", () => reject(new Error(`nothing more came after ${this.packets.join(" ")}; closed: ${this.closed}`)), { once: true });
      });
    }
  }

  async next() {
    await this.#until(() => this.packets.length > 0 || this.closed !== null);
    assert.ok(this.packets.length > 0, `closed with ${this.closed}`);
    return this.packets.shift();
  }

  async untilClosed() {
    await this.#until(() => this.closed !== null);
    return this.closed;
  }

  /** A round trip, so that all before it has been answered. */
  async fence() {
    this.send('42999["ping"]');
    while (!(await this.next()).startsWith("43999"));
  }
}

function assertHandshake(packet, upgrades) {
  assert.equal(packet[0], "0");
  const { sid, ...rest } = JSON.parse(packet.slice(1));
  assert.ok(text.holds(sid));
  assert.deepEqual(rest, { upgrades, pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 65_536 });
}

scenario("handshake: polling opens a session", async (s) => {
  const response = await poll(s);
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type"), /^text\/plain; charset=utf-8$/i);
  assertHandshake(await response.text(), ["websocket"]);
});

scenario("handshake: a WebSocket opens a session", async (s) => {
  assertHandshake(await (await Raw.open(s)).next(), []);
});

scenario("handshake: what is wrong with it is told by its number", async (s) => {
  for (const query of ["transport=polling", "EIO=abc&transport=polling", "EIO=3&transport=polling"]) {
    await refused(await fetch(engineUrl(s, query)), 400, 5, "Unsupported protocol version");
  }
  for (const query of ["EIO=4", "EIO=4&transport=abc"]) await refused(await fetch(engineUrl(s, query)), 400, 0, "Transport unknown");
  for (const method of ["POST", "PUT"]) await refused(await fetch(polling(s), { method }), 400, 2, "Bad handshake method");
  for (const sid of ["nobody", "00000000ffaaaaaaaaaaaaaaaaaaaa", "ff00000000aaaaaaaaaaaaaaaaaaaa"]) {
    await refused(await poll(s, sid), 400, 1, "Session ID unknown");
    await refused(await post(s, sid, "3"), 400, 1, "Session ID unknown");
  }
  await refused(await fetch(engineUrl(s, "EIO=4&transport=websocket")), 400, 3, "Bad request");
});

scenario("handshake: a WebSocket that is not welcome gets no 101", async (s) => {
  for (const query of ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=4&transport=websocket&sid=nobody"]) {
    const socket = new WebSocket(engineUrl(s, query).replace(/^http/, "ws"));
    const [, response] = await once(socket, "unexpected-response", { signal: guard() });
    assert.equal(response.statusCode, 400, query);
    response.destroy();
  }
});

scenario("message: one packet and several go both ways over polling", async (s) => {
  const sid = await openPolling(s);
  const posted = await post(s, sid, "40");
  assert.equal(posted.status, 200);
  assert.equal(await posted.text(), "ok");
  assert.match(await (await poll(s, sid)).text(), /^40\{"sid":"[^"]+"/);
  await post(s, sid, ['421["ping"]', '422["ping"]', '423["ping"]'].join(SEPARATOR));
  const packets = [];
  while (packets.length < 6) packets.push(...(await (await poll(s, sid)).text()).split(SEPARATOR));
  assert.deepEqual(packets, [1, 2, 3].flatMap((n) => ['42["pong",{}]', `43${n}[{}]`]));
});

scenario("message: no packet closes the session", async (s) => {
  for (const payload of ["abc", "", "0", "2", `42["ping"]${SEPARATOR}abc`, "4abc"]) {
    const sid = await openPolling(s);
    assert.equal((await post(s, sid, payload)).status, 400, JSON.stringify(payload));
    await refused(await poll(s, sid), 400, 1, "Session ID unknown");
  }
  for (const packet of ["abc", "0", "2", "4abc", '42["before it is connected"]', "5", "2probe"]) {
    const raw = await Raw.open(s);
    raw.send(packet);
    assert.equal(await raw.untilClosed(), 1002, packet);
  }
});

scenario("message: a second request for the same session closes it", async (s) => {
  const sid = await openPolling(s);
  const first = poll(s, sid);
  // Both are under way; whichever comes second is refused.
  const answers = await Promise.all([first, poll(s, sid)]);
  assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 400]);
  assert.equal(await answers.find((answer) => answer.status === 200).text(), "1");
  await refused(await poll(s, sid), 400, 1, "Session ID unknown");
});

scenario("message: a payload larger than announced is refused, and the session lives", async (s) => {
  const sid = await openPolling(s);
  assert.equal((await post(s, sid, `4${"x".repeat(65_536)}`)).status, 413);
  assert.equal((await post(s, sid, "40")).status, 200);
});

scenario("heartbeat: a pong is taken, and a client that pings is none", async (s) => {
  const sid = await openPolling(s);
  assert.equal((await post(s, sid, "3")).status, 200);
  const raw = await Raw.connected(s);
  raw.send("3");
  await raw.fence();
});

scenario("close: by the client, over polling", async (s) => {
  const sid = await openPolling(s);
  const waiting = poll(s, sid);
  // The request has to be there first, or there would be nothing to end: a second one says that it is.
  const other = await openPolling(s);
  await post(s, other, "40");
  assert.equal((await post(s, sid, "1")).status, 200);
  assert.ok([200, 400].includes((await waiting).status));
  assert.ok(["6", '{"code":1,"message":"Session ID unknown"}'].includes(await (await waiting).text()));
  await refused(await poll(s, sid), 400, 1, "Session ID unknown");
});

scenario("close: by the client, over a WebSocket", async (s) => {
  const raw = await Raw.open(s);
  raw.send("1");
  assert.equal(await raw.untilClosed(), 1000);
});

async function probed(s) {
  const sid = await openPolling(s);
  const raw = await Raw.open(s, `&sid=${sid}`);
  raw.send("2probe");
  assert.equal(await raw.next(), "3probe");
  return { sid, raw };
}

scenario("upgrade: from polling to a WebSocket, with what was queued", async (s) => {
  const { sid, raw } = await probed(s);
  assert.equal(await (await poll(s, sid)).text(), "6", "a request must not wait while a WebSocket offers itself");
  await post(s, sid, "40");
  await post(s, sid, '421["ping"]');
  raw.send("5", '422["ping"]');
  assert.match(await raw.next(), /^40/);
  assert.deepEqual([await raw.next(), await raw.next(), await raw.next(), await raw.next()], ['42["pong",{}]', "431[{}]", '42["pong",{}]', "432[{}]"]);
});

scenario("upgrade: a request that waits is let go", async (s) => {
  const sid = await openPolling(s);
  const waiting = poll(s, sid);
  const raw = await Raw.open(s, `&sid=${sid}`);
  raw.send("2probe");
  assert.equal(await raw.next(), "3probe");
  assert.equal(await (await waiting).text(), "6");
  raw.send("5", "40");
  assert.match(await raw.next(), /^40/);
});

scenario("upgrade: whoever comes after it is refused, and the session is unharmed", async (s) => {
  const { sid, raw } = await probed(s);
  raw.send("5", "40");
  assert.match(await raw.next(), /^40/);
  await refused(await poll(s, sid), 400, 3, "Bad request");
  await refused(await post(s, sid, "40"), 400, 3, "Bad request");
  const late = new Raw(s, `&sid=${sid}`);
  await late.untilClosed();
  await raw.fence();
});

scenario("upgrade: an offer that is withdrawn leaves the session as it was", async (s) => {
  const { sid, raw } = await probed(s);
  raw.socket.terminate();
  await raw.untilClosed();
  await post(s, sid, "40");
  assert.match(await (await poll(s, sid)).text(), /^40/);
});

scenario("upgrade: `5` without a probe takes nothing over", async (s) => {
  const sid = await openPolling(s);
  const raw = await Raw.open(s, `&sid=${sid}`);
  raw.send("5");
  assert.equal(await raw.untilClosed(), 1008);
  assert.equal((await post(s, sid, "40")).status, 200);
});

scenario("connect: to the main namespace, with and without a payload", async (s) => {
  for (const connect of ["40", '40{"token":"123"}', "40/,"]) {
    const raw = await Raw.open(s);
    await raw.next();
    raw.send(connect);
    const answer = await raw.next();
    assert.match(answer, /^40\{/);
    assert.match(JSON.parse(answer.slice(2)).sid, /^.{20}$/);
  }
});

scenario("connect: an unknown namespace is refused, the main one still there", async (s) => {
  const raw = await Raw.open(s);
  await raw.next();
  raw.send("40/random", '40/custom,{"a":1}', "41/custom");
  assert.equal(await raw.next(), '44/random,{"message":"Invalid namespace"}');
  assert.equal(await raw.next(), '44/custom,{"message":"Invalid namespace"}');
  raw.send("40");
  assert.match(await raw.next(), /^40\{/);
});

scenario("disconnect: the session stays, and can be connected again as somebody new", async (s) => {
  const raw = await Raw.open(s);
  await raw.next();
  const names = [];
  for (let n = 0; n < 3; n += 1) {
    raw.send("40");
    names.push(JSON.parse((await raw.next()).slice(2)).sid);
    await raw.fence();
    raw.send("41");
  }
  assert.equal(new Set(names).size, 3);
  raw.send('42["ping"]');
  assert.equal(await raw.untilClosed(), 1002, "nobody is connected");
});

scenario("message: an event, and one with an acknowledgement", async (s) => {
  const raw = await Raw.connected(s);
  raw.send('42["ping",{"id":"mine"}]', '42456["ping",{},"ignored",[1]]', '420["ping"]');
  const packets = [];
  for (let n = 0; n < 5; n += 1) packets.push(await raw.next());
  assert.deepEqual(packets, ['42["pong",{"replyTo":"mine"}]', '42["pong",{}]', "43456[{}]", '42["pong",{}]', "430[{}]"]);
});

scenario("message: binary arguments are an error and no close", async (s) => {
  const raw = await Raw.connected(s);
  raw.send('452-7["send-message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', Buffer.from([1, 2, 3]), Buffer.from([4]));
  assert.match(await raw.next(), /^42\["error",\{"code":"invalid_request"/);
  assert.match(await raw.next(), /^437\[\{"code":"invalid_request"/);
  raw.send(Buffer.from([9]));
  assert.match(await raw.next(), /^42\["error",\{"code":"invalid_request"/, "one that belongs to no event");
  await raw.fence();
  assert.deepEqual(raw.packets, []);
});

scenario("message: what is no payload of ours is an error and no close", async (s) => {
  const raw = await Raw.connected(s);
  for (const [packet, code] of [
    ['421["join-room",[]]', "invalid_json"],
    ['421["join-room","text"]', "invalid_json"],
    ['421["join-room",{"roomId":5}]', "invalid_request"],
    ['421["dance",{}]', "unknown_type"],
    ["421[7]", "unknown_type"],
  ]) {
    raw.send(packet);
    const [event, ack] = [await raw.next(), await raw.next()];
    assert.equal(JSON.parse(event.slice(2))[1].code, code, packet);
    assert.deepEqual(JSON.parse(ack.slice(3))[0], JSON.parse(event.slice(2))[1], "the acknowledgement is the same object");
  }
});
