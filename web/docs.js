/** The documents of this release, rendered as answers are: `/docs#protocol` shows docs/protocol.md. */
import { element, part } from "./dom.js";
import { markdown } from "./markdown.js";

/** What somebody with a running server asks for. @type {Record<string, string>} */
const DOCUMENTS = { widget: "Widget", console: "Console", protocol: "The wire", ai: "AI", cloudflare: "Cloudflare" };

const list = part("documents", HTMLElement);
const text = part("text", HTMLElement);
for (const [name, title] of Object.entries(DOCUMENTS)) {
  const link = element("a", "", title);
  link.setAttribute("href", `#${name}`);
  list.append(element("li", "", link));
}

async function show() {
  const name = DOCUMENTS[location.hash.slice(1)] ? location.hash.slice(1) : "widget";
  for (const link of list.querySelectorAll("a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${DOCUMENTS[name]} – WeeziQ docs`;
  try {
    const reply = await fetch(`/docs/${name}.md`);
    if (!reply.ok) throw new Error(`${reply.status}`);
    text.replaceChildren(markdown(withAddresses(await reply.text())));
    // A line of a file ends where its editor broke it, which says nothing here.
    for (const end of text.querySelectorAll("br")) end.replaceWith(" ");
    for (const heading of text.querySelectorAll(".heading")) {
      heading.replaceWith(element(`h${/** @type {HTMLElement} */ (heading).dataset.level}`, "", ...heading.childNodes));
    }
    for (const link of text.querySelectorAll("a")) if (link.origin === location.origin) link.removeAttribute("target");
  } catch {
    text.replaceChildren(element("p", "note", "This document cannot be had right now."));
  }
}

/** Links between documents lead to this page; into the repository there are none from here. @param {string} source */
function withAddresses(source) {
  const between = source.replace(/\]\((?:docs\/)?(\w+)\.md(?:#[\w-]*)?\)/g, (whole, name) => (DOCUMENTS[name] ? `](${location.origin}/docs#${name})` : whole));
  return between.replace(/!?\[([^\][]+)\]\((?!https?:)[^)]*\)/g, "$1");
}

addEventListener("hashchange", show);
show();
