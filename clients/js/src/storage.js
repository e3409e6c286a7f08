/** Where messages wait that are not sent yet, so that a reload loses none. */

/**
 * @typedef {object} Kept
 * @property {string} to the server, the room and the user that it is of
 * @property {import("./outbox.js").Outgoing} message
 *
 * @typedef {object} Storage anything that keeps a list; every one of its promises may fail
 * @property {(kept: Kept) => Promise<any>} add resolves with a key, once it is kept
 * @property {(key: any) => Promise<any>} remove
 * @property {() => Promise<(Kept & {key: any})[]>} all in the order of `add`
 */

const STORE = "outbox";

/**
 * In the browser's IndexedDB. Tabs share it: each takes what it finds on a join, and the server keeps each message once.
 * @param {string} [name] of the database
 * @returns {Storage}
 */
export function indexedDbStorage(name = "weeziq") {
  /** @type {Promise<IDBDatabase> | undefined} */
  let opened;
  const open = () =>
    (opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(name);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key", autoIncrement: true });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    }));

  /** @param {(store: IDBObjectStore) => IDBRequest} work @returns {Promise<any>} */
  const transact = async (work) => {
    const transaction = (await open()).transaction(STORE, "readwrite");
    const request = work(transaction.objectStore(STORE));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      // Where there is no room left it is the transaction that fails, not the request.
      transaction.onabort = () => reject(transaction.error);
    });
  };

  return {
    add: (kept) => transact((store) => store.add(kept)),
    remove: (key) => transact((store) => store.delete(key)),
    all: () => transact((store) => store.getAll()),
  };
}
