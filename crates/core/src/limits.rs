//! Every limit, in one place, with its unit in its name. A visitor's input meets them at the edge; what grows by
//! itself (queues, lists, waits) meets them where it grows, and each says what happens then.

/// A frame or an HTTP body. Larger: close 1009, or 413.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The text of a message, question or system prompt, in UTF-8. Larger: `too_large`.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// `visitorData` and `customerData` as JSON. Larger: `too_large`.
pub const VISITOR_DATA_BYTES_MAX: usize = 4 * 1024;
/// Room, user, domain, visitor and conversation ids.
pub const ID_CHARS_MAX: usize = 128;
/// A client's own `id` of an event.
pub const REPLY_TO_CHARS_MAX: usize = 64;
/// Names people choose for themselves, page titles, models, roles and states.
pub const LABEL_CHARS_MAX: usize = 256;
/// A page's address.
pub const URL_CHARS_MAX: usize = 2048;
/// Rooms that one connection may be in. The next: `invalid_request`.
pub const ROOMS_PER_CONNECTION_MAX: usize = 64;
/// Visitors whom one connection may speak for at a time: a tab has one, a server that relays a site has many. The
/// next: `invalid_request`.
pub const VISITS_PER_CONNECTION_MAX: usize = 1_000;
/// The same where the host keeps them in 16 KiB beside the socket, with who the connection is in its room: ids of 128
/// four-byte characters take a kilobyte a visit. The next: `invalid_request`.
pub const VISITS_PER_DIRECT_CONNECTION_MAX: usize = 8;
/// Names that are made of others; a longer one is cut and hashed. An object on Cloudflare knows a name of 1,024 bytes.
pub const MADE_NAME_BYTES_MAX: usize = 1_000;

/// A slow reader's queue. Over it: volatile frames are dropped, then the connection is closed with 4008.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// And so many frames, whichever comes first.
pub const QUEUE_FRAMES_MAX: usize = 1024;

/// What is ready for a polling client's next request, as a kernel holds what the peer of a socket has not read yet. Over it:
/// the queue begins.
pub const POLLED_BYTES_MAX: usize = 512 * 1024;

/// Levels of JSON that is carried as it came: it goes out again some levels down, and strict readers stop at 128.
pub const FREE_JSON_DEPTH_MAX: usize = 64;

/// Messages sent with a join that resumes nothing, and by `fetch-history` without a `limit`.
pub const HISTORY_DEFAULT: u32 = 50;
/// A larger `limit` is clamped to this.
pub const HISTORY_MAX: u32 = 200;
/// A join that missed more than this starts afresh.
pub const RESUME_EVENTS_MAX: u64 = 1_000;
/// A Socket.IO session whose connection was lost may be taken up until then; not by a client that missed more than a join
/// may resume.
pub const RECOVERY_MS: i64 = 2 * 60_000;
/// Above this many people, `room-users` carries their count alone.
pub const ROOM_USERS_LISTED_MAX: usize = 200;
/// In a room of more connections than `ROOM_USERS_AT_ONCE_MAX`, two `room-users` are at least this far apart; the later
/// one says what both would have.
pub const ROOM_USERS_EVERY_MS: i64 = 100;
pub const ROOM_USERS_AT_ONCE_MAX: usize = 8;
/// The newest visitors that one `domain-stats` lists.
pub const VISITORS_LISTED_MAX: usize = 1_000;

/// Connections that read one answer as it is written.
pub const READERS_MAX: usize = 256;
/// How long the last answer of a conversation can be asked for again.
pub const ANSWER_KEPT_MS: i64 = 10 * 60 * 1_000;

/// A `typing-start` ends by itself.
pub const TYPING_TTL_MS: i64 = 10_000;
/// Someone whose connection died is told of only when they are not back by then.
pub const MEMBER_GRACE_MS: i64 = 3_000;
/// A visitor whose connection ended still counts until then.
pub const VISITOR_GRACE_MS: i64 = 15_000;
/// A visitor without a sign of life leaves.
pub const VISITOR_IDLE_MS: i64 = 30 * 60_000;
/// Observers see one `visitor-activity` of a visitor in this time, with the newest page.
pub const VISITOR_ACTIVITY_EVERY_MS: i64 = 1_000;
/// A visitor's last sign of life is stored at most this often.
pub const VISITOR_STORED_EVERY_MS: i64 = 60_000;

/// One frame of a streamed answer in this time; smaller tokens are joined up.
pub const CHUNK_EVERY_MS: i64 = 25;
/// Questions that wait while an answer of the same conversation is written. The next: `rate_limited`.
pub const QUESTIONS_WAITING_MAX: usize = 8;
/// An answer is cut there, as by the model's own limit.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The server pings each connection this often.
pub const PING_EVERY_MS: i64 = 25_000;
/// A peer from which nothing came for so long is gone.
pub const SILENCE_MS_MAX: i64 = 60_000;
/// On Socket.IO: a peer that has not answered a ping by then is gone. Its clients hold us to the same.
pub const PONG_WITHIN_MS: i64 = 20_000;
/// And one that has not connected to the namespace by then.
pub const CONNECT_WITHIN_MS: i64 = 45_000;
/// Events of one connection.
pub const EVENTS_PER_SECOND: u32 = 50;
pub const EVENTS_BURST: u32 = 100;
/// Events refused for their rate, without a pause long enough for the rate to recover, before the connection is closed
/// with 1008.
pub const REFUSALS_MAX: u32 = 1_000;

const _: () = {
    assert!(MESSAGE_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(VISITOR_DATA_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(HISTORY_DEFAULT <= HISTORY_MAX);
    assert!(2 * PING_EVERY_MS < SILENCE_MS_MAX, "two pings may be lost before a peer counts as gone");
    assert!(MEMBER_GRACE_MS < SILENCE_MS_MAX);
    assert!(VISITOR_GRACE_MS < VISITOR_IDLE_MS);
    assert!(ANSWER_BYTES_MAX < QUEUE_BYTES_MAX);
};
