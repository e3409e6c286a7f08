/** Somebody's web site with the widget on it: another origin than the service, with a policy as strict as one can be. */
import { createServer } from "node:http";
import { after } from "node:test";

/**
 * @typedef {object} Site
 * @property {Record<string, string>} [data] the script's `data-*`, without `data-`
 * @property {string} [head]
 * @property {string} [body] beside the widget's script
 * @property {string} [lang]
 * @property {boolean} [isLax] without a policy
 */

/** @type {import("node:http").Server[]} */
const servers = [];
after(() => servers.forEach((server) => server.close()));

/** @param {string} baseUrl of the service @param {Site} [site] @returns {Promise<string>} where it is */
export async function site(baseUrl, { data = { domain: "shop.example" }, head = "", body = "", lang = "en", isLax = false } = {}) {
  const attributes = Object.entries(data).map(([name, value]) => ` data-${name}="${value}"`).join("");
  const page = `<!doctype html><html lang="${lang}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <title>Shop</title><link rel="icon" href="data:,">${head}</head>
    <body><main><h1>Shoes</h1><p>Red ones.</p></main>${body}<script src="${baseUrl}/widget.js"${attributes} defer></script></body></html>`;
  const policy = `default-src 'none'; script-src ${baseUrl}; style-src ${baseUrl}; connect-src ${baseUrl} ${baseUrl.replace("http", "ws")}; img-src ${baseUrl} data:`;
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    if (!isLax) response.setHeader("content-security-policy", policy);
    response.end(page);
  });
  servers.push(server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  // Another name is another site, also to cookies and storage.
  return `http://localhost:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}/`;
}
