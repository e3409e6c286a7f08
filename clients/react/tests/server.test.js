/** What a server renders, and the page that takes it over. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement, version } from "react";
import { renderToString } from "react-dom/server";
import { WeeziqProvider, useAiChat, useConnection, useDomainStats, useRoom, useVisit, useVisitors, useWeeziq } from "../src/index.js";

function Everything() {
  const room = useRoom("room", { userId: "ann", userName: "Ann" });
  const chat = useAiChat({ roomId: "room" });
  const shown = {
    version: version.split(".")[0],
    link: useConnection().state,
    client: useWeeziq(),
    room: [room.status, room.messages.length, room.users.length],
    ai: [chat.status, chat.messages.length],
    visitors: useVisitors("shop").status,
    domains: useDomainStats().status,
    visitor: useVisit("shop").visitorId ?? "nobody yet",
  };
  return JSON.stringify(shown);
}
const page = createElement(WeeziqProvider, { url: "ws://127.0.0.1:1/ws" }, createElement(Everything));

test("a server renders every hook's first state, connects to nothing and has no timer left", () => {
  const major = process.execArgv.some((arg) => arg.includes("react-18")) ? "18" : "19";
  const asked = [];
  const spied = new Proxy(globalThis.WebSocket ?? class {}, { construct: (_, args) => asked.push(args) && {} });
  globalThis.WebSocket = /** @type {any} */ (spied);
  assert.ok(!("window" in globalThis) && !("document" in globalThis));
  const html = renderToString(page).replaceAll("&quot;", '"');
  assert.deepEqual(JSON.parse(html), {
    version: major,
    link: "connecting",
    client: null,
    room: ["joining", 0, 0],
    ai: ["ready", 0],
    visitors: "loading",
    domains: "loading",
    visitor: "nobody yet",
  });
  assert.deepEqual(asked, []);
  assert.deepEqual(process.getActiveResourcesInfo().filter((kind) => kind === "Timeout"), []);
});

test("the page takes it over without a word of complaint", async (t) => {
  const html = renderToString(page);
  await import("./support/dom.js");
  const { hydrateRoot } = await import("react-dom/client");
  const complaints = [];
  t.mock.method(console, "error", (...words) => complaints.push(words));
  const place = document.createElement("div");
  place.innerHTML = html;
  const alive = new Promise((resolve) => {
    new window.MutationObserver(() => /"visitor":"\d/.test(place.textContent) && resolve(undefined)).observe(place, { subtree: true, characterData: true });
  });
  const root = hydrateRoot(place, page, { onRecoverableError: (error) => complaints.push(error) });
  await alive;
  root.unmount();
  assert.deepEqual(complaints, []);
});
