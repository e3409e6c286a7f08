/** Hooks in a real tree, under StrictMode, and everything that they ever returned. */
import "./dom.js";
import { createElement, StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { WeeziqProvider } from "../../src/index.js";
import { QUICK } from "../../../js/tests/support/play.js";
import { seen } from "../../../js/tests/support/seen.js";

/**
 * @template Value
 * @param {import("../../../js/tests/support/play.js").Scene} s
 * @param {string} url
 * @param {() => Value} use
 * @param {Partial<import("../../src/index.js").ProviderProps>} [props]
 */
export function mount(s, url, use, props) {
  const stage = openStage(s, url, props);
  stage.show({ only: use });
  const values = stage.values("only");
  return {
    values,
    errors: stage.errors,
    /** what it returns now @returns {Value} */
    get now() {
      return values.all.at(-1);
    },
    /** @param {() => Value} next */
    use: (next) => stage.show({ only: next }),
    /** the provider stays */
    empty: () => stage.show({}),
    unmount: stage.unmount,
  };
}

/** One provider and any number of components, each named, that come and go. */
export function openStage(s, url, props = {}) {
  const errors = seen();
  const lists = new Map();
  const values = (name) => lists.get(name) ?? lists.set(name, seen()).get(name);
  const root = createRoot(document.createElement("div"));
  s.after(() => root.unmount());
  const provided = { url, options: { ...QUICK, ...props.options }, onError: (error) => errors.add(error) };

  function Actor({ use, list }) {
    const value = use();
    useEffect(() => list.add(value), [list, value]);
    return null;
  }
  return {
    errors,
    values,
    show(actors, at = url) {
      const shown = Object.entries(actors).map(([name, use]) => createElement(Actor, { key: name, use, list: values(name) }));
      root.render(createElement(StrictMode, null, createElement(WeeziqProvider, { ...provided, ...props, options: provided.options, url: at }, shown)));
    },
    unmount: () => root.unmount(),
  };
}
