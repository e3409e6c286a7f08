/** A page's globals, for React and for what the client reads of a page. Imported before either. */
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html><title>Shop</title>", { url: "https://shop.example/start", pretendToBeVisual: true });
const OF_A_PAGE = ["document", "location", "screen", "navigator", "localStorage", "AbortController", "AbortSignal", "FormData"];
const page = Object.fromEntries(OF_A_PAGE.map((name) => [name, window[name]]));
Object.assign(page, { window, addEventListener: window.addEventListener.bind(window) });
for (const [name, value] of Object.entries(page)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
