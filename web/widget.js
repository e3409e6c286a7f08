/**
 * The one line of a site:
 *
 *     <script src="https://HOST/widget.js" data-domain="shop.example" defer></script>
 *
 * This file only fetches the rest, when the page has nothing better to do. Its one global is `WeeziQ`, which can be called at
 * once: what is asked of a widget before it is there waits for it.
 */
(() => {
  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  if (!script?.src) return;
  /** @type {any} */
  const page = globalThis;
  /** @type {Promise<any>[]} */
  const widgets = (page.WeeziQ?.widgets ?? []);

  /** @param {string | undefined} domain @param {(widget: any) => void} then */
  const tell = async (domain, then) => {
    for (const widget of await Promise.all(widgets)) {
      if (widget && (domain === undefined || widget.domain === domain)) return then(widget);
    }
  };

  page.WeeziQ ??= Object.freeze({
    /** one for each script, in their order; settles with nothing where it could not be fetched */
    widgets,
    open: (/** @type {string} */ domain) => tell(domain, (widget) => widget.open()),
    close: (/** @type {string} */ domain) => tell(domain, (widget) => widget.close()),
    say: (/** @type {string} */ text, /** @type {string} */ domain) => tell(domain, (widget) => widget.say(text)),
    identify: (/** @type {object} */ who, /** @type {string} */ domain) => tell(domain, (widget) => widget.identify(who)),
    remove: (/** @type {string} */ domain) => tell(domain, (widget) => widget.remove()),
  });

  const { src, dataset } = script;
  const settings = { ...dataset };
  const fetched = import(new URL("/widget/launcher.js", src).href);
  widgets.push(fetched.then(({ launch }) => launch(src, settings)).catch((error) => void console.warn("WeeziQ:", error)));
})();
