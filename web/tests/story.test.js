/** The whole story in two windows: somebody comes to a site, asks, wants a person, and gets one. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { deflateSync } from "node:zlib";
import { readmePicture } from "./support/looks.js";
import { SETTINGS } from "./support/settings.js";
import { site } from "./support/site.js";
import { picture, scenario, sees } from "./support/stage.js";

const SITE = "shop.example";
/** A photograph of sorts, as PNG. @param {number} width @param {number} height */
function picturePng(width, height) {
  const chunk = (/** @type {string} */ kind, /** @type {Buffer} */ data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  const rows = Buffer.alloc(height * (width * 3 + 1));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) rows.set([90 + (x * 120) / width, 140 - (y * 60) / height, 120 + (y * 90) / height], y * (width * 3 + 1) + 1 + x * 3);
  }
  const start = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([start, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** Node has one of its own from 22.2 on. @param {Buffer} bytes */
function crc32(bytes) {
  let sum = 0xffff_ffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb8_8320 : sum >>> 1;
  }
  return (sum ^ 0xffff_ffff) >>> 0;
}

/** @param {string} baseUrl @param {string} path @param {object} body */
async function put(baseUrl, path, body) {
  const reply = await fetch(`${baseUrl}${path}`, { method: "PUT", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  assert.equal(reply.status, 200, await reply.text());
}

scenario("open site → seen live → question → streamed answer → a person → takeover → file → rating → transcript", async (stage) => {
  const { baseUrl } = stage.host;
  await put(baseUrl, `/domains/${SITE}`, SETTINGS);
  const agent = await stage.window({ path: `/console#/${SITE}/visitors` });
  await agent.fill("#my-name", "Ann");
  await agent.press("#my-name", "Tab");
  await sees(agent, ".empty", "Nobody is on the site now");

  // Somebody comes, and is seen.
  const visitor = await stage.window({ width: 1100, height: 800 });
  await visitor.goto(await site(baseUrl));
  await sees(agent, "h1", "1 on the site");
  await sees(agent, "a.visitor", "Shop");
  await visitor.locator("weeziq-chat .launcher").click();
  const composer = visitor.locator("weeziq-chat .composer textarea");
  await composer.fill("How long can I return a bike?");
  await composer.press("Enter");

  // The AI answers, and the agent sees it being written.
  await Promise.all(["g", "i"].map((key) => agent.keyboard.press(key)));
  await agent.locator("a.room").click();
  await sees(agent, ".message.theirs .bubble", "How long can I return a bike?");
  await sees(visitor, "weeziq-chat .message.assistant[data-seq]", "30 days");
  await sees(agent, ".said:not(.tail) .message.ai .bubble", "30 days");
  await picture(agent, "story-answer");
  await readmePicture(visitor, "widget");

  // They ask for a person, and the agent hears of it.
  await visitor.getByRole("button", { name: /talk to a person|person/i }).first().click();
  await sees(agent, "a.room .badge", "Waiting");
  await sees(agent, ".notice", "asks for a person");
  assert.equal(await agent.locator(".notice", { hasText: "asks for a person" }).count(), 1);
  await sees(agent, '[data-view="inbox"] .nav-count.waits', "1");

  // The agent takes over, with a canned reply.
  await agent.keyboard.press("t");
  await sees(agent, ".notice", "You took over");
  await sees(agent, "a.room .badge", "Live");
  await agent.fill("#reply", "/hel");
  await sees(agent, "#canned", "this is Ann");
  await agent.press("#reply", "Enter");
  await agent.press("#reply", "Enter");
  await sees(visitor, "weeziq-chat .message", "Hello, this is Ann.");
  await composer.pressSequentially("The frame");
  await sees(agent, ".typing", "writing");

  // A file each way.
  await agent.locator('.composer input[type="file"]').setInputFiles({ name: "return <form>.txt", mimeType: "text/plain", buffer: Buffer.from("Sign here.") });
  await sees(agent, ".outgoing-file[data-key]", "return <form>.txt");
  await agent.press("#reply", "Enter");
  await sees(visitor, "weeziq-chat .message", "return <form>.txt");
  await visitor.locator('weeziq-chat .composer input[type="file"]').setInputFiles({ name: "scratch.png", mimeType: "image/png", buffer: picturePng(320, 180) });
  await visitor.locator("weeziq-chat .upload.done").waitFor();
  await composer.press("Enter");
  await sees(agent, ".message.theirs .file-name", "scratch.png");
  await agent.waitForFunction(() => /** @type {HTMLImageElement | null} */ (document.querySelector(".thumbnail"))?.naturalWidth === 320);
  await readmePicture(agent, "console");

  // It ends well.
  await visitor.getByRole("button", { name: "More" }).click();
  await visitor.getByRole("button", { name: "Rate this conversation" }).click();
  await visitor.locator('weeziq-chat .rating input[value="5"]').check({ force: true });
  await visitor.locator("weeziq-chat .rating textarea").fill("Quick and kind.");
  await visitor.locator('weeziq-chat .rating button[type="submit"]').click();
  await sees(agent, ".profile .rating", "Quick and kind.");
  await agent.getByRole("button", { name: "Close", exact: true }).click();
  await sees(agent, ".talk-view .badge", "Closed");

  // And is found again, and written down.
  await agent.fill("#inbox-search", "return bike");
  await sees(agent, ".result", "bike");
  await agent.fill("#inbox-search", "");
  await agent.getByRole("button", { name: "More about this conversation" }).click();
  const [download] = await Promise.all([agent.waitForEvent("download"), agent.getByRole("button", { name: "Transcript as JSON" }).click()]);
  const transcript = await readFile(await download.path(), "utf8");
  for (const said of ["How long can I return a bike?", "30 days", "Hello, this is Ann.", "return <form>.txt", "scratch.png"]) assert.match(transcript, new RegExp(said.replace(/[?.<>]/g, "\\$&")));
});

scenario("an agent speaks first: the visitor's closed widget shows it, and the answer comes back", async (stage) => {
  const { baseUrl } = stage.host;
  const visitor = await stage.window({ width: 1100, height: 800 });
  await visitor.goto(await site(baseUrl));
  const agent = await stage.window({ path: `/console#/${SITE}/visitors` });
  await agent.locator("a.visitor").click();
  await agent.fill("#start-text", "Shall I help you choose?");
  await agent.getByRole("button", { name: "Start chat" }).click();
  await sees(agent, ".message.mine .bubble", "Shall I help you choose?");
  await sees(visitor, "weeziq-chat .launcher", "1");
  await visitor.locator("weeziq-chat .launcher").click();
  await sees(visitor, "weeziq-chat .message", "Shall I help you choose?");
  await visitor.locator("weeziq-chat .composer textarea").fill("Yes, please!");
  await visitor.keyboard.press("Enter");
  await sees(agent, ".message.theirs .bubble", "Yes, please!");
  await sees(agent, "a.room", "Yes, please!");
});
