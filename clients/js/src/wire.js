/**
 * The shapes of the wire, for the types alone. `docs/protocol.md` of the server says what they mean.
 *
 * @typedef {Record<string, any> & {type: string}} Frame one event, either way
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {string} roomId
 * @property {number} seq its place in the room's log
 * @property {string} message the text
 * @property {string} userId
 * @property {string} userName
 * @property {string} role
 * @property {string} socketId
 * @property {string} [clientMessageId]
 * @property {any[]} [attachments]
 * @property {string} timestamp RFC 3339
 *
 * @typedef {{roomId: string, seq: number, id: string, message: string, timestamp: string}} MessageUpdated `id` is the message's
 * @typedef {{roomId: string, seq: number, id: string, timestamp: string}} MessageDeleted
 * @typedef {{roomId: string, seq: number, enabled: boolean, userId: string, timestamp: string}} LiveAgentToggled
 * @typedef {{success: true, id: string, roomId: string, seq: number, clientMessageId?: string, duplicate?: true, timestamp: string}} Ack
 * @typedef {{roomId: string, messages: Message[], hasMore: boolean}} History oldest first, edits applied, deleted ones left out
 * @typedef {{userId: string, userName: string, role: string, status: string}} User
 * @typedef {{roomId: string, users: User[], count: number}} Users above 200 people `users` is empty
 * @typedef {{roomId: string, userId: string, userName: string, role: string, socketId: string, timestamp: string}} UserJoined
 * @typedef {{roomId: string, userId: string, userName: string, socketId: string, timestamp: string}} UserLeft
 * @typedef {{roomId: string, userId: string, userName: string, isTyping: boolean}} UserTyping
 * @typedef {{roomId: string, userId: string, userName: string, status: string, timestamp: string}} UserPresence
 * @typedef {{roomId: string, userId: string, seq: number, timestamp: string}} MessageRead
 * @typedef {{roomId: string, epoch: string, seq: number, resumed: boolean, liveAgent: boolean, timestamp: string}} Joined
 *
 * @typedef {object} Answer how an AI's answer ended
 * @property {string} model
 * @property {"openai" | "google" | "demo"} provider
 * @property {string} conversationId
 * @property {number} contextLength
 * @property {{inputTokens: number, outputTokens: number}} usage
 * @property {"stop" | "length" | "content_filter" | "cancelled" | "interrupted" | "error"} finishReason
 * @property {string} timestamp
 * @property {true} [error] no model answered, or not to the end
 * @property {string} [code] why
 * @property {string} [fallback] what to show below a text that broke off
 *
 * @typedef {Answer & {message: string}} ChatAnswer
 * @typedef {Partial<Answer> & Pick<Answer, "finishReason"> & {fullResponse: string, roomId?: string}} StreamAnswer partial if it was cancelled here
 * @typedef {{chunk: string, index: number, conversationId: string, roomId?: string, timestamp: string}} Chunk
 *
 * @typedef {object} Visitor
 * @property {string} id
 * @property {string} [userAgent]
 * @property {string} [browser]
 * @property {string} [os]
 * @property {string} [device]
 * @property {string} [country]
 * @property {string} [url]
 * @property {string} [title]
 * @property {string} [referrer]
 * @property {string} timestamp
 * @property {string} lastActivity
 *
 * @typedef {{domainId: string, activeVisitors: number, totalVisitors: number, visitors: Visitor[], timestamp: string}} DomainStats
 * @typedef {{stats: Record<string, {activeVisitors: number, totalVisitors: number, lastUpdated: string}>, timestamp: string}} AllDomainStats
 * @typedef {{domainId: string, visitorId: string, visitorData: Record<string, any>, activeCount: number, timestamp: string}} VisitorJoined
 * @typedef {{domainId: string, visitorId: string, activeCount: number, timestamp: string}} VisitorLeft
 * @typedef {{domainId: string, visitorId: string, url?: string, title?: string, timestamp: string}} VisitorActivity
 */
export {};
