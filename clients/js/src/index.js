/**
 * The client of WeeziQ.
 *
 *     const weeziq = connect("wss://chat.example.com/ws");
 *     const room = weeziq.join("room-1", { userId: "ann", userName: "Ann" });
 *     room.on("message", (message) => show(message));
 *     await room.send("Hello");
 *
 * `connect` has everything. Who needs less builds it from the same parts and bundles only those: `openConnection`, `joinRoom`,
 * `ai`, `visitors`, `files`.
 */
import { ai } from "./ai.js";
import { openConnection } from "./connection.js";
import { WeeziqError } from "./errors.js";
import { files } from "./files.js";
import { joinRoom } from "./room.js";
import { visitors } from "./visitors.js";

export { indexedDbStorage } from "./storage.js";
export { WeeziqError, ai, files, joinRoom, openConnection, visitors };

/**
 * @typedef {import("./ai.js").Ai} Ai
 * @typedef {import("./ai.js").AnswerStream} AnswerStream
 * @typedef {import("./ai.js").Asking} Asking
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./connection.js").ConnectionEvents} ConnectionEvents
 * @typedef {import("./connection.js").Options} Options
 * @typedef {import("./connection.js").State} State
 * @typedef {import("./connection.js").Status} Status
 * @typedef {import("./errors.js").ErrorCode} ErrorCode
 * @typedef {import("./files.js").Files} Files
 * @typedef {import("./files.js").Uploaded} Uploaded
 * @typedef {import("./files.js").Uploading} Uploading
 * @typedef {import("./outbox.js").Outgoing} Outgoing
 * @typedef {import("./room.js").Position} Position
 * @typedef {import("./room.js").Room} Room
 * @typedef {import("./room.js").RoomEvents} RoomEvents
 * @typedef {import("./room.js").Who} Who
 * @typedef {import("./storage.js").Kept} Kept
 * @typedef {import("./storage.js").Storage} Storage
 * @typedef {import("./visitors.js").Tracking} Tracking
 * @typedef {import("./visitors.js").Visit} Visit
 * @typedef {import("./visitors.js").Visitors} Visitors
 * @typedef {import("./wire.js").Ack} Ack
 * @typedef {import("./wire.js").AllDomainStats} AllDomainStats
 * @typedef {import("./wire.js").ChatAnswer} ChatAnswer
 * @typedef {import("./wire.js").DomainStats} DomainStats
 * @typedef {import("./wire.js").Frame} Frame
 * @typedef {import("./wire.js").History} History
 * @typedef {import("./wire.js").Message} Message
 * @typedef {import("./wire.js").StreamAnswer} StreamAnswer
 * @typedef {import("./wire.js").User} User
 * @typedef {import("./wire.js").Visitor} Visitor
 */

/**
 * @typedef {object} Parts
 * @property {(roomId: string, who: import("./room.js").Who) => import("./room.js").Room} join the room at once; it is entered as soon as
 *   there is a connection, and again after each lost one
 * @property {import("./ai.js").Ai} ai
 * @property {import("./visitors.js").Visitors} visitors
 * @property {import("./files.js").Files} files
 *
 * @typedef {import("./connection.js").Connection & Parts} Weeziq
 */

/**
 * Returns at once; sending needs not wait for the connection.
 * @param {string | URL} url `wss://…/ws`; `https://…` does as well
 * @param {import("./connection.js").Options} [options]
 * @returns {Weeziq}
 */
export function connect(url, options) {
  const connection = openConnection(url, options);
  /** @type {Map<string, import("./room.js").Room>} */
  const rooms = new Map();
  return Object.assign(connection, {
    ai: ai(connection),
    visitors: visitors(connection),
    files: files(connection),
    /** @type {Parts["join"]} */
    join(roomId, who) {
      let room = rooms.get(roomId);
      if (!room || room.error) rooms.set(roomId, (room = joinRoom(connection, roomId, who)));
      // The server knows a connection as one person in a room.
      if (room.userId !== who.userId) throw new WeeziqError("invalid_request", room.userId);
      return room;
    },
  });
}
