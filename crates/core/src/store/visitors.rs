//! Domains and those who visit them.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Sql, SqlError, Value, first};
use crate::ids::{DomainId, VisitorId};
use crate::time::UnixMs;
use crate::visitors::whence::Country;

/// How a stored visitor is present.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Here {
    Gone = 0,
    /// As long as a connection says so.
    ByConnection = 1,
    /// Announced over HTTP: until removed, or idle for too long.
    ByRequest = 2,
}

pub struct DomainRow {
    pub id: i64,
    pub visitors: u64,
    pub updated_at: UnixMs,
}

/// A visitor who was here when the rows were written.
pub struct StoredVisitor {
    pub visitor: VisitorId,
    pub data: Arc<RawValue>,
    pub country: Option<Country>,
    pub joined_at: UnixMs,
    pub last_at: UnixMs,
    pub here: Here,
    pub leave_at: Option<UnixMs>,
}

pub fn find_domain(sql: &mut dyn Sql, name: &DomainId) -> Result<Option<DomainRow>, SqlError> {
    first(
        sql,
        "SELECT id, visitors, updated_at FROM domain WHERE name = ?",
        &[Value::Text(name.as_str())],
        |row| DomainRow { id: row.int(0), visitors: row.count(1), updated_at: UnixMs(row.int(2)) },
    )
}

pub fn create_domain(sql: &mut dyn Sql, name: &DomainId, now: UnixMs) -> Result<DomainRow, SqlError> {
    let row = first(
        sql,
        "INSERT INTO domain (name, updated_at) VALUES (?, ?) RETURNING id",
        &[Value::Text(name.as_str()), Value::Int(now.0)],
        |row| DomainRow { id: row.int(0), visitors: 0, updated_at: now },
    )?;
    row.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

/// Each domain by name with its distinct visitors and its last change, as far as rows know.
pub fn all_domains(sql: &mut dyn Sql) -> Result<Vec<(DomainId, u64, UnixMs)>, SqlError> {
    let mut domains = Vec::new();
    sql.query("SELECT name, visitors, updated_at FROM domain", &[], &mut |row| {
        domains.extend(DomainId::parse(row.text(0)).map(|name| (name, row.count(1), UnixMs(row.int(2)))));
    })?;
    Ok(domains)
}

/// Domains whose rows say that somebody is there.
pub fn domains_with_visitors(sql: &mut dyn Sql) -> Result<Vec<DomainId>, SqlError> {
    let mut domains = Vec::new();
    sql.query(
        "SELECT name FROM domain WHERE id IN (SELECT domain FROM visitor WHERE here <> 0)",
        &[],
        &mut |row| domains.extend(DomainId::parse(row.text(0))),
    )?;
    Ok(domains)
}

pub fn visitors_here(sql: &mut dyn Sql, domain: i64) -> Result<Vec<StoredVisitor>, SqlError> {
    let mut visitors = Vec::new();
    sql.query(
        "SELECT name, data, joined_at, last_at, here, leave_at, country FROM visitor WHERE domain = ? AND here <> 0",
        &[Value::Int(domain)],
        &mut |row| {
            let data = RawValue::from_string(row.text(1).into()).ok();
            visitors.extend(VisitorId::parse(row.text(0)).zip(data).map(|(visitor, data)| StoredVisitor {
                visitor,
                data: data.into(),
                country: row.opt_text(6).and_then(Country::parse),
                joined_at: UnixMs(row.int(2)),
                last_at: UnixMs(row.int(3)),
                here: if row.int(4) == 2 { Here::ByRequest } else { Here::ByConnection },
                leave_at: Some(row.int(5)).filter(|at| *at > 0).map(UnixMs),
            }));
        },
    )?;
    Ok(visitors)
}

/// When a visitor was last here, if ever.
pub fn last_at(sql: &mut dyn Sql, domain: i64, visitor: &VisitorId) -> Result<Option<UnixMs>, SqlError> {
    let statement = "SELECT last_at FROM visitor WHERE domain = ? AND name = ?";
    let params = [Value::Int(domain), Value::Text(visitor.as_str())];
    first(sql, statement, &params, |row| UnixMs(row.int(0)))
}

/// Stores an arrival. True if this visitor was never here before.
pub fn arrive(
    sql: &mut dyn Sql,
    domain: i64,
    visitor: &VisitorId,
    (data, country): (&RawValue, Option<Country>),
    here: Here,
    now: UnixMs,
) -> Result<bool, SqlError> {
    let country = Value::text(country.as_ref().map(Country::as_str));
    let known = first(
        sql,
        "UPDATE visitor SET data = ?, joined_at = CASE here WHEN 0 THEN ? ELSE joined_at END, last_at = ?, here = ?,
            leave_at = NULL, country = coalesce(?, country)
            WHERE domain = ? AND name = ? RETURNING id",
        &[
            Value::Text(data.get()),
            Value::Int(now.0),
            Value::Int(now.0),
            Value::Int(here as i64),
            country,
            Value::Int(domain),
            Value::Text(visitor.as_str()),
        ],
        |_| (),
    )?;
    if known.is_some() {
        return Ok(false);
    }
    sql.run(
        "INSERT INTO visitor (domain, name, data, first_at, joined_at, last_at, here, country) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        &[
            Value::Int(domain),
            Value::Text(visitor.as_str()),
            Value::Text(data.get()),
            Value::Int(now.0),
            Value::Int(now.0),
            Value::Int(now.0),
            Value::Int(here as i64),
            country,
        ],
    )?;
    Ok(true)
}

/// Stores that nobody speaks for a visitor any more, and until when they still count.
pub fn set_leave_at(
    sql: &mut dyn Sql,
    domain: i64,
    visitor: &VisitorId,
    leave_at: Option<UnixMs>,
) -> Result<(), SqlError> {
    sql.run(
        "UPDATE visitor SET leave_at = ? WHERE domain = ? AND name = ?",
        &[
            leave_at.map_or(Value::Null, |at| Value::Int(at.0)),
            Value::Int(domain),
            Value::Text(visitor.as_str()),
        ],
    )
}

/// Stores that someone left, or with `here` unchanged that they gave a sign of life.
pub fn touch(
    sql: &mut dyn Sql,
    domain: i64,
    visitor: &VisitorId,
    data: &RawValue,
    here: Here,
    now: UnixMs,
) -> Result<(), SqlError> {
    sql.run(
        "UPDATE visitor SET data = ?, last_at = ?, here = ? WHERE domain = ? AND name = ?",
        &[
            Value::Text(data.get()),
            Value::Int(now.0),
            Value::Int(here as i64),
            Value::Int(domain),
            Value::Text(visitor.as_str()),
        ],
    )
}

pub fn update_domain(sql: &mut dyn Sql, domain: i64, visitors: u64, now: UnixMs) -> Result<(), SqlError> {
    sql.run(
        "UPDATE domain SET visitors = ?, updated_at = ? WHERE id = ?",
        &[Value::Int(visitors as i64), Value::Int(now.0), Value::Int(domain)],
    )
}
