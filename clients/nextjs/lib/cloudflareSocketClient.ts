/**
 * WeeziQ over WebSocket, with the calls of the file that this takes the place of. What is called before the socket is open,
 * or while there is none, is done when there is one; callbacks stay over reconnects; rooms resume where they were, each message
 * once and in order.
 *
 * The address is `NEXT_PUBLIC_WS_URL`, with or without `/ws`; else that of `NEXT_PUBLIC_SOCKET_URL` or `NEXT_PUBLIC_AI_API_URL`; else
 * where the page comes from.
 */
import { connect, type Outgoing, type Position, type Room, type Visit, type Weeziq } from "@weeziq/client";

// What arrives is JSON whose shape the event names; the applications annotate their callbacks themselves.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Callback = (data: any) => void;
export type Role = "assistant" | "user";
export type VisitorData = { socketId?: string | undefined; userAgent: string; timestamp: Date | string };
type Frame = { type: string } & Record<string, unknown>;
/** A message keeps who said it: one connection may speak for several. */
type Said = Partial<Outgoing> & { userId: string; userName: string; role: Role };
type Member = { userId: string; userName: string };
type Membership = Member & { room: Room; stops: (() => void)[] };
type Watched = { domainId: string; tracking: { visitorId: string; data: VisitorData }; visit: Visit };
type Remembered = Member & { position: Position | undefined; unsent: Outgoing[] };

const DAY_MS = 24 * 60 * 60 * 1_000;
const RETRY_MS = 1_000;
/** In a room these come once and in order, as the client tells them. */
const LOGGED = { message: "new-message", updated: "message-updated", deleted: "message-deleted", agent: "live-agent-toggled" } as const;

/** What the client writes to, which looks like a WebSocket, and what `getSocket` gives. */
export type Opened<Socket> = { wire: object; socket: Socket };

export class SocketClient<Socket> {
  #open: (url: string) => Opened<Socket>;
  #address: () => string;
  #client: Weeziq | undefined;
  #socket: Socket | null = null;
  #isClosed = false;
  #attempts = 0;
  #listeners = new Map<string, Set<Callback>>();
  #rooms = new Map<string, Membership>();
  /** where rooms are that `disconnect` has left, for `reconnect` */
  #remembered = new Map<string, Remembered>();
  #visits = new Map<string, Watched>();
  /** for the next time that the socket is open */
  #unsent: Frame[] = [];
  /** messages for rooms that nobody joined here, until the server has them */
  #unstored = new Set<Frame>();
  /** asked again at each connection: who has asked hears what changes */
  #asked = new Map<string, Frame>();

  /** `open` makes one connection to what `address` says, which is not asked before there is a page. */
  constructor(open: (url: string) => Opened<Socket>, address: () => string) {
    this.#open = open;
    this.#address = address;
  }

  joinRoom(roomId: string, userId: string, userName: string) {
    if (!this.#live() || this.#rooms.get(roomId)?.userId === userId) return;
    this.#leave(roomId);
    this.#enter(roomId, { userId, userName });
  }

  leaveRoom(roomId: string) {
    this.#remembered.delete(roomId);
    const membership = this.#rooms.get(roomId);
    if (!membership) return;
    const { room } = membership;
    // What was said before goes out before.
    const leaveOnceSent = () => room.pending.length === 0 && this.#rooms.get(roomId) === membership && this.#leave(roomId);
    for (const event of ["sent", "failed"] as const) membership.stops.push(room.on(event, () => queueMicrotask(leaveOnceSent)));
    leaveOnceSent();
  }

  sendMessage(roomId: string, message: string, userId: string, userName: string, role: Role) {
    const client = this.#live();
    if (!client) return;
    const said: Said = { message, userId, userName, role };
    const membership = this.#rooms.get(roomId);
    if (membership) membership.room.send(said);
    else this.#post(client, { type: "send-message", roomId, clientMessageId: uniqueId(), ...said });
  }

  startTyping(roomId: string, userId: string, userName: string) {
    this.#type(roomId, true, { type: "typing-start", roomId, userId, userName });
  }

  stopTyping(roomId: string, userId: string) {
    this.#type(roomId, false, { type: "typing-stop", roomId, userId });
  }

  setUserOnline(roomId: string, userId: string, userName: string) {
    const membership = this.#rooms.get(roomId);
    // Told again after each return.
    if (membership) membership.room.setStatus("online");
    else this.#tell({ type: "user-online", roomId, userId, userName });
  }

  joinDomainAsVisitor(domainId: string, visitorId: string, visitorData: VisitorData) {
    const client = this.#live();
    const key = `${domainId} ${visitorId}`;
    if (!client || this.#visits.has(key)) return;
    const tracking = { visitorId, data: visitorData };
    this.#visits.set(key, { domainId, tracking, visit: client.visitors.track(domainId, tracking) });
  }

  leaveDomainAsVisitor(domainId: string, visitorId: string) {
    const key = `${domainId} ${visitorId}`;
    this.#visits.get(key)?.visit.stop();
    if (!this.#visits.delete(key)) this.#tell({ type: "visitor-left-domain", domainId, visitorId });
  }

  /** May be called at each movement of the mouse: the last of a second is told. */
  sendVisitorActivity(domainId: string, visitorId: string) {
    const watched = this.#visits.get(`${domainId} ${visitorId}`);
    if (watched) watched.visit.activity();
    else if (this.#live()?.state === "open") this.#tell({ type: "visitor-activity", domainId, visitorId });
  }

  requestDomainStats(domainId: string) {
    this.#ask({ type: "get-domain-stats", domainId });
  }

  requestAllDomainStats() {
    this.#ask({ type: "get-all-domain-stats" });
  }

  notifyAdminCustomerJoined(roomId: string, customerId: string, customerName: string) {
    this.#tell({ type: "customer-joined-room", roomId, customerId, customerName });
  }

  on(event: string, callback: Callback) {
    if (isOnServer()) return;
    this.#live();
    const callbacks = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, callbacks.add(callback));
  }

  /** Without a callback, all of them. */
  off(event: string, callback?: Callback) {
    if (callback) this.#listeners.get(event)?.delete(callback);
    else this.#listeners.delete(event);
  }

  onNewMessage = (callback: Callback) => this.on("new-message", callback);
  offNewMessage = (callback?: Callback) => this.off("new-message", callback);
  onUserJoined = (callback: Callback) => this.on("user-joined", callback);
  offUserJoined = (callback?: Callback) => this.off("user-joined", callback);
  onUserLeft = (callback: Callback) => this.on("user-left", callback);
  offUserLeft = (callback?: Callback) => this.off("user-left", callback);
  onUserTyping = (callback: Callback) => this.on("user-typing", callback);
  offUserTyping = (callback?: Callback) => this.off("user-typing", callback);
  onUserPresence = (callback: Callback) => this.on("user-presence", callback);
  offUserPresence = (callback?: Callback) => this.off("user-presence", callback);
  onRoomUsers = (callback: Callback) => this.on("room-users", callback);
  offRoomUsers = (callback?: Callback) => this.off("room-users", callback);
  onCustomerJoinedRoom = (callback: Callback) => this.on("customer-joined-room", callback);
  offCustomerJoinedRoom = (callback?: Callback) => this.off("customer-joined-room", callback);
  onAllDomainStats = (callback: Callback) => this.on("all-domain-stats", callback);
  offAllDomainStats = (callback?: Callback) => this.off("all-domain-stats", callback);
  onVisitorJoinedDomain = (callback: Callback) => this.on("visitor-joined-domain", callback);
  offVisitorJoinedDomain = (callback?: Callback) => this.off("visitor-joined-domain", callback);
  onVisitorLeftDomain = (callback: Callback) => this.on("visitor-left-domain", callback);
  offVisitorLeftDomain = (callback?: Callback) => this.off("visitor-left-domain", callback);

  /** The one that there is now: a new one after each lost connection. Null before the first and on a server. */
  getSocket(): Socket | null {
    this.#live();
    return this.#socket;
  }

  getConnectionStatus() {
    return { isConnected: this.#live()?.state === "open", reconnectAttempts: this.#attempts };
  }

  /** Until `reconnect`. Callbacks stay, and so does what was not sent yet. */
  disconnect() {
    this.#isClosed = true;
    for (const [roomId, { room, stops, userId, userName }] of this.#rooms) {
      for (const stop of stops) stop();
      this.#remembered.set(roomId, { userId, userName, position: room.position, unsent: room.pending });
    }
    this.#rooms.clear();
    for (const { visit } of this.#visits.values()) visit.stop();
    this.#client?.close();
    this.#client = undefined;
    this.#socket = null;
  }

  reconnect() {
    this.disconnect();
    this.#isClosed = false;
    this.#live();
  }

  /** The connection, made by the first call. None on a server, or after `disconnect`. */
  #live(): Weeziq | undefined {
    if (this.#client || this.#isClosed || isOnServer()) return this.#client;
    const open = (url: string) => {
      const { wire, socket } = this.#open(url);
      this.#socket = socket;
      return wire;
    };
    // A constructor that returns an object makes that one.
    const WebSocket = class {
      constructor(url: string) {
        return open(url);
      }
    };
    const client = connect(this.#address(), { WebSocket });
    this.#client = client;
    client.on("frame", (frame) => {
      const isTold = Object.values<string>(LOGGED).includes(frame.type) && this.#rooms.has(frame.roomId);
      if (!isTold) this.#emit(frame.type, frame);
    });
    client.on("error", (error) => this.#fail(error));
    client.on("status", ({ state, attempt }) => {
      if (state === "waiting") this.#attempts = attempt ?? 0;
      if (state !== "open") return;
      this.#attempts = 0;
      for (const frame of this.#asked.values()) client.send(frame);
      for (const frame of this.#unsent.splice(0)) client.send(frame);
    });
    for (const [roomId, { unsent, ...who }] of this.#remembered) {
      const room = this.#enter(roomId, who);
      for (const message of unsent) room?.send(message);
    }
    this.#remembered.clear();
    for (const watched of this.#visits.values()) watched.visit = client.visitors.track(watched.domainId, watched.tracking);
    for (const frame of this.#unstored) this.#post(client, frame);
    return client;
  }

  #enter(roomId: string, { userId, userName, position }: Member & { position?: Position | undefined }) {
    // Without a role, as those applications join: an admin's page goes on hearing of visitors.
    const who = { userId, userName, role: undefined as unknown as string, ...(position && { position }) };
    const room = this.#client?.join(roomId, who);
    if (!room) return;
    const stops = (Object.keys(LOGGED) as (keyof typeof LOGGED)[]).map((event) =>
      room.on(event, (data) => this.#emit(LOGGED[event], { ...data, type: LOGGED[event] })),
    );
    stops.push(room.on("error", (error) => this.#fail(error)), room.on("failed", ({ error }) => this.#fail(error)));
    this.#rooms.set(roomId, { userId, userName, room, stops });
    return room;
  }

  #leave(roomId: string) {
    const membership = this.#rooms.get(roomId);
    this.#rooms.delete(roomId);
    for (const stop of membership?.stops ?? []) stop();
    membership?.room.leave();
  }

  #type(roomId: string, isTyping: boolean, frame: Frame) {
    const { room } = this.#rooms.get(roomId) ?? {};
    if (room) room.ready.then(() => room.typing(isTyping), () => {});
    else this.#tell(frame);
  }

  /** Asked again under the same id until the server has it. */
  #post(client: Weeziq, frame: Frame) {
    this.#unstored.add(frame);
    const settle: Parameters<Weeziq["ask"]>[1] = (error) => {
      if (error?.code === "closed") return;
      if (/^(rate_limited|unavailable)$/.test(error?.code ?? "")) return void setTimeout(() => this.#post(client, frame), error?.retryAfterMs ?? RETRY_MS);
      this.#unstored.delete(frame);
      if (error) this.#fail(error);
    };
    client.ask(frame, settle, { again: () => frame, ms: DAY_MS });
  }

  #ask(frame: Frame) {
    const client = this.#live();
    if (!client) return;
    this.#asked.set(JSON.stringify(frame), frame);
    client.send(frame);
  }

  #tell(frame: Frame) {
    const client = this.#live();
    if (client && !client.send(frame)) this.#unsent.push(frame);
  }

  #fail(error: unknown) {
    // As with every event: who wants to know listens.
    if (!this.#emit("error", error)) console.error(error);
  }

  #emit(event: string, data: unknown) {
    const callbacks = [...(this.#listeners.get(event) ?? [])];
    for (const callback of callbacks) {
      try {
        callback(data);
      } catch (error) {
        // One that throws harms no other.
        console.error(error);
      }
    }
    return callbacks.length > 0;
  }
}

/** The server's WebSocket, however its address is written: with `/ws` or without, for HTTP or for WebSocket, or a bare host. */
export function webSocketUrl(address: string): string {
  const { protocol, host } = new URL(address.includes("://") ? address : `http://${address}`);
  return `${protocol.replace("http", "ws")}//${host}/ws`;
}

/** Where Next.js renders, one process serves everybody: nothing is connected there and nothing is kept. */
const isOnServer = () => typeof window === "undefined";

/** Not `crypto.randomUUID`, which a page has over HTTPS alone. */
const uniqueId = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

function openWebSocket(url: string): Opened<WebSocket> {
  const socket = new WebSocket(url);
  return { wire: socket, socket };
}

const cloudflareSocketClient = new SocketClient(openWebSocket, () =>
  // Each by its whole name: that is how Next.js finds them.
  webSocketUrl(process.env.NEXT_PUBLIC_WS_URL || process.env.NEXT_PUBLIC_SOCKET_URL || process.env.NEXT_PUBLIC_AI_API_URL || location.origin),
);

export default cloudflareSocketClient;
