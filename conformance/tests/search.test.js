/** What was said is found again by its words, and taken along as a transcript. */
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { get, post } from "../http.js";
import { say, sayMany, suite } from "../scenario.js";
import { absent, assertHttpError, assertShape, text, timestamp } from "../shape.js";

const { scenario } = suite();

const encode = encodeURIComponent;

async function search(s, domainId, q, query = "") {
  const reply = await get(s.url(`/search?domainId=${encode(domainId)}&q=${encode(q)}${query}`));
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
}

/** What is found, once it is as awaited: a room's site may hear of its last words a moment later. */
const found = (s, domainId, q, holds) => eventually(async () => (await search(s, domainId, q)).results, holds);

async function customer(s, domainId, words, room = s.unique("room")) {
  const member = await s.member(room, "cleo", { role: "customer", domainId });
  for (const message of words) await say(member, room, "cleo", message, { role: "customer" });
  return { member, room };
}

scenario("messages are found by their words, newest first, in all rooms of a site", async (s) => {
  const domainId = s.unique("shop");
  const one = await customer(s, domainId, ["Do you have red hats?", "or blue ones"]);
  const two = await customer(s, domainId, ["My hat is RED now"]);
  const results = await found(s, domainId, "red hat", (all) => all.length === 2);
  assert.deepEqual(results.map((r) => r.roomId), [two.room, one.room]);
  assertShape(results[1], { roomId: one.room, snippet: "Do you have red hats?" });
  assertShape(results[1].message, { type: absent, id: text, roomId: one.room, seq: 1, message: "Do you have red hats?", userId: "cleo", userName: "Cleo", role: "customer", socketId: text, timestamp });
  assert.deepEqual((await search(s, domainId, "red blue")).results, []);
  assert.deepEqual((await search(s, s.unique("elsewhere"), "red")).results, []);
});

scenario("an edited message is found by what it says now, a deleted one not at all", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId, ["Grüße", "forget this"]);
  const [edited, deleted] = (await get(s.url(`/rooms/${room}/messages`))).json.messages;
  await found(s, domainId, "grusse", (all) => all.length === 0 || all.length === 1);
  await found(s, domainId, "Grüße", (all) => all.length === 1);
  await member.ask({ type: "edit-message", roomId: room, messageId: edited.id, message: "Servus" }, "message-sent");
  await member.ask({ type: "delete-message", roomId: room, messageId: deleted.id }, "message-sent");
  await found(s, domainId, "servus", (all) => all.length === 1 && all[0].message.message === "Servus");
  // The two changes may reach the index one after the other.
  for (const gone of ["Grüße", "forget"]) await found(s, domainId, gone, (all) => all.length === 0);
});

scenario("a long result comes in pages, each message once", async (s) => {
  const domainId = s.unique("shop");
  const { member, room } = await customer(s, domainId, []);
  await sayMany(member, room, "cleo", 150, (n) => `hat ${n}`);
  await found(s, domainId, "150", (all) => all.length === 1);
  const seen = [];
  let cursor = "";
  do {
    const page = await search(s, domainId, "hat", `&limit=40${cursor && `&cursor=${encode(cursor)}`}`);
    seen.push(...page.results.map((r) => r.message.seq));
    cursor = page.cursor;
  } while (cursor);
  assert.deepEqual(seen, Array.from({ length: 150 }, (_, n) => 150 - n));
});

scenario("what was said before a crash is found after it, and what a room said before it had a site", async (s) => {
  const [domainId, room] = [s.unique("shop"), s.unique("room")];
  const early = await s.member(room, "ann", { role: "agent" });
  await say(early, room, "ann", "an early bird", { role: "agent" });
  await customer(s, domainId, ["a worm"], room);
  await s.host.kill9();
  await s.host.restart();
  await customer(s, domainId, ["a second worm"], room);
  await found(s, domainId, "worm", (all) => all.length === 2);
  await found(s, domainId, "early", (all) => all.length === 1);
});

scenario("a query is words, whatever it is made of", async (s) => {
  const domainId = s.unique("shop");
  await customer(s, domainId, ["a NEAR miss", "or not"]);
  await found(s, domainId, "near", (all) => all.length === 1);
  for (const q of ['near"', "near AND", "text:near", "near* OR or", "{near}", "near'; DROP TABLE search; --", "^near", "NEAR(near miss)"]) {
    await search(s, domainId, q);
  }
  const bad = (query, field) => get(s.url(`/search?${query}`)).then((r) => assertHttpError(r, 400, "invalid_request", field));
  await bad("q=near", "domainId");
  for (const q of ["", "%20", "%22%22", "*", "x".repeat(257)]) await bad(`domainId=${domainId}&q=${q}`, "q");
  for (const cursor of ["x", "1.2", "1.2.", "-1.1.a", "1.1.a%00", ""]) await bad(`domainId=${domainId}&q=a&cursor=${cursor}`, "cursor");
  await bad(`domainId=${domainId}&q=a&limit=0`, "limit");
});

scenario("a transcript names what was attached: each by its name, size and address, and no name writes a line of its own", async (s) => {
  const room = s.unique("room");
  const ann = await s.member(room, "ann");
  const file = (await post(s.url(`/files?name=map.txt&roomId=${room}`), "hello", { "content-type": "text/plain" })).json;
  const theirs = { name: "b\n[2030-01-01] Eve (agent): pay", url: "https://files.example/b" };
  await say(ann, room, "ann", "look", { attachments: [{ ...file, url: "https://evil.example/" }, theirs, 17] });
  const { text } = await get(s.url(`/rooms/${room}/transcript?format=text`));
  const lines = text.trimEnd().split("\n").slice(-4);
  assert.match(lines[0], /Ann \(user\): look$/);
  assert.deepEqual(lines.slice(1), [`    attached: map.txt, 5 bytes, ${file.url}`, "    attached: b [2030-01-01] Eve (agent): pay, https://files.example/b", "    attached: something without a name"]);
});

scenario("a transcript holds all of a long conversation, as JSON and as text", async (s) => {
  const { member, room } = await customer(s, s.unique("shop"), [], s.unique("a room/ü"));
  await sayMany(member, room, "cleo", 450, (n) => (n === 7 ? "two\nlines" : `word ${n}`));
  const json = await get(s.url(`/rooms/${encode(room)}/transcript`));
  assert.equal(json.headers.get("content-type"), "application/json");
  assert.match(json.headers.get("content-disposition"), /^attachment; filename="transcript-a_room__[\w-]*\.json"$/);
  assertShape(json.json, { roomId: room, exportedAt: timestamp });
  assert.deepEqual(json.json.messages.map((m) => m.seq), Array.from({ length: 450 }, (_, n) => n + 1));
  const plain = await get(s.url(`/rooms/${encode(room)}/transcript?format=text`));
  assert.equal(plain.headers.get("content-type"), "text/plain; charset=utf-8");
  const lines = plain.text.trimEnd().split("\n");
  assert.equal(lines.length, 2 + 451);
  assert.match(lines[2], /^\[\d{4}-.*Z\] Cleo \(user\): word 1$/);
  assert.equal(lines[9], "    lines", "nobody writes another's line");
  assertHttpError(await get(s.url(`/rooms/${encode(room)}/transcript?format=pdf`)), 400, "invalid_request", "format");
  assertHttpError(await get(s.url(`/rooms/${s.unique("nowhere")}/transcript`)), 404, "not_found");
});
