/** A takeover is a fence for who asked, too, where the conversation that answers learns of it later than the room. */
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import * as faulty from "../mocks/faulty.js";
import { lacks, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());

/** So many conversations at once that pieces of some are under way when people take over. */
const TALKS = 40;
const TAKEOVERS = 3;
/** Faster than pieces are told. */
const TOKEN_EVERY_MS = 2;

/** Talks on until nobody listens. */
function talksOn(exchange) {
  let words = 0;
  const talking = setInterval(() => exchange.token(`word ${(words += 1)} `), TOKEN_EVERY_MS);
  exchange.gone.then(() => clearInterval(talking));
}

for (const SHARDS of lacks("shards") ? [undefined] : ["1", "3"]) {
  describe(SHARDS ? `${SHARDS} shards` : "as the host spreads them", () => {
    const { scenario } = suite({ ...provider.env, SHARDS, AI_PER_USER_PER_MIN: "6000" });

    scenario("who asked hears nothing behind the takeover, and the end says what was heard", async (s) => {
      for (let n = 0; n < TAKEOVERS; n += 1) {
        const room = s.unique("room");
        const [asker, agent] = [await s.member(room, "bob"), await s.member(room, "ann", { role: "agent" })];
        const talks = Array.from({ length: TALKS }, () => s.unique("talk"));
        provider.play(talksOn);
        for (const conversationId of talks) asker.send({ type: "ai-stream", message: "tell me all", userId: "bob", roomId: room, conversationId });
        for (const conversationId of talks) await asker.next({ type: "ai-stream-chunk", conversationId });
        agent.send({ type: "toggle-live-agent", roomId: room, enabled: true });
        await asker.next({ type: "live-agent-toggled", roomId: room });
        for (const conversationId of talks) {
          const end = await asker.next({ type: "ai-stream-complete", conversationId });
          const chunks = asker.frames.filter((f) => f.type === "ai-stream-chunk" && f.conversationId === conversationId);
          assertShape(end, { finishReason: "cancelled", fullResponse: chunks.map((f) => f.chunk).join("") });
        }
        await asker.fence(room);
        const since = asker.frames.slice(asker.frames.findIndex((f) => f.type === "live-agent-toggled"));
        assert.deepEqual(since.filter((f) => f.type === "ai-stream-chunk"), [], "nothing behind the fence");
        await Promise.all([agent.close(), asker.close()]);
      }
    });
  });
}
