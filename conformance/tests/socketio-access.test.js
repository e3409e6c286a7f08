/** Tokens over Socket.IO: with CONNECT, in the handshake's query, at their end, and over a session that is taken up again. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { assertShape } from "../shape.js";
import { join, suite } from "../scenario.js";
import { TRANSPORTS } from "../socketio.js";
import { inSeconds, SECRET, token, unsigned } from "../tokens.js";

const { scenario } = suite({ AUTH_SECRET: SECRET }, { needs: "socketIo" });

const refusalOf = (s, options) => s.socketIo(options).then(() => assert.fail("let in"), ({ cause }) => cause);

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(`over ${name}`, () => {
    scenario(`a token says who somebody is, whatever the events say (${name})`, async (s) => {
      const [room, sub] = [s.unique("room"), s.unique("ann")];
      const ann = await s.socketIo({ transports, auth: { token: token({ sub, name: "Ann Truly" }) } });
      await join(ann, room, sub);
      ann.send({ type: "send-message", roomId: room, userId: "mallory", userName: "Mallory", role: "user", message: "hello" });
      assertShape(await ann.next("new-message"), { userId: sub, userName: "Ann Truly" });
      const stranger = await s.socketIo({ transports });
      const { code } = await stranger.ask({ type: "join-room", roomId: room, userId: sub, userName: "Ann" }, "error");
      assert.equal(code, "forbidden");
    });

    scenario(`a bad token is a connect_error with a code (${name})`, async (s) => {
      for (const bad of [unsigned(), token({ exp: inSeconds(-1) }), token({}, { secret: "another secret, which is long enough too" }), "x"]) {
        const refusal = await refusalOf(s, { transports, auth: { token: bad } });
        assert.equal(refusal.data.code, "unauthorized");
        assert.match(refusal.message, /^the token /);
      }
    });

    scenario(`a token that ends is told of once, then the client is disconnected (${name})`, async (s) => {
      const [room, sub] = [s.unique("room"), s.unique("ann")];
      const ann = await s.socketIo({ transports, auth: { token: token({ sub, exp: inSeconds(8) }) } });
      await join(ann, room, sub);
      assertShape(await ann.next("error"), { code: "unauthorized" });
      assert.equal((await ann.next("(disconnect)")).detail, "io server disconnect");
      assert.equal(ann.frames.filter(({ type }) => type === "error").length, 1);
    });
  });
}

scenario("a session is not taken up by whoever has lost its token, or has another", async (s) => {
  const [room, sub] = [s.unique("room"), s.unique("ann")];
  for (const auth of [{}, { token: token({ sub: s.unique("bob") }) }]) {
    const ann = await s.socketIo({ transports: ["websocket"], auth: { token: token({ sub }) }, reconnection: true, reconnectionDelay: 10 });
    await join(ann, room, sub);
    ann.socket.auth = auth;
    ann.socket.io.engine.close();
    await ann.next("(disconnect)");
    assertShape(await ann.next("(connect)"), { recovered: false });
  }
});

scenario("a session is taken up with the same subject's next token", async (s) => {
  const [room, sub] = [s.unique("room"), s.unique("ann")];
  const ann = await s.socketIo({ transports: ["websocket"], auth: { token: token({ sub }) }, reconnection: true, reconnectionDelay: 10 });
  await join(ann, room, sub);
  ann.send({ type: "send-message", roomId: room, userId: sub, userName: "Ann", role: "user", message: "hello" });
  await ann.next("new-message");
  ann.socket.auth = { token: token({ sub, exp: inSeconds(900) }) };
  ann.socket.io.engine.close();
  await ann.next("(disconnect)");
  assertShape(await ann.next("(connect)"), { recovered: true });
});
