/** What the library does with the real host, as an application would use it. */
import assert from "node:assert/strict";
import { cutter, hosted, hostName, odyssey, unique } from "./support/host.js";
import { refused, scenario } from "./support/play.js";
import { heard } from "./support/seen.js";

const host = hosted();
const who = (userId, more) => ({ userId, userName: userId[0].toUpperCase() + userId.slice(1), ...more });

scenario("two people talk: messages, typing, presence, read marks, edits, deletions", async (s) => {
  const name = unique("room");
  const ann = s.connect(host.wsUrl).join(name, who("ann"));
  const bob = s.connect(host.wsUrl).join(name, who("bob"));
  const names = ["message", "updated", "deleted", "room-users", "user-typing", "user-presence", "message-read", "user-left"];
  const bobs = Object.fromEntries(names.map((event) => [event, heard(bob, event)]));
  await Promise.all([ann.ready, bob.ready]);
  await bobs["room-users"].next(({ count }) => count === 2);
  assert.deepEqual(bob.users.map(({ userId }) => userId).sort(), ["ann", "bob"]);

  ann.typing();
  await bobs["user-typing"].next({ userId: "ann", isTyping: true });
  const ack = await ann.send({ message: "Hello", attachments: [{ url: "/files/1" }] });
  await bobs["user-typing"].next({ userId: "ann", isTyping: false });
  const message = await bobs.message.next({ seq: ack.seq });
  assert.deepEqual([message.id, message.message, message.attachments], [ack.id, "Hello", [{ url: "/files/1" }]]);
  ann.setStatus("away");
  await bobs["user-presence"].next({ userId: "ann", status: "away" });
  ann.markRead();
  await bobs["message-read"].next({ userId: "ann", seq: ack.seq });
  await ann.edit(ack.id, "Hello!");
  assert.equal((await bobs.updated.next({ id: ack.id })).message, "Hello!");
  await refused(bob.edit(ack.id, "not mine"), "forbidden");
  await ann.delete(ack.id);
  await bobs.deleted.next({ id: ack.id });
  const { messages } = await bob.history();
  assert.deepEqual(messages, []);
  ann.leave();
  await bobs["user-left"].next({ userId: "ann" });
});

scenario("the past comes first, page by page on demand, then what is live", async (s) => {
  const name = unique("room");
  const ann = s.connect(host.wsUrl).join(name, who("ann"));
  for (let n = 1; n <= 120; n += 1) ann.send(`message ${n}`);
  await ann.send("message 121");
  const bob = s.connect(host.wsUrl).join(name, who("bob"));
  const history = await heard(bob, "history").next();
  assert.deepEqual([history.messages[0].seq, history.messages.at(-1).seq, history.hasMore], [72, 121, true]);
  const earlier = await bob.history({ beforeSeq: 72, limit: 200 });
  assert.deepEqual([earlier.messages.length, earlier.hasMore], [71, false]);
});

scenario("people take over, and the AI falls silent there", async (s) => {
  const name = unique("room");
  const eve = s.connect(host.wsUrl).join(name, who("eve", { role: "agent" }));
  const agent = heard(eve, "agent");
  await eve.ready;
  eve.liveAgent(true);
  assert.deepEqual([(await agent.next()).enabled, eve.position.seq], [true, 1]);
  const answer = await s.connect(host.wsUrl).ai.stream("Anybody?", { roomId: name }).answer;
  assert.equal(answer.finishReason, "cancelled");
  const visitor = s.connect(host.wsUrl);
  const room = visitor.join(name, who("visitor"));
  await room.ready;
  room.liveAgent(false);
  assert.equal((await visitor.errors.next()).code, "forbidden");
});

scenario("the AI answers, whole, in pieces, and in a room", async (s) => {
  const { ai, join } = s.connect(host.wsUrl);
  const whole = await ai.chat("Is my data safe?", { userId: unique("ann") });
  assert.ok(whole.message.length > 0 && whole.provider === "demo");
  const stream = ai.stream("Is my data safe?", { userId: unique("ann") });
  let text = "";
  for await (const piece of stream) text += piece;
  assert.equal(text, (await stream.answer).fullResponse);
  assert.equal((await stream.answer).finishReason, "stop");

  const name = unique("room");
  const [room, bob] = [join(name, who("ann")), s.connect(host.wsUrl).join(name, who("bob"))];
  const [messages, pieces] = [heard(room, "message"), heard(bob, "ai-stream-chunk")];
  await Promise.all([room.ready, bob.ready]);
  const published = await ai.stream("And here?", { roomId: name }).answer;
  assert.equal((await messages.next({ role: "assistant" })).message, published.fullResponse);
  await pieces.next();
  await refused(ai.chat("?", { model: "no-such-model" }), "unsupported_model");
});

scenario("an answer goes on over connections that are cut, not a word lost or said twice", async (s) => {
  const way = await cutter(s, host, { seed: 7, cutsMax: 6, bytesMean: 600 });
  const stream = s.connect(way.url).ai.stream("Who can take over from the AI?", { userId: unique("ann") });
  let text = "";
  for await (const piece of stream) text += piece;
  const answer = await stream.answer;
  assert.deepEqual([answer.fullResponse, answer.finishReason], [text, "stop"]);
  assert.ok(way.cuts > 0, "nothing was cut");
});

scenario("an answer is taken up by another page from where the first one was", async (s) => {
  const first = s.connect(host.wsUrl).ai.stream("Who can take over from the AI?", { userId: unique("ann") });
  const reading = first[Symbol.asyncIterator]();
  let text = (await reading.next()).value + (await reading.next()).value;
  const second = s.connect(host.wsUrl).ai.resume(first.conversationId, { afterIndex: 1 });
  for await (const piece of second) text += piece;
  assert.equal(text, (await first.answer).fullResponse);
});

scenario("an answer that is cancelled ends here at once, and at the server", async (s) => {
  const { ai, errors } = s.connect(host.wsUrl);
  const domainId = unique("shop");
  const stream = ai.stream(await odyssey(host, domainId), { userId: unique("ann"), domainId });
  for await (const _ of stream) break;
  const { finishReason } = await ai.resume(stream.conversationId).answer;
  assert.equal(finishReason, "cancelled");
  assert.deepEqual(errors.all, []);
});

scenario("a visitor is counted, followed and let go, and a dashboard sees it", async (s) => {
  const domain = unique("shop");
  const dashboard = s.connect(host.wsUrl);
  assert.equal((await dashboard.visitors.stats(domain)).activeVisitors, 0);
  const [joined, activity, left] = ["visitor-joined-domain", "visitor-activity", "visitor-left-domain"].map((name) => heard(dashboard, name));
  const way = await cutter(s, host);
  const visitor = s.connect(way.url);
  const statuses = heard(visitor, "status");
  const visit = visitor.visitors.track(domain, { visitorId: "v1", data: { url: "https://shop.example/" } });
  assert.equal((await joined.next({ visitorId: "v1" })).activeCount, 1);
  visit.activity({ url: "https://shop.example/cart", title: "Cart" });
  assert.equal((await activity.next({ visitorId: "v1" })).title, "Cart");
  way.down();
  await statuses.next({ state: "waiting" });
  way.up();
  await statuses.next({ state: "open" });
  const { activeVisitors, totalVisitors } = await dashboard.visitors.stats(domain);
  assert.deepEqual([activeVisitors, totalVisitors], [1, 1]);
  visit.stop();
  await left.next({ visitorId: "v1" });
});

scenario("a file is put into a room, comes back, and is attached", async (s) => {
  const client = s.connect(host.wsUrl);
  const roomId = unique("room");
  const file = await client.files.upload(new File(["Hello, file"], "Grüße.txt", { type: "text/plain" }), { roomId, userId: "ann" });
  assert.deepEqual([file.name, file.size, file.contentType], ["Grüße.txt", 11, "text/plain"]);
  assert.equal(await (await fetch(file.url)).text(), "Hello, file");
  const bob = s.connect(host.wsUrl).join(roomId, who("bob"));
  const heardByBob = heard(bob, "message");
  await bob.ready;
  await client.join(roomId, who("ann")).send({ message: "Look", attachments: [file] });
  assert.deepEqual((await heardByBob.next()).attachments, [file]);
  await refused(client.files.upload(new Blob(["x"]), { name: "x".repeat(300) }), "invalid_request");
});

scenario("a room that is erased is empty at once, and what is said behind that arrives", async (s) => {
  const name = unique("room");
  const [ann, bob] = ["ann", "bob"].map((user) => s.connect(host.wsUrl).join(name, who(user)));
  const [messages, resets] = [heard(bob, "message"), heard(bob, "reset")];
  await Promise.all([ann.ready, bob.ready]);
  await ann.send("one");
  await messages.next({ message: "one" });
  await fetch(`${host.baseUrl}/rooms/${name}`, { method: "DELETE" });
  await resets.next({ reason: "replaced", seq: 0 });
  await ann.send("two");
  assert.equal((await messages.next({ message: "two" })).seq, 1);
});

scenario("the host dies and comes back elsewhere: what was said meanwhile arrives once", async (s) => {
  const name = unique("room");
  const way = await cutter(s, host);
  const client = s.connect(way.url);
  const ann = client.join(name, who("ann"));
  const messages = heard(ann, "message");
  await ann.send("before");
  await host.kill9();
  await client.statuses.next({ state: "waiting" });
  const meanwhile = ann.send("meanwhile");
  await host.restart();
  way.retarget(host.wsUrl);
  await meanwhile;
  await ann.send("after");
  await messages.next({ message: "after" });
  assert.deepEqual(messages.all.map(({ seq, message }) => [seq, message]), [[1, "before"], [2, "meanwhile"], [3, "after"]]);
});

if (hostName === "native") {
  scenario("the host stops: its hint is kept to", async (s) => {
    const client = s.connect(host.wsUrl);
    await client.join(unique("room"), who("ann")).ready;
    await host.stop();
    const { error, retryInMs } = await client.statuses.next({ state: "waiting" });
    assert.equal(error.closeCode, 1001);
    const hint = Number(/retryAfterMs=(\d+)/.exec(error.message)[1]);
    assert.ok(hint <= retryInMs && retryInMs <= 1.5 * hint, `${retryInMs} after ${error.message}`);
    await host.restart();
  });
}
