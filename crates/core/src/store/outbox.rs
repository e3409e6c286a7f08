//! What a room has to say elsewhere, kept until it is known there: into another room, to its domain's list, or later to
//! itself.

use serde::{Deserialize, Serialize};

use super::{Sql, SqlError, Value, first};
use crate::ids::RoomId;
use crate::inbox::Listing;
use crate::rooms::Post;

pub struct Kept {
    pub row: i64,
    pub word: Word,
}

pub enum Word {
    Post(RoomId, Box<Post>),
    /// For the list of a domain that lives elsewhere.
    Listing(Box<Listing>),
    /// For the room itself: it put off telling its list something.
    Relist(RoomId),
}

/// As it stands in a row. Which it is its members tell.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored<P, L> {
    Listing { listing: L },
    Relist { relist: bool },
    Post(P),
}

pub fn add(sql: &mut dyn Sql, room: &RoomId, post: &Post) -> Result<i64, SqlError> {
    keep(sql, room.as_str(), &Stored::<_, ()>::Post(post))
}

pub fn add_listing(sql: &mut dyn Sql, listing: &Listing) -> Result<i64, SqlError> {
    keep(sql, listing.domain.as_str(), &Stored::<(), _>::Listing { listing })
}

pub fn add_relist(sql: &mut dyn Sql, room: &RoomId) -> Result<i64, SqlError> {
    keep(sql, room.as_str(), &Stored::<(), ()>::Relist { relist: true })
}

fn keep(sql: &mut dyn Sql, to: &str, word: &impl Serialize) -> Result<i64, SqlError> {
    let json = serde_json::to_string(word).map_err(|error| SqlError(error.to_string()))?;
    let row = first(
        sql,
        "INSERT INTO outbox (room, post) VALUES (?, ?) RETURNING id",
        &[Value::Text(to), Value::Text(&json)],
        |row| row.int(0),
    )?;
    row.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

pub fn remove(sql: &mut dyn Sql, row: i64) -> Result<(), SqlError> {
    sql.run("DELETE FROM outbox WHERE id = ?", &[Value::Int(row)])
}

/// All that is kept, oldest first.
pub fn all(sql: &mut dyn Sql) -> Result<Vec<Kept>, SqlError> {
    let mut kept = Vec::new();
    sql.query("SELECT id, room, post FROM outbox ORDER BY id", &[], &mut |row| {
        let room = || RoomId::known(row.text(1));
        let word = serde_json::from_str(row.text(2)).ok().map(|stored| match stored {
            Stored::Post(post) => Word::Post(room(), post),
            Stored::Listing { listing } => Word::Listing(listing),
            Stored::Relist { .. } => Word::Relist(room()),
        });
        kept.extend(word.map(|word| Kept { row: row.int(0), word }));
    })?;
    Ok(kept)
}
