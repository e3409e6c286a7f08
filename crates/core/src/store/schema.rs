//! The tables, as a list of migrations. A step that has been released is never edited.

use Part::{Rooms, Visitors};

use super::{Sql, SqlError, Value, first};

/// What a store is for. An object that holds one of them pays for no tables of the other: each is a row written when it
/// is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Rooms,
    Visitors,
}

/// Step N brings version N to N + 1. A step is a list of statements because a host may take one at a time only.
///
/// Rooms are named by an integer inside, and rows are appended in the order of their rowid: measured, that costs a
/// third of what text keys in a table without rowid do.
const MIGRATIONS: &[&[(Part, &str)]] = &[FIRST, SECOND, THIRD, FOURTH];

const FIRST: &[(Part, &str)] = &[
    (
        Rooms,
        "CREATE TABLE room (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        domain TEXT,
        live_agent INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL
    ) STRICT",
    ),
    // The room's log. `kind` is log::Kind; `target_seq` is the message that an edit or a deletion is about.
    (
        Rooms,
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
    ),
    (Rooms, "CREATE UNIQUE INDEX event_by_seq ON event (room, seq)"),
    (
        Rooms,
        "CREATE UNIQUE INDEX event_by_client_message_id ON event (room, user_id, client_message_id)
        WHERE client_message_id IS NOT NULL",
    ),
    (
        Rooms,
        "CREATE TABLE read_mark (
        room INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (room, user_id)
    ) STRICT",
    ),
    // What the AI remembers of a conversation. `speaker` is 0 for the user, 1 for the assistant.
    (
        Rooms,
        "CREATE TABLE turn (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        speaker INTEGER NOT NULL,
        text TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT",
    ),
    (Rooms, "CREATE INDEX turn_by_room ON turn (room, id)"),
    // One answer of a model: `state` is conversations::RunState.
    (
        Rooms,
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
    ),
    (Rooms, "CREATE INDEX run_unfinished ON run (state) WHERE state = 0"),
    (
        Visitors,
        "CREATE TABLE domain (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        visitors INTEGER NOT NULL DEFAULT 0,
        updated_at INTEGER NOT NULL
    ) STRICT",
    ),
    // `here` is visitors::Here; the partial index finds who is here without reading who ever was.
    (
        Visitors,
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
    ),
    (Visitors, "CREATE UNIQUE INDEX visitor_by_name ON visitor (domain, name)"),
    (Visitors, "CREATE INDEX visitor_here ON visitor (domain) WHERE here <> 0"),
];

/// What rooms and domains need to be rebuilt while their connections live on.
const SECOND: &[(Part, &str)] = &[
    // `member` is rooms::Member as JSON.
    (
        Rooms,
        "CREATE TABLE departed (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        member TEXT NOT NULL,
        until INTEGER NOT NULL
    ) STRICT",
    ),
    (Rooms, "CREATE INDEX departed_by_room ON departed (room)"),
    // What the conversation has used of its quota: rate::Usage.
    (Rooms, "ALTER TABLE room ADD COLUMN asked_us INTEGER NOT NULL DEFAULT 0"),
    (Rooms, "CREATE INDEX event_by_target ON event (room, target_seq, kind) WHERE target_seq IS NOT NULL"),
    // When a visitor whose last connection ended stops counting.
    (Visitors, "ALTER TABLE visitor ADD COLUMN leave_at INTEGER"),
    // Who waits for the answer, as conversations::Asked in JSON.
    (Rooms, "ALTER TABLE run ADD COLUMN asked TEXT"),
];

/// What must survive a failed commit, a crash or an eviction between saying it and its being heard.
const THIRD: &[(Part, &str)] = &[
    // `post` is rooms::Post as JSON. (The Worker made this table by itself before.)
    (
        Rooms,
        "CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY,
        room TEXT NOT NULL,
        post TEXT NOT NULL
    ) STRICT",
    ),
    // The answers that are being written into a room. `run` is an unsigned 64-bit number, which no integer here holds.
    (
        Rooms,
        "CREATE TABLE publishing (
        room INTEGER NOT NULL,
        conversation TEXT NOT NULL,
        run TEXT NOT NULL,
        PRIMARY KEY (room, conversation)
    ) STRICT",
    ),
    // Whether the members' list has been put off and is still to be told.
    (Rooms, "ALTER TABLE room ADD COLUMN users_due INTEGER NOT NULL DEFAULT 0"),
];

/// What those are told who come back to an answer.
const FOURTH: &[(Part, &str)] = &[
    // The last answer of the conversation, as `ai-stream-complete` has it.
    (Rooms, "ALTER TABLE room ADD COLUMN answer TEXT"),
];

/// Brings the tables of these parts up to date. To be called inside a transaction, before anything else touches the store.
pub fn open(sql: &mut dyn Sql, parts: &[Part]) -> Result<(), SqlError> {
    sql.run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT", &[])?;
    let version = first(sql, "SELECT max(version) FROM schema_version", &[], |row| row.count(0))?;
    let version = version.unwrap_or(0) as usize;
    if version > MIGRATIONS.len() {
        return Err(SqlError(format!(
            "the data was written by a newer release (schema {version}, this one knows {}); upgrade, or point DATA_DIR elsewhere",
            MIGRATIONS.len()
        )));
    }
    let due: Vec<_> = MIGRATIONS.iter().skip(version).copied().flatten().collect();
    for (_, statement) in due.iter().filter(|(part, _)| parts.contains(part)) {
        sql.run(statement, &[])?;
    }
    if version < MIGRATIONS.len() {
        let version = Value::Int(MIGRATIONS.len() as i64);
        sql.run("INSERT INTO schema_version (version) VALUES (?)", &[version])?;
    }
    Ok(())
}
