/** Tokens with the real host: one that ends while connected, and one that is no good. */
import assert from "node:assert/strict";
import { SECRET, inSeconds, token } from "../../../conformance/tokens.js";
import { hosted, unique } from "./support/host.js";
import { scenario } from "./support/play.js";

/** Long enough to be let in and heard on a busy machine, short enough to wait for. */
const SHORT_S = 8;
const host = hosted({ AUTH_SECRET: SECRET });

scenario("a token that ends while connected is replaced by the next one, and nothing is lost", async (s) => {
  const [name, sub] = [unique("room"), unique("ann")];
  let tokens = 0;
  const client = s.connect(host.wsUrl, { token: async () => token({ sub, exp: inSeconds((tokens += 1) === 1 ? SHORT_S : 600) }), backoff: { minMs: 10, maxMs: 100 } });
  const room = client.join(name, { userId: sub, userName: "Ann" });
  assert.equal((await room.send("before")).seq, 1);
  assert.equal((await client.statuses.next({ state: "waiting" })).error.code, "unauthorized");
  assert.equal((await room.send("after")).seq, 2);
  assert.equal(tokens, 2);
});

scenario("a fixed token that ends while connected closes the client with a typed error", async (s) => {
  const [name, sub] = [unique("room"), unique("ann")];
  const client = s.connect(host.wsUrl, { token: token({ sub, exp: inSeconds(SHORT_S) }) });
  await client.join(name, { userId: sub, userName: "Ann" }).ready;
  assert.equal((await client.statuses.next({ state: "closed" })).error.code, "unauthorized");
});
