/** One site: who is on it, its conversations, its settings. */
import { Crowd } from "./crowd.js";
import { Desk } from "./desk.js";

/** @import { Session } from "./session.js" */
/** @import { Canned } from "./composer.js" */

export class Site {
  /** @type {Canned[]} */
  cannedReplies = [];

  /** @param {Session} session @param {string} domainId */
  constructor(session, domainId) {
    this.session = session;
    this.domainId = domainId;
    this.crowd = new Crowd(session.weeziq, domainId);
    this.desk = new Desk(session, domainId);
    this.loadCanned();
  }

  async loadCanned() {
    const settings = await this.session.api(`/domains/${encodeURIComponent(this.domainId)}`).catch(() => undefined);
    this.cannedReplies = settings?.cannedReplies ?? [];
  }

  /**
   * An agent speaks first, in the room of the visitor's widget, which bears the visitor's name.
   * @param {string} visitorId @param {string} message @returns {Promise<string>} the room
   */
  async startChat(visitorId, message) {
    const roomId = this.desk.roomOf(visitorId)?.roomId ?? visitorId;
    const { userId, userName, role } = this.session.agent;
    const room = this.session.weeziq.join(roomId, { userId, userName, role, domainId: this.domainId });
    await room.ready;
    room.liveAgent(true);
    await room.send(message);
    // Whoever opens it joins anew, and is told of it from its beginning.
    room.leave();
    return roomId;
  }

  stop() {
    this.crowd.stop();
    this.desk.stop();
  }

  /** @param {"inbox" | "visitors" | "overview" | "settings" | "install"} view @param {string} [id] */
  href(view, id) {
    return hrefOf(this.domainId, view, id);
  }
}

/** @param {string} domainId @param {string} view @param {string} [id] */
export function hrefOf(domainId, view, id) {
  return `#/${[domainId, view, ...(id === undefined ? [] : [id])].map(encodeURIComponent).join("/")}`;
}
