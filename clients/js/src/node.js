/** For Node: the same, and where Node has no `WebSocket` of its own (before 22) with a small one. */
import { connect as anywhere, openConnection as open } from "./index.js";
import { NodeWebSocket } from "./node-websocket.js";

export { WeeziqError, ai, files, indexedDbStorage, joinRoom, visitors } from "./index.js";

const WebSocket = globalThis.WebSocket ?? NodeWebSocket;

/** @type {typeof anywhere} */
export const connect = (url, options) => anywhere(url, { WebSocket, ...options });

/** @type {typeof open} */
export const openConnection = (url, options) => open(url, { WebSocket, ...options });
