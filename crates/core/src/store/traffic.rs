//! A site's hours.

use super::erasure::Removed;
use super::{Sql, SqlError, Value, first};
use crate::ids::DomainId;
use crate::time::UnixMs;
use crate::visitors::traffic::{HOUR_MS, Hour};

/// Made with the first visitor that is counted.
pub fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    // `stats` is visitors::traffic::Hour as JSON: an hour is one row, however many pages it had.
    let table = "CREATE TABLE IF NOT EXISTS traffic (
        domain TEXT NOT NULL,
        hour INTEGER NOT NULL,
        stats TEXT NOT NULL,
        PRIMARY KEY (domain, hour)
    ) STRICT, WITHOUT ROWID";
    sql.run(table, &[])
}

pub fn hour(sql: &mut dyn Sql, domain: &DomainId, begin: UnixMs) -> Result<Option<Hour>, SqlError> {
    first(
        sql,
        "SELECT stats FROM traffic WHERE domain = ? AND hour = ?",
        &[Value::Text(domain.as_str()), Value::Int(begin.0)],
        |row| serde_json::from_str(row.text(0)).unwrap_or_default(),
    )
}

pub fn keep(sql: &mut dyn Sql, domain: &DomainId, begin: UnixMs, hour: &Hour) -> Result<(), SqlError> {
    let json = serde_json::to_string(hour).map_err(|error| SqlError(error.to_string()))?;
    sql.run(
        "INSERT INTO traffic (domain, hour, stats) VALUES (?, ?, ?)
            ON CONFLICT (domain, hour) DO UPDATE SET stats = excluded.stats",
        &[Value::Text(domain.as_str()), Value::Int(begin.0), Value::Text(&json)],
    )
}

/// Hours that begin from one moment on and before another, oldest first.
pub fn between(
    sql: &mut dyn Sql,
    domain: &DomainId,
    from: UnixMs,
    to: UnixMs,
) -> Result<Vec<(UnixMs, Hour)>, SqlError> {
    let mut hours = Vec::new();
    sql.query(
        "SELECT hour, stats FROM traffic WHERE domain = ? AND hour >= ? AND hour < ? ORDER BY hour",
        &[Value::Text(domain.as_str()), Value::Int(from.0), Value::Int(to.0)],
        &mut |row| {
            let hour = serde_json::from_str(row.text(1)).unwrap_or_default();
            hours.push((UnixMs(row.int(0)), hour));
        },
    )?;
    Ok(hours)
}

/// Hours that were over before a time, with all that was counted in them.
pub fn forget_before(
    sql: &mut dyn Sql,
    domain: &DomainId,
    before: UnixMs,
    removed: &mut Removed,
) -> Result<(), SqlError> {
    let params = [Value::Text(domain.as_str()), Value::Int(before.0 - HOUR_MS)];
    let statement = "DELETE FROM traffic WHERE domain = ? AND hour <= ? RETURNING 1";
    removed.take(sql, "trafficHours", statement, &params)
}
