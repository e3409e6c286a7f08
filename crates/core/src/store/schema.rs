//! The tables, as lists of migrations. A step that has been released is never edited.

use super::{Sql, SqlError, Value, first};

/// What a store is for. An object that holds one of them pays for no tables of the other: each is a row written when it
/// is made.
#[derive(Clone, Copy)]
pub enum Part {
    Rooms,
    Visitors,
}

impl Part {
    /// Step N brings version N to N + 1. A step is a list of statements because a host may take one at a time only.
    fn steps(self) -> &'static Steps {
        match self {
            Self::Rooms => &ROOMS,
            Self::Visitors => &VISITORS,
        }
    }
}

/// The version is the whole store's, so each part has as many steps, and some of them are empty.
const VERSION: usize = 9;

type Steps = [&'static [&'static str]; VERSION];

/// Rooms are named by an integer inside, and rows are appended in the order of their rowid: measured, that costs a
/// third of what text keys in a table without rowid do.
const ROOMS: Steps = [
    ROOMS_FIRST,
    ROOMS_SECOND,
    ROOMS_THIRD,
    ROOMS_FOURTH,
    ROOMS_OWNERS,
    ROOMS_INBOX,
    ROOMS_GROWING,
    ROOMS_SAID,
    &[],
];

const ROOMS_FIRST: &[&str] = &[
    "CREATE TABLE room (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        domain TEXT,
        live_agent INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL
    ) STRICT",
    // The room's log. `kind` is log::Kind; `target_seq` is the message that an edit or a deletion is about.
    "CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        at INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        user_name TEXT NOT NULL,
        role TEXT NOT NULL,
        socket_id TEXT NOT NULL,
        client_message_id TEXT,
        text TEXT NOT NULL,
        attachments TEXT,
        target_seq INTEGER
    ) STRICT",
    "CREATE UNIQUE INDEX event_by_seq ON event (room, seq)",
    "CREATE UNIQUE INDEX event_by_client_message_id ON event (room, user_id, client_message_id)
        WHERE client_message_id IS NOT NULL",
    "CREATE TABLE read_mark (
        room INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (room, user_id)
    ) STRICT",
    // What the AI remembers of a conversation. `speaker` is 0 for the user, 1 for the assistant.
    "CREATE TABLE turn (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        speaker INTEGER NOT NULL,
        text TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT",
    "CREATE INDEX turn_by_room ON turn (room, id)",
    // One answer of a model: `state` is conversations::RunState.
    "CREATE TABLE run (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        state INTEGER NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        finish_reason TEXT,
        input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        started_at INTEGER NOT NULL,
        ended_at INTEGER
    ) STRICT",
    "CREATE INDEX run_unfinished ON run (state) WHERE state = 0",
];

/// What rooms and domains need to be rebuilt while their connections live on.
const ROOMS_SECOND: &[&str] = &[
    // `member` is rooms::Member as JSON.
    "CREATE TABLE departed (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        member TEXT NOT NULL,
        until INTEGER NOT NULL
    ) STRICT",
    "CREATE INDEX departed_by_room ON departed (room)",
    // What the conversation has used of its quota: rate::Usage.
    "ALTER TABLE room ADD COLUMN asked_us INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX event_by_target ON event (room, target_seq, kind) WHERE target_seq IS NOT NULL",
    // Who waits for the answer, as conversations::Asked in JSON.
    "ALTER TABLE run ADD COLUMN asked TEXT",
];

/// What must survive a failed commit, a crash or an eviction between saying it and its being heard.
const ROOMS_THIRD: &[&str] = &[
    // `post` is rooms::Post as JSON. (The Worker made this table by itself before.)
    "CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY,
        room TEXT NOT NULL,
        post TEXT NOT NULL
    ) STRICT",
    // The answers that are being written into a room. `run` is an unsigned 64-bit number, which no integer here holds.
    "CREATE TABLE publishing (
        room INTEGER NOT NULL,
        conversation TEXT NOT NULL,
        run TEXT NOT NULL,
        PRIMARY KEY (room, conversation)
    ) STRICT",
    // Whether the members' list has been put off and is still to be told.
    "ALTER TABLE room ADD COLUMN users_due INTEGER NOT NULL DEFAULT 0",
];

/// What those are told who come back to an answer.
const ROOMS_FOURTH: &[&str] = &[
    // The last answer of the conversation, as `ai-stream-complete` has it.
    "ALTER TABLE room ADD COLUMN answer TEXT",
];

/// Whose a conversation is, where there are tokens.
const ROOMS_OWNERS: &[&str] = &[
    // The subject or the connection that began it.
    "ALTER TABLE room ADD COLUMN owner TEXT",
];

/// How the room stands: inbox::Desk as JSON, and nothing where there is nothing to know.
const ROOMS_INBOX: &[&str] = &["ALTER TABLE room ADD COLUMN desk TEXT"];

/// What an answer has said while it is written.
const ROOMS_GROWING: &[&str] = &["ALTER TABLE run ADD COLUMN text TEXT"];

/// Up to which place of its log the room's own AI was asked what customers said.
const ROOMS_SAID: &[&str] = &["ALTER TABLE room ADD COLUMN said INTEGER NOT NULL DEFAULT 0"];

const VISITORS: Steps = [VISITORS_FIRST, VISITORS_SECOND, &[], &[], &[], &[], &[], &[], VISITORS_COUNTRY];

const VISITORS_FIRST: &[&str] = &[
    "CREATE TABLE domain (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        visitors INTEGER NOT NULL DEFAULT 0,
        updated_at INTEGER NOT NULL
    ) STRICT",
    // `here` is visitors::Here; the partial index finds who is here without reading who ever was.
    "CREATE TABLE visitor (
        id INTEGER PRIMARY KEY,
        domain INTEGER NOT NULL,
        name TEXT NOT NULL,
        data TEXT NOT NULL,
        first_at INTEGER NOT NULL,
        joined_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        here INTEGER NOT NULL
    ) STRICT",
    "CREATE UNIQUE INDEX visitor_by_name ON visitor (domain, name)",
    "CREATE INDEX visitor_here ON visitor (domain) WHERE here <> 0",
];

const VISITORS_SECOND: &[&str] = &[
    // When a visitor whose last connection ended stops counting.
    "ALTER TABLE visitor ADD COLUMN leave_at INTEGER",
];

/// Where a visitor was when they last came, as the host knew it: two letters.
const VISITORS_COUNTRY: &[&str] = &["ALTER TABLE visitor ADD COLUMN country TEXT"];

/// Brings the tables of these parts up to date. To be called inside a transaction, before anything else touches the store.
pub fn open(sql: &mut dyn Sql, parts: &[Part]) -> Result<(), SqlError> {
    sql.run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT", &[])?;
    let version = first(sql, "SELECT max(version) FROM schema_version", &[], |row| row.count(0))?;
    let version = version.unwrap_or(0) as usize;
    if version > VERSION {
        return Err(SqlError(format!(
            "the data was written by a newer release (schema {version}, this one knows {VERSION}); upgrade, or point DATA_DIR elsewhere"
        )));
    }
    if version == VERSION {
        return Ok(());
    }
    for statement in parts.iter().flat_map(|part| part.steps().iter().skip(version).copied().flatten()) {
        sql.run(statement, &[])?;
    }
    sql.run("INSERT INTO schema_version (version) VALUES (?)", &[Value::Int(VERSION as i64)])
}
