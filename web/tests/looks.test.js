/** How the pages look, at 320 and 1440 px, light and dark: support/looks.js. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PNG } from "pngjs";
import { assertLooks, difference, reduced } from "./support/looks.js";
import { SETTINGS } from "./support/settings.js";
import { scenario, sees } from "./support/stage.js";
import { answered, open, operator, roomOf, say, visit } from "./support/widget.js";

const SITE = "shop.example";
/** Both ends of what there is, and both themes at both. */
const LOOKS = [1440, 320].flatMap((width) => [false, true].map((isDark) => ({ width, height: width === 320 ? 640 : 900, isDark, isStill: true })));

/** @param {string} view @param {{width: number, isDark: boolean}} look */
const nameOf = (view, { width, isDark }) => `${view}-${width}${isDark ? "-dark" : ""}`;

/** @param {import("./support/stage.js").Stage} stage @param {object} [more] */
async function settle({ host }, more = {}) {
  const reply = await fetch(`${host.baseUrl}/domains/${SITE}`, { method: "PUT", body: JSON.stringify({ ...SETTINGS, ...more }), headers: { "content-type": "application/json" } });
  assert.ok(reply.ok, await reply.text());
}

scenario("the widget: closed, open, with an answer and its sources, and where people have written", async (stage) => {
  await settle(stage);
  for (const look of LOOKS) {
    const page = await visit(stage, { isLax: true, ...look });
    await assertLooks(page, nameOf("widget-closed", look));
    await open(page);
    await sees(page, "weeziq-chat .greeting", "Ask me about our bikes");
    await page.locator("weeziq-chat .title", { hasText: "Robin" }).waitFor();
    await assertLooks(page, nameOf("widget-open", look));
    await say(page, "How long can I return a bike?");
    await answered(page);
    await page.locator("weeziq-chat .sources summary").click();
    await sees(page, "weeziq-chat .sources li", "30 days");
    await assertLooks(page, nameOf("widget-answer", look));
    const roomId = await roomOf(page);
    const ann = await operator(stage, roomId);
    ann.client.send({ type: "toggle-live-agent", roomId, enabled: true });
    await sees(page, "weeziq-chat .note", "Ann is here now");
    await ann.say({ message: "Yes, and I can send you a label." });
    await sees(page, "weeziq-chat .person .bubble", "a label");
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("button", { name: "Rate this conversation" }).click();
    await page.locator("weeziq-chat .rating").waitFor();
    await assertLooks(page, nameOf("widget-rating", look));
    await page.context().close();
  }
});

/** A customer, and what they have asked. @param {import("./support/stage.js").Stage} stage */
async function bustle(stage) {
  const client = await stage.client();
  const visitorData = { url: "https://shop.example/bikes", title: "All bikes", referrer: "https://search.example/?q=bikes", language: "en", userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0" };
  await client.ask({ type: "visitor-joined-domain", domainId: SITE, visitorId: "mira-1", visitorData });
  const who = { roomId: "mira-1", userId: "mira-1", userName: "Mira", role: "user", domainId: SITE };
  await client.ask({ type: "join-room", ...who });
  await client.ask({ type: "send-message", ...who, message: "How long can I return a bike?" });
  await client.next({ type: "new-message", role: "assistant" });
  await client.ask({ type: "request-human", ...who }, "human-requested");
}

scenario("the console: every view", async (stage) => {
  await settle(stage);
  await bustle(stage);
  for (const look of LOOKS) {
    const page = await stage.window(look);
    for (const [view, address, sign] of [
      ["conversation", "inbox/mira-1", ".message.ai .bubble"],
      ["inbox", "inbox", "a.room"],
      ["visitors", "visitors", "a.visitor"],
      ["visitor", "visitors/mira-1", ".visitor-detail .facts"],
      ["overview", "overview", ".lists tr"],
      ["settings", "settings", ".settings-form fieldset"],
      ["install", "install", ".snippet"],
    ]) {
      await page.goto(`${stage.host.baseUrl}/console#/${SITE}/${address}`);
      await page.locator(String(sign)).first().waitFor();
      await sees(page, "#link", "Connected");
      await assertLooks(page, nameOf(`console-${view}`, look));
    }
    await page.context().close();
  }
});

scenario("the start page, the parts and the documents", async (stage) => {
  for (const look of LOOKS) {
    const page = await stage.window({ ...look, path: "/" });
    await sees(page, "#health", "Running and well");
    await sees(page, "weeziq-chat .greeting", /\w/);
    await sees(page, "#visitors-now", /^1$/);
    await assertLooks(page, nameOf("start", look));
    for (const name of ["components", "docs"]) {
      await page.goto(`${stage.host.baseUrl}/${name}`);
      await page.waitForLoadState("networkidle");
      await assertLooks(page, nameOf(name, look));
    }
    await page.context().close();
  }
});

/** @param {(x: number, y: number) => number[]} colour */
function painted(colour) {
  const png = new PNG({ width: 400, height: 400 });
  for (let y = 0; y < 400; y += 1) for (let x = 0; x < 400; x += 1) png.data.set([...colour(x, y), 255], (y * 400 + x) * 4);
  return reduced(png);
}

test("another hour in a corner is no difference; a panel that moved, or has another colour, is one", () => {
  const panel = (/** @type {number} */ left, /** @type {number[]} */ colour) => painted((x, y) => (x >= left && x < left + 120 && y >= 40 && y < 360 ? colour : [244, 243, 238]));
  const reference = panel(200, [11, 107, 83]);
  const clock = painted((x, y) => (x >= 200 && x < 320 && y >= 40 && y < 360 ? (x < 230 && y < 52 && x % 3 ? [255, 255, 255] : [11, 107, 83]) : [244, 243, 238]));
  assert.ok(difference(reference, clock).share < 0.01);
  assert.ok(difference(reference, panel(212, [11, 107, 83])).share > 0.02, "12 px to the right");
  assert.ok(difference(reference, panel(200, [170, 40, 40])).share > 0.02, "red");
  assert.equal(difference(reference, new PNG({ width: 80, height: 80 })).share, 1);
});
