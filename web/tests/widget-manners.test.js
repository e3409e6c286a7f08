/** How the widget behaves where nobody asked it to stand out: silent, still, and honest when nobody is there. */
import assert from "node:assert/strict";
import { assertNoSidewaysScroll, barriers, picture, scenario, sees } from "./support/stage.js";
import { open, operator, roomOf, say, visit } from "./support/widget.js";

const SITE = "shop.example";
const PEOPLE = { domain: SITE, ai: "off" };

/** Every note that is played is counted, and played all the same. @param {import("./support/stage.js").Page} page */
const countNotes = (page) =>
  page.addInitScript(() => {
    globalThis.notes = 0;
    const { start } = OscillatorNode.prototype;
    OscillatorNode.prototype.start = function (when) {
      globalThis.notes += 1;
      start.call(this, when);
    };
  });

scenario("a message makes no sound, until the visitor switches it on; after a reload it is on still", async (stage) => {
  const page = await visit(stage, { data: PEOPLE, prepare: countNotes });
  const notes = () => page.evaluate(() => globalThis.notes);
  await open(page);
  await say(page, "Hello");
  await sees(page, "weeziq-chat .mine .mark", "Delivered");
  const ann = await operator(stage, await roomOf(page));
  /** @type {string[]} */
  const fetched = [];
  page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  await ann.say({ message: "In silence." });
  await sees(page, "weeziq-chat .bubble", "In silence.");
  assert.equal(await notes(), 0);
  assert.ok(!fetched.includes("/widget/sound.js"), "what plays is not even fetched");

  const sound = page.getByRole("checkbox", { name: "Sound" });
  await page.getByRole("button", { name: "More" }).click();
  assert.equal(await sound.isChecked(), false);
  await sound.check();
  await ann.say({ message: "With a chime." });
  await page.waitForFunction(() => globalThis.notes === 2);
  await say(page, "My own are silent");
  await page.locator("weeziq-chat .mine[data-seq]").nth(1).waitFor();
  assert.equal(await notes(), 2);

  await page.reload();
  await open(page);
  await sees(page, "weeziq-chat .bubble", "My own are silent");
  await ann.say({ message: "Again." });
  await page.waitForFunction(() => globalThis.notes === 2);
  await page.getByRole("button", { name: "More" }).click();
  assert.equal(await sound.isChecked(), true);
});

scenario("whoever wants no motion sees none, and everything else", async (stage) => {
  for (const isStill of [false, true]) {
    const page = await visit(stage, { data: PEOPLE, isStill });
    await open(page);
    await say(page, "Hello");
    await sees(page, "weeziq-chat .mine .mark", "Delivered");
    const roomId = await roomOf(page);
    const ann = await operator(stage, roomId);
    ann.client.send({ type: "typing-start", roomId, userId: "ann", userName: "Ann" });
    await sees(page, "weeziq-chat .typing", "Ann is writing");
    const moving = await page.locator("weeziq-chat").evaluate(({ shadowRoot }) => {
      const all = [...(shadowRoot?.querySelectorAll("*") ?? [])];
      const styles = all.flatMap((one) => ["", "::before", "::after"].map((part) => getComputedStyle(one, part)));
      return styles.filter((style) => style.animationName !== "none" || parseFloat(style.transitionDuration) > 0.001).length;
    });
    assert.equal(moving > 0, !isStill, `${moving} parts move`);
  }
});

/** @param {string} baseUrl @param {object} settings */
async function set(baseUrl, settings) {
  const reply = await fetch(`${baseUrl}/domains/${SITE}`, { method: "PUT", body: JSON.stringify(settings), headers: { "content-type": "application/json" } });
  assert.ok(reply.ok, await reply.text());
}

/** No minute of this day or of a neighbour's, wherever the clock is: open for a minute that is three days off. */
function otherDay() {
  const day = new Date(Date.now() + 3 * 86_400_000).toLocaleDateString("en", { weekday: "short", timeZone: "UTC" }).toLowerCase();
  return { timeZone: "Europe/Berlin", week: { [day]: [["09:00", "09:01"]] } };
}

scenario("outside business hours it says when somebody is back, and takes a message with an address", async (stage) => {
  await set(stage.host.baseUrl, { name: "Shoes & more", businessHours: otherDay(), ai: { autoReply: false } });
  for (const isDark of [false, true]) {
    const page = await visit(stage, { isLax: true, data: PEOPLE, isDark, isStill: true, width: isDark ? 320 : 1440, height: 720 });
    await open(page);
    await sees(page, "weeziq-chat .away", /we are back \w+day.* 09:00.*Leave a message/);
    assert.deepEqual(await barriers(page, "away"), []);
    await assertNoSidewaysScroll(page, "away");
    await picture(page, isDark ? "widget-away-phone-dark" : "widget-away");
    const email = page.getByRole("textbox", { name: "E-mail" });
    // What is no address goes nowhere; the message does.
    await email.fill("mira at example");
    await say(page, "Do you have these in 43?");
    await page.locator("weeziq-chat .mine[data-seq]").waitFor();
    await email.fill("mira@example.com");
    await say(page, "And in blue?");
    await page.locator("weeziq-chat .mine[data-seq]").nth(1).waitFor();
    const { messages } = await (await fetch(`${stage.host.baseUrl}/rooms/${await roomOf(page)}/messages`)).json();
    assert.deepEqual(messages.map((/** @type {{message: string}} */ { message }) => message), ["Do you have these in 43?", "And in blue?\n\nPlease answer to mira@example.com"]);
  }
});

scenario("while somebody is there, there is no form", async (stage) => {
  const always = Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, [["00:00", "24:00"]]]));
  await set(stage.host.baseUrl, { businessHours: { timeZone: "UTC", week: always } });
  const page = await visit(stage, { data: PEOPLE });
  await open(page);
  await sees(page, "weeziq-chat .greeting", /\w/);
  assert.equal(await page.locator("weeziq-chat .away").isVisible(), false);
});

scenario("the files come from a cache and the server is down: it says so, keeps the message, and sends it when it can", async (stage) => {
  stage.expected.push(/WebSocket connection to|ERR_(CONNECTION|FAILED)/);
  let isDown = true;
  const page = await visit(stage, {
    data: PEOPLE,
    prepare: async (page) => {
      await page.routeWebSocket(/\/ws/, (socket) => (isDown ? socket.close({ code: 1011 }) : void socket.connectToServer()));
      await page.route("**/domains/*/widget", (route) => (isDown ? route.abort("connectionrefused") : route.continue()));
    },
  });
  await open(page);
  await sees(page, "weeziq-chat .state", "No connection. What you write is kept");
  await say(page, "Is anybody there?");
  await sees(page, "weeziq-chat .pending .mark", "Sending");
  isDown = false;
  await page.locator("weeziq-chat .mine[data-seq]", { hasText: "Is anybody there?" }).waitFor({ timeout: 60_000 });
  assert.equal(await page.locator("weeziq-chat .mine").count(), 1);
  await page.locator("weeziq-chat .state").waitFor({ state: "hidden" });
});
