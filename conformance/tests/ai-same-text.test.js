/**
 * Who reads an answer reads what the model sent, to the byte: over cut connections, faults of the provider, cancels,
 * takeovers and deaths of the process. Chunks by their index, then one end; nothing lost, nothing twice, and nothing of it
 * in a room behind the place where people took over. `docs/simulation.md` has the same over thousands of answers.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { dice, SEEDS } from "../dice.js";
import * as faulty from "../mocks/faulty.js";
import { lacks, suite } from "../scenario.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { host, scenario } = suite(provider.env);

const ANSWERS_PER_SEED = 12;
const WORDS = ["plain ", "naïve ", "日本語 ", "𝄞 ", "👩‍👩‍👧 ", "\n\n", "<b>&amp;</b> ", '"quoted\\" ', "x".repeat(700)];

/** How an answer ends: by the provider's doing or somebody else's, and what its end then says. */
const ENDS = {
  "the provider says that it is all": { reason: "stop", end: ({ upstream }) => upstream.finish() },
  "the provider's connection breaks": { reason: "error", end: ({ upstream }) => upstream.cut() },
  "the provider ends without saying so": { reason: "error", end: ({ upstream }) => upstream.res.end() },
  "the provider sends an error": {
    reason: "error",
    end: ({ upstream }) => {
      upstream.raw(`data: ${JSON.stringify({ error: { message: faulty.RAW_ERROR, type: "server_error" } })}\n\n`);
      upstream.res.end();
    },
  },
  "somebody ends it": {
    reason: "cancelled",
    end: async ({ s, upstream, conversationId }) => {
      (await s.connect()).send({ type: "ai-cancel", conversationId });
      await upstream.gone;
    },
  },
  "people take over": {
    reason: "cancelled",
    end: async ({ upstream, agent, room }) => {
      agent.send({ type: "toggle-live-agent", roomId: room, enabled: true });
      await upstream.gone;
    },
  },
  ...(!lacks("process") && {
    "the process is killed": {
      reason: "interrupted",
      end: async ({ readers }) => {
        await host.kill9();
        await host.restart();
        for (const reader of readers) await reader.comeBack();
      },
    },
  }),
};

/** One page that reads an answer, over as many connections as it takes. */
class Reader {
  text = "";
  next = 0;
  /** the host is known to have taken its request: it hears what comes as it comes */
  isAttached = true;

  constructor(s, conversationId) {
    Object.assign(this, { s, conversationId });
  }

  async ask(question) {
    this.client = await this.s.connect();
    this.client.send({ type: "ai-stream", conversationId: this.conversationId, ...question });
  }

  /** Its connection is cut, if it has one; it goes on behind the last chunk that it has. */
  async comeBack() {
    this.take();
    this.client?.socket.terminate();
    this.client = await this.s.connect();
    this.taken = 0;
    this.client.send({ type: "ai-resume", conversationId: this.conversationId, ...(this.next > 0 && { afterIndex: this.next - 1 }) });
    this.isAttached = false;
  }

  async attach() {
    await this.client.fence(this.conversationId);
    this.isAttached = true;
  }

  /** What has arrived over this connection since the last look. */
  take() {
    const frames = this.client?.frames ?? [];
    for (const frame of frames.slice(this.taken ?? 0)) {
      if (frame.type !== "ai-stream-chunk") continue;
      assert.equal(frame.index, this.next, "chunks come one after the other, each once");
      this.next += 1;
      this.text += frame.chunk;
    }
    this.taken = frames.length;
  }

  async end() {
    const complete = await this.client.next({ type: "ai-stream-complete", conversationId: this.conversationId });
    await this.client.fence(this.conversationId);
    this.take();
    this.client.expectNone("ai-stream-complete");
    const frames = this.client.frames.map((f) => f.type);
    assert.ok(frames.lastIndexOf("ai-stream-chunk") < frames.indexOf("ai-stream-complete"), "nothing follows the end");
    return complete;
  }
}

/** Writes, cuts, and lets others come, as the dice fall. @returns what the model has sent */
async function write(roll, { s, upstream, readers, conversationId }) {
  let sent = "";
  const say = () => {
    const word = roll.one(WORDS);
    sent += word;
    upstream.token(word);
  };
  say();
  // What has been read of is not begun again: from here on one answer is written.
  await readers[0].client.next("ai-stream-chunk");
  for (let steps = 3 + roll.below(12); steps > 0; steps -= 1) {
    const reader = roll.one(readers);
    if (roll.chance(60)) say();
    else if (roll.chance(50)) await reader.comeBack();
    else if (roll.chance(50)) await reader.attach();
    else if (readers.length < 4) {
      const other = new Reader(s, conversationId);
      readers.push(other);
      await other.comeBack();
    }
  }
  // On its way before anything breaks.
  await new Promise((resolve) => upstream.res.write(": \n\n", resolve));
  return sent;
}

/** What the room heard. */
async function checkRoom({ s, agent, room, how }, full, sent) {
  const isByAi = (f) => f.role === "assistant" || f.type?.startsWith("ai-");
  if (how === "the process is killed") {
    const { messages } = await (await s.connect()).ask({ type: "fetch-history", roomId: room }, "message-history");
    const answers = messages.filter(isByAi).map((m) => m.message);
    return assert.ok(answers.length === 0 || (answers.length === 1 && answers[0] === full), `${answers} is not ${full}`);
  }
  if (how === "people take over") {
    await agent.next("live-agent-toggled");
    await agent.fence(room);
    const fence = agent.frames.findIndex((f) => f.type === "live-agent-toggled");
    assert.deepEqual(agent.frames.slice(fence).filter(isByAi), [], "no character behind the takeover");
  } else {
    assert.equal((await agent.next({ type: "new-message", role: "assistant" })).message, full);
    await agent.fence(room);
    agent.expectNone({ type: "new-message", role: "assistant" });
    assert.equal(agent.frames.filter((f) => f.type === "ai-stream-complete").length, 1);
  }
  const chunks = agent.frames.filter((f) => f.type === "ai-stream-chunk");
  assert.deepEqual(chunks.map((f) => f.index), chunks.map((_, n) => n));
  const heard = chunks.map((f) => f.chunk).join("");
  if (how === "people take over") assert.ok(sent.startsWith(heard), `${heard} begins otherwise`);
  else assert.equal(heard, full);
}

async function playAnswer(s, roll, how) {
  provider.play(faulty.held());
  const [conversationId, room] = [s.unique("talk"), s.unique("room")];
  const agent = await s.member(room, "ann", { role: "agent" });
  const readers = [new Reader(s, conversationId)];
  await readers[0].ask({ message: "a story", roomId: room, userId: "bob", model: roll.one(["gpt-4o", "gemini-2.5-flash"]) });
  const upstream = await provider.request(0);
  const answer = { s, upstream, agent, room, conversationId, readers, how };
  const sent = await write(roll, answer);
  await ENDS[how].end(answer);

  const ends = [];
  for (const reader of readers) ends.push(await reader.end());
  const [{ fullResponse: full }] = ends;
  for (const end of ends) assert.deepEqual([end.finishReason, end.fullResponse], [ENDS[how].reason, full]);
  assert.ok(sent.startsWith(full), `${JSON.stringify(full)} is not what was sent: ${JSON.stringify(sent)}`);
  if (ENDS[how].reason === "stop") assert.equal(full, sent);
  for (const { text, isAttached } of readers) {
    assert.ok(sent.startsWith(text), `${JSON.stringify(text)} is not what was sent: ${JSON.stringify(sent)}`);
    if (ENDS[how].reason === "interrupted") continue; // what came since it was last stored
    assert.equal(text, isAttached ? full : full.slice(0, text.length));
  }
  await checkRoom(answer, full, sent);
}

for (const seed of SEEDS) {
  scenario(`${ANSWERS_PER_SEED} answers are read as they were sent, whatever breaks (seed ${seed})`, async (s) => {
    const [roll, hows] = [dice(seed), Object.keys(ENDS)];
    for (let n = 0; n < ANSWERS_PER_SEED; n += 1) {
      const how = n < hows.length ? hows[n] : roll.one(hows);
      await playAnswer(s, roll, how).catch((cause) => {
        throw new Error(`answer ${n} (${how}): ${cause.message}`, { cause });
      });
    }
  });
}
