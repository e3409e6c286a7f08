/** The hooks against a real host: the one that `HOST_UNDER_TEST` names. */
import { mount, openStage } from "./support/mount.js";
import assert from "node:assert/strict";
import { useAiChat, useDomainStats, useRoom, useVisit, useVisitors } from "../src/index.js";
import { cutter, hosted, odyssey, unique } from "../../js/tests/support/host.js";
import { scenario } from "../../js/tests/support/play.js";

const host = hosted();
const texts = ({ messages }) => messages.map(({ message }) => message);

scenario("two people talk through cuts: each sees everything once, in one order", async (s) => {
  const COUNT = 100;
  const id = unique("room");
  const sides = [];
  for (const [n, userId] of ["ann", "bob"].entries()) {
    const between = await cutter(s, host, { seed: n + 1, cutsMax: 8, bytesMean: 4_000 });
    sides.push(mount(s, between.url, () => useRoom(id, { userId, userName: userId })));
  }
  for (const { values } of sides) await values.next({ status: "joined" });
  const sent = sides.flatMap(({ now }, side) => Array.from({ length: COUNT }, (_, n) => now.send(`${side}-${n}`)));
  const places = (await Promise.all(sent)).map(({ seq }) => seq);
  assert.equal(new Set(places).size, 2 * COUNT);
  for (const side of sides) {
    await side.values.next((state) => state.messages.length === 2 * COUNT && state.pending.length === 0);
    for (const state of side.values.all) assert.equal(new Set(texts(state)).size, state.messages.length, "never twice");
  }
  assert.deepEqual(texts(sides[0].now), texts(sides[1].now));
});

scenario("a question in a room is seen by an agent, who takes over in mid-answer and replies", async (s) => {
  const id = unique("room");
  const userId = unique("ann");
  const domainId = unique("shop");
  const question = await odyssey(host, domainId);
  const visitor = mount(s, host.wsUrl, () => ({ room: useRoom(id, { userId, userName: "Ann", domainId }), ai: useAiChat({ userId, roomId: id, domainId }) }));
  const agent = mount(s, host.wsUrl, () => useRoom(id, { userId: "agent", userName: "Agent", role: "agent" }));
  await visitor.values.next(({ room }) => room.status === "joined");
  await agent.values.next({ status: "joined" });
  const answered = visitor.now.ai.send(question);
  await agent.values.next((state) => texts(state).includes(question));
  await agent.values.next(({ writing }) => writing?.text);
  agent.now.setLiveAgent(true);
  assert.equal((await answered).finishReason, "cancelled");
  await agent.values.next((state) => state.liveAgent && !state.writing);
  await agent.now.send("This is Agent.");
  const { room } = await visitor.values.next(({ room: state }) => texts(state).at(-1) === "This is Agent.");
  assert.ok(room.liveAgent);
  assert.deepEqual(room.messages.filter(({ role }) => role === "assistant"), []);
});

scenario("an answer in a room becomes one message, and the one who asked has the same text", async (s) => {
  const id = unique("room");
  const userId = unique("ann");
  const view = mount(s, host.wsUrl, () => ({ room: useRoom(id, { userId, userName: "Ann" }), ai: useAiChat({ userId, roomId: id }) }));
  await view.values.next(({ room }) => room.status === "joined");
  const { fullResponse } = await view.now.ai.send("Is my data safe?");
  const { room, ai } = await view.values.next((state) => state.room.messages.length === 2 && state.ai.status === "ready");
  assert.deepEqual([room.messages[1].message, ai.messages[1].text, room.writing], [fullResponse, fullResponse, undefined]);
});

scenario("an agent sees visitors come and go, in rows and in numbers", async (s) => {
  const domain = unique("shop");
  const agent = mount(s, host.wsUrl, () => ({ here: useVisitors(domain), all: useDomainStats() }));
  await agent.values.next(({ here, all }) => here.status === "live" && all.status === "live");
  const page = openStage(s, host.wsUrl);
  page.show({ visit: () => useVisit(domain, { visitorId: "v" }) });
  const { here } = await agent.values.next(({ here: { visitors } }) => visitors[0]?.device);
  assert.deepEqual([here.visitors.length, here.visitors[0].url, here.activeVisitors], [1, "https://shop.example/start", 1]);
  await agent.values.next(({ all }) => all.stats[domain]?.totalVisitors === 1);
  page.show({});
  await agent.values.next(({ here: now, all }) => now.activeVisitors === 0 && all.stats[domain].activeVisitors === 0);
  assert.deepEqual(agent.now.here.visitors, []);
});
