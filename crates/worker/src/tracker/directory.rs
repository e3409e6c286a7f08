//! The one object that knows all domains: their numbers, and those who watch.
//!
//! Every change of a domain's visitors passes here, so that a dashboard needs one socket for all of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use weeziq_core::ids::DomainId;
use weeziq_core::protocol::event::{DomainSummary, Event};
use weeziq_core::store::{Sql, SqlError, Value};
use weeziq_core::time::UnixMs;
use worker::{Error, Request, Response, Result};

use super::Tracker;
use crate::outbox::{Numbers, Word};
use crate::store::Store;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS directory (
    domain TEXT PRIMARY KEY,
    active INTEGER NOT NULL,
    total INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

impl Tracker {
    pub(super) async fn hear(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        let words: Vec<Word> = serde_json::from_str(&request.text().await?)?;
        let mut sql = Store::new(&self.state.storage());
        sql.run(TABLE, &[]).map_err(failed)?;
        for word in words {
            match word {
                Word::Observed { frame } => self.seats.tell_observers(&frame),
                Word::Numbers(numbers) => note(&mut sql, &numbers).map_err(failed)?,
                Word::Post(_) | Word::Overheard { .. } => {}
            }
        }
        Response::ok("")
    }

    pub(super) fn all_domains(&self) -> Result<Event> {
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
        Ok(Event::AllDomainStats { stats, timestamp: self.clock.now() })
    }
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
fn failed(error: SqlError) -> Error {
    Error::RustError(error.to_string())
}
