/** The WebSocket protocol itself, where a client can see that a host keeps it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const { scenario } = suite();

scenario("a protocol ping is answered with its own payload", async (s) => {
  const client = await s.connect();
  for (const payload of ["", "are you there?", "x".repeat(125)]) {
    client.socket.ping(payload);
    const [answer] = await once(client.socket, "pong");
    assert.equal(String(answer), payload);
  }
});

scenario("a close is answered with a close", async (s) => {
  for (const [code, reason] of [[1000, "bye"], [1001, ""], [4321, "mine"]]) {
    const client = await s.connect();
    client.socket.close(code, reason);
    // Without the host's close frame this would be 1006.
    assert.equal((await client.untilClosed()).code, code);
  }
});

scenario("what was sent just before the close is still done", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const bob = await s.connect();
  bob.send({ type: "send-message", roomId: room, message: "one last thing", userId: "bob", userName: "Bob", role: "user" });
  bob.socket.close(1000);
  assertShape(await ann.next("new-message"), { message: "one last thing" });
});

scenario(
  "a client that breaks the protocol is closed with 1002, and others are unharmed",
  async (s) => {
    const [unmasked, other] = [await s.connect(), await s.connect()];
    unmasked.sendRaw('{"type":"ping"}', { mask: false });
    assert.equal((await unmasked.untilClosed()).code, 1002);
    other.send({ type: "ping" });
    await other.next("pong");
  },
  { needs: "framing" },
);

scenario("many events in one write are answered in order", async (s) => {
  const client = await s.connect();
  const room = s.unique("room");
  for (let n = 0; n < 200; n += 1) client.send({ type: "fetch-history", roomId: room, id: `n-${n}` });
  const replies = await client.take(200, "message-history");
  assert.deepEqual(replies.map((f) => f.replyTo), replies.map((_, n) => `n-${n}`));
});

scenario("an end that comes together with the last words is an end", async (s) => {
  const room = s.unique("room");
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const tcp = bob.socket._socket;
  tcp.cork();
  bob.send({ type: "typing-start", roomId: room, userId: "bob" });
  tcp.end();
  tcp.uncork();
  assertShape(await ann.next("user-left"), { userId: "bob" });
});
