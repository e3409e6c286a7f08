/** State that components look at, and the work behind it, which goes on only while one does. */

/**
 * @template State
 * @typedef {(next: Partial<State>) => void} Change
 */

/**
 * @typedef {object} Work
 * @property {() => void} stop
 * @property {() => Promise<void>} [idle] resolves once it may be stopped
 */

/**
 * @template State
 * @typedef {object} Store
 * @property {State} initial what a server renders
 * @property {() => State} current the same object until something changes
 * @property {Change<State>} change
 * @property {(listener: () => void) => () => void} subscribe
 * @property {() => void} wake starts the work also where nobody looks, until it is idle
 * @property {() => void} rest stops now what nobody looks at
 */

/**
 * @template {object} State
 * @param {State} initial
 * @param {(change: Change<State>) => Work} start begins with the first who looks
 * @returns {Store<State>}
 */
export function store(initial, start) {
  let state = initial;
  /** @type {Set<() => void>} */
  const listeners = new Set();
  /** @type {Work | undefined} */
  let work;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @type {Change<State>} */
  const change = (next) => {
    state = { ...state, ...next };
    for (const listener of [...listeners]) listener();
  };

  const rest = () => {
    if (listeners.size > 0) return;
    work?.stop();
    work = undefined;
  };

  const restOnceIdle = async () => {
    await work?.idle?.();
    rest();
  };

  /** Not at once: StrictMode, and a page that gives way to another with the same room, look again in the same turn. */
  const restSoon = () => {
    clearTimeout(timer);
    if (listeners.size === 0) timer = setTimeout(restOnceIdle);
  };

  return {
    initial,
    current: () => state,
    change,
    rest,
    wake() {
      work ??= start(change);
      restSoon();
    },
    subscribe(listener) {
      // Two components may bring the same function.
      const own = () => listener();
      listeners.add(own);
      clearTimeout(timer);
      work ??= start(change);
      return () => {
        listeners.delete(own);
        restSoon();
      };
    },
  };
}
