/**
 * Who reads an answer reads what the model sent, to the byte: over cut connections, faults of the provider, cancels, takeovers,
 * evictions and deaths of the process, which meet all the answers that are being written at that moment. Chunks by their index,
 * then one end, which stays what it was; nothing lost, nothing twice, and nothing of it in a room behind the place where people
 * took over. `docs/simulation.md` has the same over thousands of answers.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { dice, SEEDS } from "../dice.js";
import { eventually } from "../eventually.js";
import * as faulty from "../mocks/faulty.js";
import { Scenario, suite } from "../scenario.js";

const provider = await faulty.startFaultyProvider();
after(() => provider.stop());
const { host, scenario } = suite(provider.env, { evictable: true });

const ANSWERS = Number(process.env.WEEZIQ_ANSWERS ?? 1_000);
const ANSWERS_PER_SEED = Math.ceil(ANSWERS / SEEDS.length);
const AT_ONCE = 8;
/** Of a hundred groups of answers, how many are struck. */
const STRUCK_PERCENT = 15;
/** Some hundred times what one takes. */
const ANSWER_MS_MAX = 5_000;
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
};

/** What falls upon all answers of a group at once, while each of them is wherever it has come to. */
const STRIKES = {
  "the process is killed": {
    cutsConnections: true,
    fall: async () => {
      await host.kill9();
      await host.restart();
    },
  },
  ...(host.capabilities.eviction && {
    // What writes goes as soon as it is done; the rooms that listen go at once.
    "all of them are evicted": {
      cutsConnections: false,
      fall: async (answers) => {
        for (const { room } of answers) await evict(room);
        for (const { conversationId } of answers) await evict(conversationId);
      },
    },
  }),
};

async function evict(room) {
  await host.evict("room", room).catch((error) => {
    // On a slow machine it may have gone by itself.
    if (!error.message.includes("not currently running")) throw error;
  });
}

/** One of those, after so many steps of whichever answers come first. */
class Strike {
  /** whom it meets @type {Answer[]} */
  answers = [];
  /** @type {Promise<void> | undefined} */
  falling;

  constructor(name, steps) {
    Object.assign(this, { name, steps, ...STRIKES[name] });
  }

  step() {
    this.steps -= 1;
    if (this.steps === 0) void this.strike();
  }

  strike() {
    if (!this.falling) {
      this.falling = this.fall(this.answers);
      // It is waited for when all answers have come to rest.
      this.falling.catch(() => {});
    }
    return this.falling;
  }
}

/** One page that reads an answer, over as many connections as it takes. */
class Reader {
  text = "";
  next = 0;
  /** the end, once it was heard @type {import("../client.js").Frame | undefined} */
  ended;
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
    this.isAttached = false;
    this.client = await this.s.connect();
    this.taken = 0;
    this.client.send({ type: "ai-resume", conversationId: this.conversationId, ...(this.next > 0 && { afterIndex: this.next - 1 }) });
  }

  async attach() {
    await this.client.fence(this.conversationId);
    this.isAttached = true;
  }

  /** What has arrived over this connection since the last look. */
  take() {
    const frames = this.client?.frames ?? [];
    for (const frame of frames.slice(this.taken ?? 0)) {
      if (frame.type === "ai-stream-complete") assert.deepEqual(frame, (this.ended ??= frame), "an end stays what it was");
      if (frame.type !== "ai-stream-chunk") continue;
      assert.equal(this.ended, undefined, "nothing follows the end");
      assert.equal(frame.index, this.next, "chunks come one after the other, each once");
      this.next += 1;
      this.text += frame.chunk;
    }
    this.taken = frames.length;
  }

  async end() {
    await this.client.next({ type: "ai-stream-complete", conversationId: this.conversationId });
    await this.client.fence(this.conversationId);
    this.take();
    this.client.expectNone("ai-stream-complete");
  }
}

/** One answer, from its question to what is left of it. */
class Answer {
  /** what the model has sent */
  sent = "";
  /** its own end has been brought about */
  isEnding = false;

  constructor(s, roll, how, strike) {
    Object.assign(this, { s, roll, how, strike, conversationId: s.unique("talk"), room: s.unique("room") });
  }

  async begin() {
    this.agent = await this.s.member(this.room, "ann", { role: "agent" });
    this.readers = [new Reader(this.s, this.conversationId)];
    const message = `a story for ${this.conversationId}`;
    await this.readers[0].ask({ message, roomId: this.room, userId: "bob", model: this.roll.one(["gpt-4o", "gemini-2.5-flash"]) });
    this.upstream = await provider.requestAbout(message);
    this.say();
    // What has been read of is not begun again: from here on one answer is written.
    await this.readers[0].client.next("ai-stream-chunk");
  }

  say() {
    const word = this.roll.one(WORDS);
    this.sent += word;
    this.upstream.token(word);
  }

  get isStruck() {
    return this.strike?.falling !== undefined;
  }

  get isCutOff() {
    return this.isStruck && this.strike.cutsConnections;
  }

  /** Until it has ended, and all have heard so; or until it has no server any more. */
  async live() {
    try {
      await this.write();
      if (this.isCutOff) return;
      this.isEnding = true;
      await ENDS[this.how].end(this);
      this.strike?.step();
      for (const reader of this.readers) await reader.end();
      this.checkTexts();
      await this.checkRoom();
    } catch (error) {
      // What it waited for will not come any more; what is wrong stays wrong.
      if (!this.isCutOff || error.code === "ERR_ASSERTION") throw error;
    }
  }

  /** Writes, cuts, and lets others come, as the dice fall. */
  async write() {
    const { roll, readers } = this;
    for (let steps = 3 + roll.below(12); steps > 0 && !this.isCutOff; steps -= 1) {
      this.strike?.step();
      const reader = roll.one(readers);
      if (roll.chance(60)) this.say();
      else if (roll.chance(50)) await reader.comeBack();
      else if (roll.chance(50)) await reader.attach();
      else if (readers.length < 4) {
        const other = new Reader(this.s, this.conversationId);
        readers.push(other);
        await other.comeBack();
      }
    }
    // On its way before anything breaks.
    await new Promise((resolve) => this.upstream.res.write(": \n\n", resolve));
  }

  /** All come back to an answer that was struck. */
  async comeBack() {
    for (const reader of this.readers) await reader.comeBack();
    for (const reader of this.readers) await reader.end();
    this.checkTexts();
    await (this.isCutOff ? this.checkLog() : this.checkRoom());
  }

  checkTexts() {
    const [{ ended }] = this.readers;
    for (const reader of this.readers) assert.deepEqual(reader.ended, ended, "one end for all");
    const { finishReason, fullResponse: full } = ended;
    const { reason } = ENDS[this.how];
    if (!(this.isStruck && finishReason === "interrupted")) {
      assert.ok(this.isEnding, `${finishReason} before anybody ended it`);
      assert.equal(finishReason, reason);
    }
    assert.ok(this.sent.startsWith(full), `${JSON.stringify(full)} is not what was sent: ${JSON.stringify(this.sent)}`);
    if (finishReason === "stop") assert.equal(full, this.sent);
    for (const { text, isAttached } of this.readers) {
      assert.ok(this.sent.startsWith(text), `${JSON.stringify(text)} is not what was sent: ${JSON.stringify(this.sent)}`);
      if (finishReason === "interrupted") continue; // what came since it was last stored
      assert.equal(text, isAttached ? full : full.slice(0, text.length));
    }
  }

  /** What the room's agent heard, who was there all the time. */
  async checkRoom() {
    const { agent, room, how } = this;
    const { fullResponse: full } = this.readers[0].ended;
    const last = how === "people take over" ? isTakeover : isMessageOfAi;
    if (!agent.frames.some(last)) await agent.next(last);
    await agent.fence(room);
    const heard = this.heardInRoom();
    if (how === "people take over") return;
    assert.deepEqual(agent.frames.filter(isMessageOfAi).map((f) => f.message), [full]);
    assert.equal(agent.frames.filter((f) => f.type === "ai-stream-complete").length, 1);
    assert.equal(heard, full);
  }

  /** What the room's agent heard while it had a connection, and what is in the log after that. */
  async checkLog() {
    const { agent, room, how, readers, s } = this;
    const { finishReason, fullResponse: full } = readers[0].ended;
    this.heardInRoom();
    const { liveAgent } = (await s.member(room, "cid")).joined;
    if (agent.frames.some(isTakeover)) assert.equal(liveAgent, true, "people stay in charge");
    const client = await s.connect();
    const inLog = async () => (await client.ask({ type: "fetch-history", roomId: room }, "message-history")).messages.filter(isByAi).map((m) => m.message);
    if (liveAgent) return assert.deepEqual(await inLog(), [], "no character behind the takeover");
    // An answer that has come to its end is said in the room, sooner or later; one that was interrupted may be.
    const owed = finishReason !== "interrupted" && how !== "people take over";
    const said = owed ? await eventually(inLog, (all) => all.length > 0) : await inLog();
    assert.ok(said.length <= 1 && said.every((one) => one === full), `${JSON.stringify(said)} is not ${JSON.stringify(full)}`);
  }

  /** @returns {string} the chunks that its agent heard */
  heardInRoom() {
    const { agent, sent } = this;
    const takeover = agent.frames.findIndex(isTakeover);
    if (takeover >= 0) assert.deepEqual(agent.frames.slice(takeover).filter(isByAi), [], "no character behind the takeover");
    const chunks = agent.frames.filter((f) => f.type === "ai-stream-chunk");
    assert.deepEqual(chunks.map((f) => f.index), chunks.map((_, n) => n));
    const heard = chunks.map((f) => f.chunk).join("");
    assert.ok(sent.startsWith(heard), `${JSON.stringify(heard)} is not what was sent: ${JSON.stringify(sent)}`);
    return heard;
  }
}

const isByAi = (f) => f.role === "assistant" || f.type?.startsWith("ai-");
const isTakeover = (f) => f.type === "live-agent-toggled";
const isMessageOfAi = (f) => f.type === "new-message" && f.role === "assistant";

/** Plays these at once, and names the one that fails. @param {Answer[]} answers @param {(answer: Answer) => Promise<void>} play */
async function each(answers, play) {
  const named = (answer) => (cause) => {
    throw new Error(`answer ${answer.number} (${answer.how}${answer.strike ? `, ${answer.strike.name}` : ""}): ${cause.message}`, { cause });
  };
  // All of them come to rest before one that failed ends the scenario, and the connections of the others.
  const results = await Promise.allSettled(answers.map((answer) => play(answer).catch(named(answer))));
  const failed = results.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

/** @param {Answer[]} answers @param {Strike} [strike] */
async function playGroup(answers, strike) {
  if (strike) strike.answers = answers;
  await each(answers, (answer) => answer.begin());
  // The host is there again before a failure is told: the next seed needs it.
  await each(answers, (answer) => answer.live()).finally(() => strike?.strike());
  if (!strike) return;
  await each(answers, (answer) => answer.comeBack());
}

for (const seed of SEEDS) {
  const play = async () => {
    const [hows, strikes] = [Object.keys(ENDS), Object.keys(STRIKES)];
    for (let first = 0, group = 0; first < ANSWERS_PER_SEED; first += AT_ONCE, group += 1) {
      provider.play(faulty.held());
      const [s, fate] = [new Scenario(host), dice(seed * 1_000_003 + group)];
      // Each of the strikes once, then what the dice say; the same for the ends.
      const struck = strikes[group] ?? (fate.chance(STRUCK_PERCENT) ? fate.one(strikes) : undefined);
      const strike = struck && new Strike(struck, 1 + fate.below(12 * AT_ONCE));
      const numbers = Array.from({ length: Math.min(AT_ONCE, ANSWERS_PER_SEED - first) }, (_, n) => first + n);
      const answers = numbers.map((number) => {
        const roll = dice(seed * 1_000_003 + 500_000 + number);
        return Object.assign(new Answer(s, roll, hows[number] ?? roll.one(hows), strike), { number });
      });
      await playGroup(answers, strike).finally(() => s.leave());
    }
  };
  scenario(`${ANSWERS_PER_SEED} answers are read as they were sent, whatever breaks (seed ${seed})`, play, { timeout: 60_000 + ANSWERS_PER_SEED * ANSWER_MS_MAX });
}
