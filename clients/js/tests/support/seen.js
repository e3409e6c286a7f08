/** What happened, kept in order, to be waited for by condition. A time-out is only the guard that turns a hang into a failure. */

const GUARD_MS = 30_000;

/** @typedef {Record<string, any> | ((item: any) => boolean)} Match */

export function seen() {
  const all = [];
  let taken = 0;
  let checks = new Set();
  const list = {
    all,
    add(item) {
      all.push(item);
      for (const check of [...checks]) check();
    },
    /** The first that matches after the one that was last waited for. @param {Match} [match] @returns {Promise<any>} */
    next(match = () => true, guardMs = GUARD_MS) {
      const matches = typeof match === "function" ? match : (item) => Object.entries(match).every(([key, value]) => item?.[key] === value);
      return new Promise((resolve, reject) => {
        const from = taken;
        const check = () => {
          const at = all.findIndex((item, n) => n >= from && matches(item));
          if (at < 0) return;
          taken = Math.max(taken, at + 1);
          finish(resolve, all[at]);
        };
        const finish = (settle, value) => {
          clearTimeout(timer);
          checks.delete(check);
          settle(value);
        };
        const timer = setTimeout(() => {
          const shown = all.slice(-10).map((item) => brief(item)).join("\n  ");
          finish(reject, new Error(`nothing like ${typeof match === "function" ? match : brief(match)}; the last of ${all.length}:\n  ${shown}`));
        }, guardMs);
        checks.add(check);
        check();
      });
    },
  };
  return list;
}

/** @param {{on: (name: any, listener: (value: any) => void) => unknown}} emitter @param {string} name */
export function heard(emitter, name) {
  const list = seen();
  emitter.on(name, (value) => list.add(value));
  return list;
}

function brief(item) {
  const { socket: _, ...rest } = Object(item);
  return (item instanceof Error ? `${item.code}: ${item.message}` : JSON.stringify(typeof item === "object" ? rest : item)).slice(0, 300);
}
