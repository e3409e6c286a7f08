//! The one object that knows all domains: their numbers, and those who watch.
//!
//! Every change of a domain's visitors passes here, so that a dashboard needs one socket for all of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{DomainId, RoomId};
use weeziq_core::protocol::command::reply_to_of;
use weeziq_core::protocol::event::{DomainSummary, Event};
use weeziq_core::store::{Sql, SqlError, Value};
use weeziq_core::time::UnixMs;
use worker::{Error, Request, Response, Result};

use super::Tracker;
use crate::domains::write_origins;
use crate::encode;
use crate::outbox::{Delivered, Item, Numbers, Word};
use crate::places::{Consultation, Place};
use crate::store::{Store, transact};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS directory (
    domain TEXT PRIMARY KEY,
    active INTEGER NOT NULL,
    total INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

const WATCHING_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS watching (room TEXT PRIMARY KEY) STRICT, WITHOUT ROWID";

const ORIGIN_TABLE: &str = "CREATE TABLE IF NOT EXISTS origin (
    domain TEXT NOT NULL,
    pattern TEXT NOT NULL,
    PRIMARY KEY (domain, pattern)
) STRICT, WITHOUT ROWID";

/// What a domain lists, in the place of what it listed before.
#[derive(Deserialize)]
struct Origins {
    domain: DomainId,
    origins: Vec<String>,
}

impl Tracker {
    /// All that any domain lists, for those who answer handshakes: in KV, which is near them.
    pub(super) async fn list_origins(&self, mut request: Request) -> Result<Response> {
        let Origins { domain, origins } = serde_json::from_str(&request.text().await?)?;
        let all = transact(&self.state.storage(), move |sql| {
            sql.run(ORIGIN_TABLE, &[])?;
            sql.run("DELETE FROM origin WHERE domain = ?", &[Value::Text(domain.as_str())])?;
            for pattern in &origins {
                let params = [Value::Text(domain.as_str()), Value::Text(pattern)];
                sql.run(
                    "INSERT INTO origin (domain, pattern) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    &params,
                )?;
            }
            let mut all = Vec::new();
            sql.query("SELECT DISTINCT pattern FROM origin ORDER BY pattern", &[], &mut |row| {
                all.push(row.text(0).to_owned());
            })?;
            Ok(all)
        });
        let all = all.map_err(|failed| Error::RustError(failed.to_string()))?;
        write_origins(&self.env, &all).await?;
        Response::ok("")
    }

    pub(super) async fn hear(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        let words: Vec<Word> = serde_json::from_str(&request.text().await?)?;
        let mut sql = Store::new(&self.state.storage());
        sql.run(TABLE, &[]).and_then(|()| sql.run(WATCHING_TABLE, &[])).map_err(failed)?;
        for word in words {
            match word {
                Word::Observed { frame, domain } => {
                    self.show(&mut sql, &frame, domain.as_ref()).map_err(failed)?;
                }
                Word::Watch { room, is_watching } => watch(&mut sql, &room, is_watching).map_err(failed)?,
                Word::Numbers(numbers) => note(&mut sql, &numbers).map_err(failed)?,
                Word::Post(_)
                | Word::Spent(_)
                | Word::Silence { .. }
                | Word::Enrolled { .. }
                | Word::TookPart { .. }
                | Word::Overheard { .. }
                | Word::Parted { .. }
                | Word::Listed { .. } => {}
            }
        }
        Response::ok("")
    }

    /// Whether the storage answers.
    pub(super) fn ready(&self) -> Result<Response> {
        Store::new(&self.state.storage()).run("SELECT 1", &[]).map_err(failed)?;
        Response::ok("")
    }

    /// From a connection that a room holds.
    pub(super) async fn consult_directory(&self, mut request: Request) -> Result<Response> {
        let asked: Consultation = serde_json::from_str(&request.text().await?)?;
        let reply_to = reply_to_of(&asked.frame);
        let frames = [encode(&self.all_domains(&asked.identity)?, reply_to.as_deref())];
        Response::ok(serde_json::to_string(&frames)?)
    }

    /// To those whose sockets end here, and to the rooms that hold some themselves.
    fn show(
        self: &Rc<Self>,
        sql: &mut Store,
        frame: &str,
        domain: Option<&DomainId>,
    ) -> std::result::Result<(), SqlError> {
        self.seats.tell_observers(frame, domain);
        let mut rooms = Vec::new();
        sql.query("SELECT room FROM watching", &[], &mut |row| rooms.push(RoomId::known(row.text(0))))?;
        for room in rooms {
            let (tracker, name) = (self.clone(), room.clone());
            let then = Box::new(move |delivered| {
                // Reset with everybody in it, which it could tell nobody.
                if delivered == Delivered::Unwanted {
                    let _ = watch(&mut Store::new(&tracker.state.storage()), name.as_str(), false);
                }
            });
            let word = Word::Observed { frame: frame.into(), domain: domain.cloned() };
            self.outbox.push(Item { word: Some((Place::Room(room), word)), then });
        }
        self.send();
        Ok(())
    }

    /// As far as whoever asks may know them.
    pub(super) fn all_domains(&self, asker: &Identity) -> Result<Event> {
        let mut sql = Store::new(&self.state.storage());
        sql.run(TABLE, &[]).map_err(failed)?;
        let mut stats = BTreeMap::new();
        sql.query("SELECT domain, active, total, updated_at FROM directory", &[], &mut |row| {
            let summary = DomainSummary {
                active_visitors: row.count(1) as usize,
                total_visitors: row.count(2),
                last_updated: UnixMs(row.int(3)),
            };
            stats.extend(DomainId::parse(row.text(0)).map(|domain| (domain, summary)));
        })
        .map_err(failed)?;
        asker.retain_observed(&mut stats);
        Ok(Event::AllDomainStats { stats, timestamp: self.clock.now() })
    }
}

/// How many domains there are, and how many visitors are on them now.
pub(super) fn totals(sql: &mut dyn Sql) -> std::result::Result<(u64, u64), SqlError> {
    sql.run(TABLE, &[])?;
    let mut totals = (0, 0);
    sql.query("SELECT count(*), coalesce(sum(active), 0) FROM directory", &[], &mut |row| {
        totals = (row.count(0), row.count(1));
    })?;
    Ok(totals)
}

fn watch(sql: &mut dyn Sql, room: &str, is_watching: bool) -> std::result::Result<(), SqlError> {
    let statement = match is_watching {
        true => "INSERT INTO watching (room) VALUES (?) ON CONFLICT DO NOTHING",
        false => "DELETE FROM watching WHERE room = ?",
    };
    sql.run(statement, &[Value::Text(room)])
}

fn note(sql: &mut dyn Sql, numbers: &Numbers) -> std::result::Result<(), SqlError> {
    sql.run(
        "INSERT INTO directory (domain, active, total, updated_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (domain) DO UPDATE SET active = excluded.active, total = excluded.total,
            updated_at = excluded.updated_at",
        &[
            Value::Text(numbers.domain.as_str()),
            Value::Int(numbers.active as i64),
            Value::Int(numbers.total as i64),
            Value::Int(numbers.updated_at),
        ],
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err calls")]
pub(super) fn failed(error: SqlError) -> Error {
    Error::RustError(error.to_string())
}
