/** The line that puts the chat onto a site, and how to get a token for a colleague. */
import { copyText } from "./browser.js";
import { h, icon, say } from "./ui.js";

/** @import { Site } from "./site.js" */

export class Install {
  element;

  /** @param {Site} site */
  constructor({ domainId, session }) {
    const attribute = domainId.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
    const steps = [
      h("li", { class: "card stack" }, h("h2", {}, "Put this line into your pages"), h("p", { class: "soft" }, "Before ", h("code", {}, "</body>"), ", on every page that should have the chat."), snippet(`<script src="${location.origin}/widget.js" data-domain="${attribute}" defer></script>`, "the line for your pages")),
      h("li", { class: "card stack" }, h("h2", {}, "Say which pages may use it"), h("p", { class: "soft" }, "In production only listed origins may connect: in ", h("a", { href: `#/${encodeURIComponent(domainId)}/settings` }, "the settings"), " of this site, or for all sites in the server’s ", h("code", {}, "ALLOWED_ORIGINS"), ".")),
      h("li", { class: "card stack" }, h("h2", {}, session.agent.isOpen ? "Close the console to strangers" : "Let a colleague in"), h("p", { class: "soft" }, session.agent.isOpen ? "As long as the server has no AUTH_SECRET, anyone who finds this page may use it. Set one, and sign in with a token:" : "With a token of their own:"), snippet(`weeziq token --role agent --sub ann --domain ${domainId}`, "the command")),
    ];
    this.element = h("div", { class: "view install" }, h("div", { class: "page narrow" }, h("div", { class: "pane-head wide-head" }, h("h1", {}, "Install")), h("ol", { class: "plain stack" }, steps)));
  }

  show() {}
  hide() {}
  stop() {}
}

/** @param {string} text @param {string} what */
function snippet(text, what) {
  const code = h("code", {}, text);
  const copy = async () => say((await copyText(text, code)) ? "Copied." : "Selected: copy it with your keyboard.");
  return h("div", { class: "snippet" }, h("pre", { tabindex: "0", "aria-label": what }, code), h("button", { type: "button", class: "button", onclick: copy, "aria-label": `Copy ${what}` }, icon("link"), "Copy"));
}
