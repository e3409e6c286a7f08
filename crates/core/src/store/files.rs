//! Which files there are, whose they are, and which are to go. The bytes are the host's; a file's row is there before its
//! first byte and goes after its last, so that none is ever left without.

use super::{Row, Sql, SqlError, Value, first};
use crate::access::identity::Identity;
use crate::files::{Attached, FileKey, Looks, Owners, Seen, Stored, Upload, unknown_attachment};
use crate::ids::{DomainId, RoomId, Seq, UserId};
use crate::limits::FILES_WAITING_MAX;
use crate::protocol::error::ClientError;
use crate::time::UnixMs;

/// A file with what decides who may have it.
pub struct Owned {
    pub file: Stored,
    pub owners: Owners,
    pub at: UnixMs,
}

/// Made with the first file: most rooms never have one. `state`: 0 its bytes are still coming, 1 it waits for a message to name
/// it, 2 it is kept, 3 nobody gets it any more; its bytes are to be deleted, and then its row.
const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS file (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        state INTEGER NOT NULL,
        at INTEGER NOT NULL,
        room TEXT,
        domain TEXT,
        user_id TEXT,
        name TEXT NOT NULL,
        size INTEGER NOT NULL DEFAULT 0,
        content_type TEXT NOT NULL DEFAULT '',
        sha256 TEXT NOT NULL DEFAULT '',
        width INTEGER,
        height INTEGER,
        message_seq INTEGER
    ) STRICT",
    "CREATE INDEX IF NOT EXISTS file_by_room ON file (room, message_seq)",
    "CREATE INDEX IF NOT EXISTS file_waiting ON file (at) WHERE state < 2",
    "CREATE INDEX IF NOT EXISTS file_doomed ON file (id) WHERE state = 3",
];

pub fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|table| sql.run(table, &[]))
}

/// Whether a file was ever uploaded here.
pub fn exist(sql: &mut dyn Sql) -> Result<bool, SqlError> {
    let statement = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'file'";
    Ok(first(sql, statement, &[], |_| ())?.is_some())
}

/// Before the first byte is kept. A room may have so many files that nothing mentions, and no more. Returns whose the file
/// is.
pub fn reserve(
    sql: &mut dyn Sql,
    key: &FileKey,
    (mut upload, caller): (Upload, &Identity),
    now: UnixMs,
) -> Result<Result<Owners, ClientError>, SqlError> {
    let room = upload.room.as_ref().map(RoomId::as_str);
    let known = room.map_or(Ok(None), |room| domain_of(sql, room))?;
    if let Err(error) = upload.enter(caller, known) {
        return Ok(Err(error));
    }
    open(sql)?;
    let room = upload.room.as_ref().map(RoomId::as_str);
    let waiting =
        first(sql, "SELECT count(*) FROM file WHERE room = ? AND state < 2", &[Value::text(room)], |row| {
            row.count(0)
        })?;
    if waiting.unwrap_or(0) >= FILES_WAITING_MAX {
        return Ok(Err(ClientError::rate_limited("files of this room that no message mentions", 60_000)));
    }
    sql.run(
        "INSERT INTO file (key, state, at, room, domain, user_id, name) VALUES (?, 0, ?, ?, ?, ?, ?)",
        &[
            Value::Text(key.as_str()),
            Value::Int(now.0),
            Value::text(room),
            Value::text(upload.domain.as_ref().map(DomainId::as_str)),
            Value::text(upload.user.as_ref().map(UserId::as_str)),
            Value::Text(upload.name.as_deref().unwrap_or_default()),
        ],
    )?;
    Ok(Ok(Owners { room: upload.room, domain: upload.domain, user: upload.user }))
}

/// Of which site a room is, as far as it is known. A file may be the first that comes to a room, before anything is written there.
fn domain_of(sql: &mut dyn Sql, room: &str) -> Result<Option<DomainId>, SqlError> {
    let has_rooms = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'room'";
    if first(sql, has_rooms, &[], |_| ())?.is_none() {
        return Ok(None);
    }
    let statement = "SELECT domain FROM room WHERE name = ?";
    let domain =
        first(sql, statement, &[Value::Text(room)], |row| row.opt_text(0).and_then(DomainId::parse))?;
    Ok(domain.flatten())
}

/// Its last byte is kept. False: it is not wanted any more, and its bytes are to be deleted. A sweep may have been there before
/// them, so there is a row for that again.
pub fn finish(sql: &mut dyn Sql, file: &Stored, now: UnixMs) -> Result<bool, SqlError> {
    let Seen { size, sha256, looks: Looks { content_type, width, height } } = &file.seen;
    let side = |side: &Option<u32>| side.map_or(Value::Null, |side| Value::Int(side.into()));
    // What belongs to no room waits for no message.
    let finished = first(
        sql,
        "UPDATE file SET state = iif(room IS NULL, 2, 1), at = ?, name = ?, size = ?, content_type = ?, sha256 = ?,
            width = ?, height = ? WHERE key = ? AND state = 0 RETURNING 1",
        &[
            Value::Int(now.0),
            Value::Text(&file.name),
            Value::Int(*size as i64),
            Value::Text(content_type),
            Value::Text(sha256),
            side(width),
            side(height),
            Value::Text(file.key.as_str()),
        ],
        |_| (),
    )?;
    if finished.is_none() {
        let bury = "INSERT INTO file (key, state, at, name) VALUES (?, 3, ?, '')
            ON CONFLICT (key) DO UPDATE SET state = 3";
        sql.run(bury, &[Value::Text(file.key.as_str()), Value::Int(now.0)])?;
    }
    Ok(finished.is_some())
}

/// One that can be had.
pub fn find(sql: &mut dyn Sql, key: &FileKey) -> Result<Option<Owned>, SqlError> {
    let found = first(
        sql,
        "SELECT key, name, size, sha256, content_type, width, height, room, domain, user_id, at FROM file
            WHERE key = ? AND state IN (1, 2)",
        &[Value::Text(key.as_str())],
        owned,
    )?;
    Ok(found.flatten())
}

fn owned(row: &dyn Row) -> Option<Owned> {
    let side = |column| match row.value(column) {
        Value::Int(side) => u32::try_from(side).ok(),
        _ => None,
    };
    let looks = Looks { content_type: row.text(4).to_owned().into(), width: side(5), height: side(6) };
    let seen = Seen { size: row.count(2), sha256: row.text(3).into(), looks };
    Some(Owned {
        file: Stored { key: FileKey::parse(row.text(0))?, name: row.text(1).into(), seen },
        owners: Owners {
            room: row.opt_text(7).map(RoomId::known),
            domain: row.opt_text(8).and_then(DomainId::parse),
            user: row.opt_text(9).and_then(UserId::parse),
        },
        at: UnixMs(row.int(10)),
    })
}

/// A message of this room names them. All of them are held against what is known before any is touched.
pub(crate) fn attach(
    sql: &mut dyn Sql,
    room: &RoomId,
    files: &[Attached],
    seq: Seq,
) -> Result<Result<(), ClientError>, SqlError> {
    let has_any = exist(sql)?;
    for Attached { key, size, content_type } in files {
        let known = if has_any { find(sql, key)? } else { None };
        let Some(known) = known.filter(|known| known.owners.room.as_ref() == Some(room)) else {
            return Ok(Err(unknown_attachment(key.as_str())));
        };
        let Seen { size: real, looks, .. } = known.file.seen;
        let is_true = size.is_none_or(|size| size == real)
            && content_type.as_ref().is_none_or(|claimed| **claimed == *looks.content_type);
        if !is_true {
            let rule = format!(
                "says of the file {} what it is not: it has {real} bytes and is {}",
                key.as_str(),
                looks.content_type
            );
            return Ok(Err(ClientError::invalid("attachments", &rule)));
        }
    }
    for Attached { key, .. } in files {
        // The first message that names it is the one that it goes with.
        sql.run(
            "UPDATE file SET state = 2, message_seq = coalesce(message_seq, ?) WHERE key = ?",
            &[Value::Int(seq.0 as i64), Value::Text(key.as_str())],
        )?;
    }
    Ok(Ok(()))
}

/// Nobody gets it from here on. False: there is none.
pub fn doom(sql: &mut dyn Sql, key: &FileKey) -> Result<bool, SqlError> {
    if !exist(sql)? {
        return Ok(false);
    }
    let statement = "UPDATE file SET state = 3 WHERE key = ? AND state <> 3 RETURNING 1";
    Ok(first(sql, statement, &[Value::Text(key.as_str())], |_| ())?.is_some())
}

/// With the message that named them. True if there were any.
pub(crate) fn doom_of_message(sql: &mut dyn Sql, room: &RoomId, seq: Seq) -> Result<bool, SqlError> {
    if !exist(sql)? {
        return Ok(false);
    }
    let mut any = false;
    sql.query(
        "UPDATE file SET state = 3 WHERE room = ? AND message_seq = ? AND state <> 3 RETURNING 1",
        &[Value::Text(room.as_str()), Value::Int(seq.0 as i64)],
        &mut |_| any = true,
    )?;
    Ok(any)
}

/// With its room. How many there were.
pub(crate) fn doom_of_room(sql: &mut dyn Sql, room: &RoomId) -> Result<u64, SqlError> {
    let statement = "UPDATE file SET state = 3 WHERE room = ? AND state <> 3 RETURNING 1";
    doom_all(sql, statement, &[Value::Text(room.as_str())])
}

/// With all messages up to that place.
pub(crate) fn doom_of_messages(sql: &mut dyn Sql, room: &RoomId, upto: Seq) -> Result<u64, SqlError> {
    let statement =
        "UPDATE file SET state = 3 WHERE room = ? AND message_seq <= ? AND state <> 3 RETURNING 1";
    doom_all(sql, statement, &[Value::Text(room.as_str()), Value::Int(upto.0 as i64)])
}

/// Those that came before then.
pub(crate) fn doom_before(sql: &mut dyn Sql, room: &RoomId, before: UnixMs) -> Result<u64, SqlError> {
    let statement = "UPDATE file SET state = 3 WHERE room = ? AND at < ? AND state <> 3 RETURNING 1";
    doom_all(sql, statement, &[Value::Text(room.as_str()), Value::Int(before.0)])
}

/// Those that this user brought.
pub(crate) fn doom_of_user(sql: &mut dyn Sql, room: &RoomId, user: &UserId) -> Result<u64, SqlError> {
    let statement = "UPDATE file SET state = 3 WHERE room = ? AND user_id = ? AND state <> 3 RETURNING 1";
    doom_all(sql, statement, &[Value::Text(room.as_str()), Value::Text(user.as_str())])
}

fn doom_all(sql: &mut dyn Sql, statement: &'static str, params: &[Value<'_>]) -> Result<u64, SqlError> {
    let mut count = 0;
    if exist(sql)? {
        sql.query(statement, params, &mut |_| count += 1)?;
    }
    Ok(count)
}

/// What no message has named by then, and what broke off.
pub fn doom_unused(sql: &mut dyn Sql, before: UnixMs) -> Result<(), SqlError> {
    sql.run("UPDATE file SET state = 3 WHERE state < 2 AND at < ?", &[Value::Int(before.0)])
}

/// When the oldest file that waits for a message came.
pub fn oldest_unused(sql: &mut dyn Sql) -> Result<Option<UnixMs>, SqlError> {
    let statement = "SELECT at FROM file WHERE state < 2 ORDER BY at LIMIT 1";
    first(sql, statement, &[], |row| UnixMs(row.int(0)))
}

/// Whose bytes are to be deleted, some of them.
pub fn doomed(sql: &mut dyn Sql, limit: u32) -> Result<Vec<FileKey>, SqlError> {
    let mut keys = Vec::new();
    sql.query(
        "SELECT key FROM file WHERE state = 3 ORDER BY id LIMIT ?",
        &[Value::Int(limit.into())],
        &mut |row| keys.extend(FileKey::parse(row.text(0))),
    )?;
    Ok(keys)
}

/// Its bytes are gone.
pub fn forget(sql: &mut dyn Sql, key: &FileKey) -> Result<(), SqlError> {
    sql.run("DELETE FROM file WHERE key = ? AND state = 3", &[Value::Text(key.as_str())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::token::{Claims, Domains, Role};
    use crate::store::{log, memory::Memory};
    use std::sync::Arc;

    fn key(n: u64) -> FileKey {
        FileKey::from_entropy(n, n)
    }

    fn stored(n: u64) -> Stored {
        let looks = Looks { content_type: "image/png".into(), width: Some(3), height: Some(4) };
        Stored { key: key(n), name: "a.png".into(), seen: Seen { size: 5, sha256: "ab".into(), looks } }
    }

    fn upload(room: Option<&str>) -> Upload {
        Upload { name: Some("a.png".into()), room: room.map(RoomId::known), ..Upload::default() }
    }

    fn attached(n: u64) -> Attached {
        Attached { key: key(n), size: None, content_type: None }
    }

    fn reserves(sql: &mut Memory, n: u64, room: Option<&str>) -> Result<bool, SqlError> {
        Ok(reserve(sql, &key(n), (upload(room), &Identity::Open), UnixMs(1_000))?.is_ok())
    }

    fn put(sql: &mut Memory, n: u64, room: Option<&str>) -> Result<(), SqlError> {
        assert!(reserves(sql, n, room)?);
        assert!(find(sql, &key(n))?.is_none(), "not before it is whole");
        assert!(finish(sql, &stored(n), UnixMs(2_000))?);
        Ok(())
    }

    #[test]
    fn what_nobody_wants_any_more_is_deleted_though_it_was_swept_before_it_came() -> Result<(), SqlError> {
        let mut sql = Memory::new();
        assert!(reserves(&mut sql, 1, Some("room"))?);
        assert_eq!(doom_of_room(&mut sql, &RoomId::known("room"))?, 1);
        forget(&mut sql, &key(1))?;
        for _ in 0..2 {
            assert!(!finish(&mut sql, &stored(1), UnixMs(2_000))?);
            assert_eq!(doomed(&mut sql, 9)?, [key(1)]);
        }
        Ok(())
    }

    #[test]
    fn a_file_waits_for_its_message_and_goes_with_it() -> Result<(), SqlError> {
        let (mut sql, room) = (Memory::new(), RoomId::known("room"));
        assert!(attach(&mut sql, &room, &[attached(1)], Seq(1))?.is_err(), "there is none at all");
        put(&mut sql, 1, Some("room"))?;
        let found = find(&mut sql, &key(1))?;
        assert!(
            found.is_some_and(|found| found.file == stored(1) && found.owners.room.as_ref() == Some(&room))
        );
        assert_eq!(oldest_unused(&mut sql)?, Some(UnixMs(2_000)));
        assert!(attach(&mut sql, &RoomId::known("other"), &[attached(1)], Seq(1))?.is_err());
        assert!(attach(&mut sql, &room, &[attached(1), attached(2)], Seq(1))?.is_err());
        assert_eq!(oldest_unused(&mut sql)?, Some(UnixMs(2_000)), "a refused message takes none");
        let lie = Attached { content_type: Some("text/html".into()), ..attached(1) };
        assert!(attach(&mut sql, &room, &[lie], Seq(1))?.is_err());
        assert_eq!(attach(&mut sql, &room, &[attached(1)], Seq(7))?, Ok(()));
        assert_eq!(attach(&mut sql, &room, &[attached(1)], Seq(9))?, Ok(()));
        doom_unused(&mut sql, UnixMs(i64::MAX))?;
        assert!(find(&mut sql, &key(1))?.is_some());
        assert!(!doom_of_message(&mut sql, &room, Seq(9))?);
        assert!(doom_of_message(&mut sql, &room, Seq(7))?);
        assert!(find(&mut sql, &key(1))?.is_none());
        assert_eq!(doomed(&mut sql, 10)?, [key(1)]);
        forget(&mut sql, &key(1))?;
        assert_eq!(doomed(&mut sql, 10)?, []);
        Ok(())
    }

    #[test]
    fn what_is_never_named_goes_and_what_broke_off_too() -> Result<(), SqlError> {
        let mut sql = Memory::new();
        put(&mut sql, 1, Some("room"))?;
        put(&mut sql, 2, None)?;
        assert!(reserves(&mut sql, 3, Some("room"))?);
        doom_unused(&mut sql, UnixMs(3_000))?;
        assert_eq!(doomed(&mut sql, 10)?, [key(1), key(3)]);
        assert!(!finish(&mut sql, &stored(3), UnixMs(4_000))?, "who comes too late hears of it");
        assert!(find(&mut sql, &key(2))?.is_some(), "a file of the site waits for nothing");
        Ok(())
    }

    #[test]
    fn a_room_holds_so_many_that_nothing_mentions() -> Result<(), SqlError> {
        let mut sql = Memory::new();
        for n in 0..FILES_WAITING_MAX {
            put(&mut sql, n, Some("room"))?;
        }
        assert!(!reserves(&mut sql, 900, Some("room"))?);
        assert!(reserves(&mut sql, 901, Some("other"))? && reserves(&mut sql, 902, None)?);
        Ok(())
    }

    #[test]
    fn a_file_is_of_the_site_that_its_room_is_of_and_a_token_for_another_brings_none() -> Result<(), SqlError>
    {
        let (mut sql, [shop, other]) = (Memory::new(), ["shop", "other"].map(DomainId::parse));
        log::create_room(&mut sql, &RoomId::known("room"), "epoch", Some("shop"), UnixMs(0))?;
        let says_other = Upload { domain: other.clone(), ..upload(Some("room")) };
        let owners = reserve(&mut sql, &key(1), (says_other, &Identity::Anonymous), UnixMs(0))?;
        assert!(owners.is_ok_and(|owners| owners.domain == shop));
        let agent = |domain: &Option<DomainId>| {
            Identity::Known(Arc::new(Claims {
                subject: UserId::service(),
                name: "Eve".into(),
                role: Role::Agent,
                domains: Domains::Only(domain.iter().cloned().collect()),
                rooms: None,
                expires_at: UnixMs(i64::MAX),
            }))
        };
        for (by, may) in [(&shop, true), (&other, false)] {
            let done = reserve(&mut sql, &key(2), (upload(Some("room")), &agent(by)), UnixMs(0))?;
            assert_eq!(done.is_ok(), may, "{by:?}");
        }
        Ok(())
    }
}
