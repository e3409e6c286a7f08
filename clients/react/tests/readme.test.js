/** Each example of the README, compiled as it stands save the address, and shown under StrictMode by a real host. */
import "./support/dom.js";
import assert from "node:assert/strict";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { hosted } from "../../js/tests/support/host.js";
import { scenario } from "../../js/tests/support/play.js";

const GUARD_MS = 30_000;
const ADDRESS = /wss:\/\/chat\.example\.com\/ws/g;
/** Inside the package, so that it finds itself by its name. */
const folder = fileURLToPath(new URL(".examples/", import.meta.url));
const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
const examples = [...readme.matchAll(/^## (.+)\n(?:(?!^## )[\s\S])*?```jsx\n([\s\S]*?)```/gm)].map(([, heading, code]) => ({ heading, code }));
const host = hosted();

before(() => mkdir(folder, { recursive: true }));
after(() => rm(folder, { recursive: true, force: true }));

/** What a visitor does, and then sees. @type {Record<string, [(page: Element) => void, RegExp]>} */
const PLAYS = {
  "A chat": [(page) => submit(page, "Hello"), /Ann: Hello(?!.*…)/],
  AI: [(page) => page.querySelector("button").click(), /a crash or a restart loses nothing/],
  Visitors: [() => {}, /You are \d.*1 here, 1 ever, 1 sites.*shop\.example/],
  "The connection": [() => {}, /^open$/],
};

function submit(page, text) {
  page.querySelector("input").value = text;
  page.querySelector("form").dispatchEvent(new window.Event("submit", { bubbles: true, cancelable: true }));
}

/** @param {Element} page @param {() => boolean} isThere */
const shows = (page, isThere) =>
  new Promise((resolve, reject) => {
    const observer = new window.MutationObserver(() => isThere() && finish(resolve));
    const guard = setTimeout(() => finish(reject, new Error(`${isThere} does not come; there is: ${page.textContent}`)), GUARD_MS);
    const finish = (settle, value) => {
      clearTimeout(guard);
      observer.disconnect();
      settle(value);
    };
    observer.observe(page, { childList: true, subtree: true, characterData: true });
    if (isThere()) finish(resolve);
  });

for (const [n, { heading, code }] of examples.entries()) {
  scenario(`the example of “${heading}” runs`, async (s) => {
    const [act, text] = PLAYS[heading];
    const [source, compiled] = [`${folder}${n}.jsx`, `${folder}${n}.mjs`];
    await writeFile(source, code.replace(ADDRESS, host.wsUrl));
    await build({ entryPoints: [source], outfile: compiled, bundle: true, packages: "external", format: "esm", jsx: "automatic", logLevel: "error" });
    const { default: App } = await import(compiled);
    const page = document.body.appendChild(document.createElement("main"));
    const root = createRoot(page);
    s.after(() => root.unmount());
    root.render(createElement(StrictMode, null, createElement(App)));
    await shows(page, () => page.childElementCount > 0);
    act(page);
    await shows(page, () => text.test(page.textContent));
  });
}

scenario("there is a play for each example", async () => {
  assert.deepEqual(examples.map(({ heading }) => heading), Object.keys(PLAYS));
  assert.equal([...readme.matchAll(/^```jsx$/gm)].length, examples.length);
});
