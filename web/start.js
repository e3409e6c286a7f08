/** The start page: how the service is, who is on this page's own site, and a conversation, which is the widget. */
import { connect } from "/client/index.js";
import { part, write } from "./dom.js";

const DOMAIN = location.host;
const HEALTH_WITHIN_MS = 5_000;

let healthAsked = 0;

/** Is it well, and which version? Asked as a machine would. */
async function askHealth() {
  const health = part("health", HTMLElement);
  const asked = (healthAsked += 1);
  // An answer that comes behind a later question is old.
  const show = (/** @type {string} */ state, /** @type {string} */ what) => {
    if (asked !== healthAsked) return;
    health.dataset.state = state;
    health.textContent = what;
  };
  try {
    // no-store: a reply cached under this address could come back in the place of the page itself.
    const options = { cache: /** @type {const} */ ("no-store"), signal: AbortSignal.timeout(HEALTH_WITHIN_MS) };
    const reply = await fetch("/", { headers: { accept: "application/json" }, ...options });
    const { status, version } = await reply.json();
    if (!reply.ok || status !== "ok") throw new Error(`status ${status}`);
    show("good", `Running and well, version ${version}`);
  } catch {
    show("bad", "The service does not answer");
  }
}

/** Who is on the site, as a dashboard sees it: by a connection that never says who it is. */
function watchVisitors() {
  const dashboard = connect("/ws");
  const say = (/** @type {string} */ what) => write("last-event", what);
  const count = async () => {
    const { activeVisitors, totalVisitors } = await dashboard.visitors.stats(DOMAIN);
    write("visitors-now", String(activeVisitors));
    write("visitors-total", String(totalVisitors));
  };
  const isHere = ({ domainId = "" }) => domainId === DOMAIN;
  const counted = () => count().catch(() => say("Who is here is told to operators, in the console."));
  dashboard.on("status", ({ state }) => {
    askHealth();
    if (state === "open") counted();
  });
  dashboard.on("visitor-joined-domain", (event) => isHere(event) && (say("A visitor came."), counted()));
  dashboard.on("visitor-left-domain", (event) => isHere(event) && (say("A visitor left."), counted()));
  dashboard.on("visitor-activity", (event) => isHere(event) && say(`A visitor looks at “${event.title ?? event.url}”.`));
  // Where tokens are asked for, this page has none; the widget beside it needs none.
  dashboard.on("error", () => {});
}

/** @param {HTMLElement} button */
async function copy(button) {
  const source = part(button.dataset.copy ?? "", HTMLElement);
  try {
    await navigator.clipboard.writeText(source.textContent ?? "");
    write("said", "Copied");
  } catch {
    // No clipboard over plain HTTP from another machine: leave the text selected, one key from copied.
    getSelection()?.selectAllChildren(source);
    write("said", "Selected");
  }
}

/** The widget's own API, as a site would use it. @param {string} question */
async function ask(question) {
  /** @type {any} */
  const { WeeziQ } = globalThis;
  await WeeziQ?.say(question);
}

write("snippet-origin", location.origin);
part("console-link", HTMLAnchorElement).href = `/console#/${encodeURIComponent(DOMAIN)}/visitors`;
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", () => copy(/** @type {HTMLElement} */ (button)));
}
for (const button of document.querySelectorAll("button[data-ask]")) {
  button.addEventListener("click", () => ask(button.textContent ?? ""));
}
// The model's name comes with each answer; the demo's is no model.
document.addEventListener("weeziq:answer", (event) => {
  const { provider, model } = /** @type {CustomEvent} */ (event).detail;
  if (provider && provider !== "demo") write("model-state", `Connected: ${model} answers here.`);
});
watchVisitors();
