/** Settings of a domain in full: what they may say, who may read what, and what of them counts at once. */
import assert from "node:assert/strict";
import { restate } from "../aging.js";
import { get, request } from "../http.js";
import { suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const { scenario } = suite();

const EVERYTHING = {
  name: "The Shop",
  welcomeMessage: "Welcome!",
  systemPrompt: "You sell hats.",
  fallbackMessage: "Our hatter will call you back.",
  model: "gpt-4o-mini",
  ai: { autoReply: true, sharePage: true },
  helpdesk: [{ question: "Where is my hat?", answer: "On its way.\nUsually." }],
  allowedOrigins: ["https://shop.example", "https://*.shop.example"],
  businessHours: { timeZone: "Europe/Berlin", week: { mon: [["09:00", "12:30"], ["13:00", "24:00"]], sun: [["00:00", "24:00"]] } },
  retention: { messagesDays: 30, filesDays: 7, statsDays: 365 },
  cannedReplies: [{ shortcut: "hi", text: "Hello!" }],
};

const at = (s, domainId, rest = "") => s.url(`/domains/${encodeURIComponent(domainId)}${rest}`);
const put = (s, domainId, body) =>
  request(at(s, domainId), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

scenario("everything that can be set is kept, over a crash too, and replaced as a whole", async (s) => {
  const domainId = s.unique("domain");
  const expected = { domainId, schemaVersion: 2, ...EVERYTHING };
  assert.deepEqual((await put(s, domainId, EVERYTHING)).json, expected);
  await s.host.kill9();
  await s.host.restart();
  assert.deepEqual((await get(at(s, domainId))).json, expected);
  // What was read can be written back.
  assert.deepEqual((await put(s, domainId, expected)).json, expected);
  assert.deepEqual((await put(s, domainId, { ai: { autoReply: true } })).json, {
    domainId,
    schemaVersion: 2,
    ai: { autoReply: true, sharePage: false },
  });
});

scenario("a refusal names the place in the document and changes nothing", async (s) => {
  const domainId = s.unique("domain");
  await put(s, domainId, EVERYTHING);
  const entry = { question: "a", answer: "b" };
  for (const [change, status, words] of [
    [{ ai: { autoReply: 1 } }, 400, "ai.autoReply must be true or false"],
    [{ helpdesk: [entry, { question: "c" }] }, 400, "helpdesk[1].answer is required"],
    [{ helpdesk: [{ question: "c", answer: "x".repeat(17_000) }] }, 413, "helpdesk[0].answer has"],
    [{ helpdesk: Array(501).fill(entry) }, 413, "helpdesk has 501 entries"],
    [{ allowedOrigins: ["https://*.com"] }, 400, "allowedOrigins[0]"],
    [{ businessHours: { timeZone: "Europe/Atlantis" } }, 400, "businessHours.timeZone"],
    [{ businessHours: { timeZone: "UTC", week: { mon: [["9:00", "17:00"]] } } }, 400, "businessHours.week.mon[0][0]"],
    [{ retention: { messagesDays: 0 } }, 400, "retention.messagesDays"],
    [{ cannedReplies: [{ shortcut: "a", text: 7 }] }, 400, "cannedReplies[0].text must be a string"],
  ]) {
    const refused = await put(s, domainId, change);
    assert.equal(refused.status, status, words);
    assert.ok(refused.json.error.includes(words), refused.json.error);
  }
  const large = await put(s, domainId, { name: "x".repeat(600 * 1024) });
  assertShape([large.status, large.json.code], [413, "too_large"]);
  assert.equal((await get(at(s, domainId))).json.name, EVERYTHING.name);
});

scenario("a visitor's page learns the name and the hours, and nothing that is the operator's", async (s) => {
  const domainId = s.unique("domain");
  assert.deepEqual((await get(at(s, domainId, "/widget"))).json, { domainId, isOpen: true, autoReply: false });
  const allDays = Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, [["00:00", "24:00"]]]));
  const { name, welcomeMessage } = EVERYTHING;
  await put(s, domainId, { ...EVERYTHING, businessHours: { timeZone: "Asia/Kathmandu", week: allDays } });
  assert.deepEqual((await get(at(s, domainId, "/widget"))).json, { domainId, name, welcomeMessage, isOpen: true, autoReply: true });
  // Open for one minute on the day after tomorrow, there.
  const opensAt = new Date(Math.floor(Date.now() / 86_400_000 + 2) * 86_400_000 + 3 * 3_600_000);
  const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][opensAt.getUTCDay()];
  await put(s, domainId, { businessHours: { timeZone: "Asia/Tokyo", week: { [day]: [["12:00", "12:01"]] } } });
  assert.deepEqual((await get(at(s, domainId, "/widget"))).json, { domainId, isOpen: false, opensAt: opensAt.toISOString(), autoReply: false });
  assert.equal((await request(at(s, domainId, "/widget"), { method: "PUT", body: "{}" })).status, 405);
});

scenario("what another release kept is read as far as it can be, and is kept in this one's form from the next change on", async (s) => {
  const stored = {
    "of the first release": [{ name: "Shop", systemPrompt: "Be brief.", model: "gpt-4o" }, { name: "Shop", systemPrompt: "Be brief.", model: "gpt-4o" }],
    "of a later one": [
      { ...EVERYTHING, schemaVersion: 99, name: { en: "Shop" }, helpdesk: [...EVERYTHING.helpdesk, { kind: "video" }], hologram: true },
      { ...EVERYTHING, name: undefined },
    ],
    "of none": ["{", {}],
  };
  const domains = new Map(Object.keys(stored).map((release) => [release, s.unique("domain")]));
  for (const domainId of domains.values()) assert.equal((await put(s, domainId, { name: domainId })).status, 200);
  await s.host.stop();
  for (const [release, [kept]] of Object.entries(stored)) restate(s.host, domains.get(release), typeof kept === "string" ? kept : JSON.stringify(kept));
  await s.host.restart();
  for (const [release, [, read]] of Object.entries(stored)) {
    const domainId = domains.get(release);
    const expected = JSON.parse(JSON.stringify({ domainId, schemaVersion: 2, ...read }));
    assert.deepEqual((await get(at(s, domainId))).json, expected, release);
    assert.deepEqual((await put(s, domainId, { ...expected, name: "Ours" })).json, { ...expected, name: "Ours" }, release);
  }
  await s.host.kill9();
  await s.host.restart();
  for (const domainId of domains.values()) assertShape((await get(at(s, domainId))).json, { schemaVersion: 2, name: "Ours" });
});
