/** What tests do with a widget. */
import assert from "node:assert/strict";
import { site } from "./site.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {import("./site.js").Site & import("./stage.js").Look & {prepare?: (page: Page) => Promise<unknown>}} How */

/** A visitor on a site that has one. @param {Stage} stage @param {How} [how] */
export async function visit(stage, how = {}) {
  const page = await stage.window(how);
  await how.prepare?.(page);
  await page.goto(await site(stage.host.baseUrl, how));
  await page.locator("weeziq-chat .launcher").first().waitFor();
  return page;
}

/** @param {Page} page @param {number} [nth] */
export async function open(page, nth = 0) {
  await page.locator("weeziq-chat .launcher").nth(nth).click();
  await page.locator("weeziq-chat .composer").nth(nth).waitFor();
}

/** @param {Page} page @param {string} text */
export async function say(page, text) {
  await page.locator("weeziq-chat .composer textarea").first().fill(text);
  await page.keyboard.press("Enter");
}

/** @param {Page} page */
export const answered = (page) => page.locator("weeziq-chat .message.assistant[data-seq]").last().waitFor();

/** What to ask for an answer that takes five seconds to be written, and so is met in the middle. @param {Stage} stage */
export async function odyssey(stage) {
  const body = `# Odyssey\n\n${"The odyssey went on and on. ".repeat(30)}`;
  const reply = await fetch(`${stage.host.baseUrl}/domains/shop.example/knowledge/odyssey.md`, { method: "PUT", body, headers: { "content-type": "text/markdown" } });
  assert.ok(reply.ok, await reply.text());
  return "How long was the odyssey?";
}

/** What the room has said, as it is shown. @param {Page} page */
export const texts = (page) => page.locator("weeziq-chat .message[data-seq] .bubble").allInnerTexts();

/** The visitor's room, as operators see it. @param {Page} page @param {string} [domain] */
export const roomOf = (page, domain = "shop.example") => page.evaluate((key) => JSON.parse(localStorage.getItem(key) ?? "{}").userId, `weeziq ${domain}`);

/** Somebody who works there, in the visitor's room. @param {Stage} stage @param {string} roomId @param {object} [who] */
export async function operator(stage, roomId, who = {}) {
  const client = await stage.client();
  const about = { roomId, userId: "ann", userName: "Ann", role: "agent", domainId: "shop.example", ...who };
  await client.ask({ type: "join-room", ...about });
  return { client, say: (/** @type {object} */ message) => client.ask({ type: "send-message", ...about, ...message }) };
}
