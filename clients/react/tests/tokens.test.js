/** Tokens under the hooks, with the real host: one that ends while connected, and one that is no good any more. */
import { mount } from "./support/mount.js";
import assert from "node:assert/strict";
import { SECRET, inSeconds, token } from "../../../conformance/tokens.js";
import { useConnection, useRoom } from "../src/index.js";
import { hosted, unique } from "../../js/tests/support/host.js";
import { scenario } from "../../js/tests/support/play.js";

/** Long enough to be let in and heard on a busy machine, short enough to wait for. */
const SHORT_S = 8;
const host = hosted({ AUTH_SECRET: SECRET });
const inRoom = (id, userId) => () => ({ room: useRoom(id, { userId, userName: "as the token says" }), connection: useConnection() });

scenario("who is in a room is who the token says, and the next token takes over when one ends", async (s) => {
  const [id, sub] = [unique("room"), unique("ann")];
  let tokens = 0;
  const options = { token: async () => token({ sub, name: "Ann", exp: inSeconds((tokens += 1) === 1 ? SHORT_S : 600) }), backoff: { minMs: 10, maxMs: 100 } };
  const view = mount(s, host.wsUrl, inRoom(id, sub), { options });
  await view.values.next(({ room }) => room.status === "joined");
  await view.now.room.send("before");
  await view.values.next(({ connection }) => connection.state === "waiting" && connection.error.code === "unauthorized");
  await view.now.room.send("after");
  const { room } = await view.values.next((state) => state.room.messages.length === 2);
  assert.deepEqual(room.messages.map(({ message, userName }) => [message, userName]), [["before", "Ann"], ["after", "Ann"]]);
  assert.equal(tokens, 2);
});

scenario("a fixed token that ends closes the connection with a typed error", async (s) => {
  const [id, sub] = [unique("room"), unique("ann")];
  const view = mount(s, host.wsUrl, inRoom(id, sub), { options: { token: token({ sub, exp: inSeconds(SHORT_S) }) } });
  const { connection } = await view.values.next((state) => state.connection.state === "closed");
  assert.equal(connection.error.code, "unauthorized");
});
