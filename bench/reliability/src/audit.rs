//! What is stored, read back page by page as any client may, and held against what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::dialect::room_id;
use crate::dialect::weeziq::{PAGE, Stored};
use crate::ledger::Ledger;
use crate::mark::{Client, Entry, Mark, Room};
use crate::socket;
use weeziq_rig::{Failure, Result};

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    /// None: not of this run.
    pub(crate) entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) rooms: u64,
    pub(crate) rows: u64,
    /// Acknowledged and not stored.
    pub(crate) acked_lost: u64,
    /// Rows beyond a message's first.
    pub(crate) rows_twice: u64,
    /// Numbers missing below the highest, or standing twice.
    pub(crate) gaps: u64,
    pub(crate) foreign: u64,
}

impl Findings {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            rooms: self.rooms + other.rooms,
            rows: self.rows + other.rows,
            acked_lost: self.acked_lost + other.acked_lost,
            rows_twice: self.rows_twice + other.rows_twice,
            gaps: self.gaps + other.gaps,
            foreign: self.foreign + other.foreign,
        }
    }
}

pub(crate) fn check(ledger: &Ledger, room: Room, rows: &[Row]) -> Findings {
    let numbers: BTreeSet<u64> = rows.iter().map(|row| row.seq).collect();
    let highest = numbers.last().copied().unwrap_or_default();
    let mut times: BTreeMap<Entry, u64> = BTreeMap::new();
    let mut foreign = 0;
    for row in rows {
        match row.entry.filter(|entry| entry.room == room && ledger.knows(*entry)) {
            Some(entry) => *times.entry(entry).or_default() += 1,
            None => foreign += 1,
        }
    }
    let standing_twice = rows.len() as u64 - numbers.len() as u64;
    Findings {
        rooms: 1,
        rows: rows.len() as u64,
        acked_lost: ledger.acked_in(room).filter(|entry| !times.contains_key(entry)).count() as u64,
        rows_twice: times.values().map(|times| times - 1).sum(),
        gaps: highest.saturating_sub(numbers.len() as u64) + standing_twice,
        foreign,
    }
}

/// The whole history of a room, oldest first.
pub(crate) async fn read(port: u16, room: Room) -> Result<Vec<Row>> {
    match tokio::time::timeout(READ_MAX, pages(port, room)).await {
        Ok(rows) => rows,
        Err(_) => Err(Failure::Server(format!("the history of room {} did not come in time", room.0))),
    }
}

const READ_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    reply_to: Option<&'a str>,
    #[serde(borrow, default)]
    messages: Vec<Stored<'a>>,
    #[serde(default)]
    has_more: bool,
}

async fn pages(port: u16, room: Room) -> Result<Vec<Row>> {
    let failed = |what: String| Failure::Server(format!("reading the history of room {}: {what}", room.0));
    let plain = socket::Options::default();
    let mut socket =
        socket::open(Client(0), port, "/ws", &plain).await.map_err(|error| failed(error.to_string()))?;
    let id = room_id(room);
    let join = json!({"type": "join-room", "roomId": id, "userId": "auditor", "userName": "auditor"});
    socket.send(Message::text(join.to_string())).await.map_err(|error| failed(error.to_string()))?;
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| row.seq);
        let fetch =
            json!({"type": "fetch-history", "roomId": id, "afterSeq": after, "limit": PAGE, "id": "audit"});
        socket.send(Message::text(fetch.to_string())).await.map_err(|error| failed(error.to_string()))?;
        loop {
            let frame = socket.next().await.ok_or_else(|| failed("the connection ended".into()))?;
            let Message::Text(frame) = frame.map_err(|error| failed(error.to_string()))? else { continue };
            let Ok(page) = serde_json::from_str::<Page>(&frame) else { continue };
            if page.kind == "error" {
                return Err(failed(frame.to_string()));
            }
            if page.kind != "message-history" || page.reply_to != Some("audit") {
                continue;
            }
            let entry = |text: &str| Mark::parse(text).map(|mark| mark.entry);
            rows.extend(page.messages.iter().map(|row| Row { seq: row.seq, entry: entry(&row.message) }));
            if !page.has_more || page.messages.is_empty() {
                return Ok(rows);
            }
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_stands_twice_is_a_gap_though_none_is_missing() {
        let mut ledger = Ledger::new(&[Room(0)]);
        let entries: Vec<_> = (0..3).filter_map(|_| ledger.sent(Client(0))).collect();
        let rows: Vec<Row> =
            [1, 2, 2].into_iter().zip(entries).map(|(seq, entry)| Row { seq, entry: Some(entry) }).collect();
        let expected = Findings { rooms: 1, rows: 3, gaps: 1, ..Findings::default() };
        assert_eq!(check(&ledger, Room(0), &rows), expected);
        let stranger = [Row { seq: 1, entry: None }];
        assert_eq!(check(&ledger, Room(0), &stranger).foreign, 1);
    }
}
