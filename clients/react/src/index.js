"use client";
/**
 * WeeziQ in React.
 *
 *     <WeeziqProvider url="wss://chat.example.com/ws">
 *       <Chat />
 *     </WeeziqProvider>
 *
 *     const { messages, send } = useRoom("room-1", { userId: "ann", userName: "Ann" });
 *
 * Nothing happens while a component renders: connections, joins and questions begin when it is there to see them, so a
 * server renders every hook's first state, and StrictMode's second mount finds the work of the first one going on.
 */
export { useAiChat } from "./ai.js";
export { WeeziqProvider, useConnection, useWeeziq } from "./provider.js";
export { useRoom } from "./room.js";
export { useDomainStats, useVisit, useVisitors } from "./visitors.js";

/**
 * @typedef {import("./ai.js").AiChat} AiChat
 * @typedef {import("./ai.js").AiMessage} AiMessage
 * @typedef {import("./provider.js").ProviderProps} ProviderProps
 * @typedef {import("./room.js").RoomActions} RoomActions
 * @typedef {import("./room-state.js").RoomState} RoomState
 * @typedef {import("./room-state.js").Writing} Writing
 * @typedef {import("./visitors.js").DomainStatsState} DomainStatsState
 * @typedef {import("./visitors.js").OpenVisit} OpenVisit
 * @typedef {import("./visitors.js").VisitorsState} VisitorsState
 */
