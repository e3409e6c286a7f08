//! Every limit, in one place, with its unit in its name. A visitor's input meets them at the edge; what grows by
//! itself (queues, lists, waits) meets them where it grows, and each says what happens then.

/// A frame or an HTTP body. Larger: close 1009, or 413.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The text of a message, question or system prompt, in UTF-8. Larger: `too_large`.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// `visitorData` and `customerData` as JSON. Larger: `too_large`.
pub const VISITOR_DATA_BYTES_MAX: usize = 4 * 1024;
/// The settings of a domain as JSON. Larger: `too_large`.
pub const SETTINGS_BYTES_MAX: usize = 512 * 1024;
/// Entries of a domain's helpdesk, canned replies and origins. More: `too_large`.
pub const HELPDESK_ENTRIES_MAX: usize = 500;
pub const CANNED_REPLIES_MAX: usize = 200;
pub const DOMAIN_ORIGINS_MAX: usize = 64;
/// A question of a helpdesk.
pub const HELPDESK_QUESTION_CHARS_MAX: usize = 1_000;
/// Business hours of one day.
pub const OPENINGS_A_DAY_MAX: usize = 8;
/// The longest time that can be set for something to be kept: ten years.
pub const RETENTION_DAYS_MAX: u64 = 3_650;
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

/// Rooms on one page of `GET /rooms`, without a `limit` and at most.
pub const ROOMS_LISTED_DEFAULT: usize = 50;
pub const ROOMS_LISTED_MAX: usize = 200;
/// Of the last message, so much stands in a list.
pub const LAST_MESSAGE_CHARS: usize = 200;
/// A room's list is told of it at most this often; the later telling says what all would have.
pub const ROOM_UPDATED_EVERY_MS: i64 = 1_000;
/// A room that wakes counts at most so many messages; how many there were before is kept.
pub const MESSAGES_UNCOUNTED_MAX: u64 = 200;
/// Those who read last in a room, as far as the list is told of them again.
pub const READS_TOLD_MAX: usize = 20;
/// Stars of a rating, from 1.
pub const RATING_MAX: u64 = 5;
/// What a customer says of a conversation that is over.
pub const RATING_COMMENT_CHARS_MAX: usize = 1_000;
/// What a model is sent of a conversation, the question included, by our estimate. Older turns are left out.
pub const CONTEXT_TOKENS_MAX: usize = 8_000;
/// Of a domain's daily budget, what is set aside for an answer while it is written: about what one takes.
pub const RESERVED_TOKENS: usize = 2_000;
/// Days that one `GET /stats/domain/:id/ai` tells of.
pub const SPENDING_DAYS_MAX: i64 = 400;
/// A document of a domain. Larger: `too_large`.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Documents of one domain. The next: `invalid_request`.
pub const DOCUMENTS_MAX: usize = 200;
/// A document is cut into passages of this length, about; one and a half screens of a phone.
pub const PASSAGE_CHARS_MAX: usize = 1_000;
/// Of all passages that a model is shown with a question, by our estimate. What goes over is left out.
pub const PASSAGES_TOKENS_MAX: usize = 1_200;
/// Words of a question that the index is asked for; the rest of a longer one is not.
pub const QUERY_WORDS_MAX: usize = 32;
/// Passages that `GET /domains/:id/knowledge/search` gives at most.
pub const PASSAGES_FOUND_MAX: usize = 20;
/// Passages that a model is shown with a question, and that an answer names as its sources.
pub const PASSAGES_MAX: usize = 4;
/// Of a passage as an answer names it.
pub const SOURCE_TEXT_CHARS_MAX: usize = 280;

/// Results on one page of `GET /search`, without a `limit` and at most.
pub const SEARCH_DEFAULT: usize = 20;
pub const SEARCH_MAX: usize = 100;
/// What may be looked for at a time; words beyond that are left out.
pub const SEARCH_CHARS_MAX: usize = 256;
pub const SEARCH_WORDS_MAX: usize = 12;
/// Of a message that was found, so much is shown around the word.
pub const SNIPPET_CHARS: usize = 160;
/// Events that the index of messages reads in one go.
pub const SEARCH_FOLLOWED_AT_ONCE: usize = 500;
/// What a room sends of its log along when it tells how it stands, where the log is copied for searching.
pub const LOG_ROWS_TOLD_MAX: usize = 100;
/// Of a room's name in that of a file.
pub const TRANSCRIPT_NAME_CHARS: usize = 64;

/// Pages, referrers and the like that one hour of a site tells apart. Further ones are counted together.
pub const TRAFFIC_KEYS_MAX: usize = 50;
pub const TRAFFIC_KEY_CHARS_MAX: usize = 200;
/// What was counted is stored by then: an hour's row is written once for all that came together, and not for each page.
/// Less than the second from which on waiting takes an alarm on Cloudflare.
pub const TRAFFIC_STORED_EVERY_MS: i64 = 900;
/// What one answer may hold of a site's hours.
pub const REPORT_BUCKETS_MAX: i64 = 744;
pub const REPORT_DAYS_MAX: i64 = 31;

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
/// What an answer has said is stored this often at most while it is written: what a crash may take of it.
pub const ANSWER_STORED_EVERY_MS: i64 = 250;
/// Questions that wait while an answer of the same conversation is written. The next: `rate_limited`.
pub const QUESTIONS_WAITING_MAX: usize = 8;
/// What a customer said where the AI answers by itself is still asked by then if whoever was to ask it died. Later, a page has
/// moved on.
pub const UNANSWERED_MS: i64 = 10 * 60 * 1_000;
/// Messages that are asked together then, as one question.
pub const UNANSWERED_MAX: u32 = 8;
/// The newest events that a process looks through at its start for such messages: more than come between a commit and a
/// question.
pub const UNANSWERED_LOOKED_THROUGH: u32 = 1_000;
/// An answer is cut there, as by the model's own limit.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A file. Larger: `too_large`, as soon as that is known. `FILE_BYTES_MAX` sets another limit.
pub const FILE_BYTES_DEFAULT: u64 = 25 * 1024 * 1024;
/// And no setting a larger one: it is what one request may bring on Cloudflare.
pub const FILE_BYTES_MOST: u64 = 100 * 1000 * 1000;
/// What is kept of a file's beginning while it comes, to tell its type and an image's size.
pub const FILE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Files of one room that no message has named. The next upload: `rate_limited`.
pub const FILES_WAITING_MAX: u64 = 32;
/// Files that one message may name. More: `invalid_request`.
pub const FILES_ATTACHED_MAX: usize = 10;
/// A file that no message of its room has named by then is deleted. `FILE_UNUSED_S` sets another time.
pub const FILE_UNUSED_S: u32 = 24 * 60 * 60;
/// The bytes of what was deleted or erased go about so much later; nobody gets them meanwhile.
pub const FILES_DELETED_AFTER_MS: i64 = 1_000;
/// An upload from which nothing came for so long is given up.
pub const UPLOAD_SILENCE_MS_MAX: i64 = 10_000;
/// And one that is not whole by then.
pub const UPLOAD_MS_MAX: i64 = 5 * 60_000;

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

/// A secret that tokens are signed with. A shorter one stops the start: RFC 7518, section 3.2, wants as many bits as the
/// hash has.
pub const AUTH_SECRET_BYTES_MIN: usize = 32;
/// A token; what it says is kept beside a socket, where 16 KiB have to do for all. Longer: `unauthorized`.
pub const TOKEN_BYTES_MAX: usize = 3 * 1024;
/// Domains, and rooms, that one token names.
pub const TOKEN_SCOPES_MAX: usize = 64;
/// A token may come so much before its `nbf`: the clocks of issuers differ.
pub const TOKEN_NOT_BEFORE_SKEW_MS: i64 = 5_000;

const _: () = {
    assert!(MESSAGE_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(VISITOR_DATA_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(HISTORY_DEFAULT <= HISTORY_MAX);
    assert!(2 * PING_EVERY_MS < SILENCE_MS_MAX, "two pings may be lost before a peer counts as gone");
    assert!(MEMBER_GRACE_MS < SILENCE_MS_MAX);
    assert!(VISITOR_GRACE_MS < VISITOR_IDLE_MS);
    assert!(ANSWER_BYTES_MAX < QUEUE_BYTES_MAX);
};
