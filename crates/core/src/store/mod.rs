//! Storage as both hosts offer it: SQLite's dialect, called synchronously inside a room's turn. The schema and every
//! statement stand in this module; a host brings the connection and the transaction around a turn.

pub mod conversations;
pub mod departed;
pub mod desk;
pub mod erasure;
pub mod files;
pub mod inbox;
pub mod knowledge;
pub mod log;
pub mod outbox;
pub mod publishing;
pub mod recovery;
pub mod register;
#[cfg(any(test, feature = "rusqlite"))]
mod rusqlite;
mod schema;
pub mod search;
pub mod spending;
pub mod traffic;
pub mod visitors;

pub use schema::{Part, open};

/// A parameter, or a column that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    /// On Cloudflare an integer crosses as a double: 2^53 is the largest that may be stored.
    Int(i64),
    Text(&'a str),
}

impl<'a> Value<'a> {
    pub fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// One row of an answer. A column that is missing or of another type reads as null; the schema is STRICT.
pub trait Row {
    fn value(&self, column: usize) -> Value<'_>;

    fn int(&self, column: usize) -> i64 {
        match self.value(column) {
            Value::Int(int) => int,
            _ => 0,
        }
    }

    fn count(&self, column: usize) -> u64 {
        self.int(column).max(0) as u64
    }

    fn opt_text(&self, column: usize) -> Option<&str> {
        match self.value(column) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn text(&self, column: usize) -> &str {
        self.opt_text(column).unwrap_or_default()
    }
}

/// The storage failed: full, broken or gone. The words are for the log.
#[derive(Debug)]
pub struct SqlError(pub String);

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SqlError {}

/// A SQLite connection. Statements are static, so a host may keep them prepared by their address.
pub trait Sql {
    /// Calls `each` for every row of the answer.
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row),
    ) -> Result<(), SqlError>;

    fn run(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<(), SqlError> {
        self.query(sql, params, &mut |_| {})
    }

    /// The same for what has to survive the process but not a power cut: nobody is kept waiting for the disk.
    fn run_soft(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<(), SqlError> {
        self.run(sql, params)
    }
}

/// The one row of an answer, if there is one.
pub(crate) fn first<T>(
    sql: &mut dyn Sql,
    statement: &'static str,
    params: &[Value<'_>],
    mut read: impl FnMut(&dyn Row) -> T,
) -> Result<Option<T>, SqlError> {
    let mut found = None;
    sql.query(statement, params, &mut |row| found = Some(read(row)))?;
    Ok(found)
}

/// Writes something that changes nothing, so that a commit shows whether the store works.
pub fn probe(sql: &mut dyn Sql) -> Result<(), SqlError> {
    sql.run("UPDATE schema_version SET version = version", &[])
}

#[cfg(test)]
pub(crate) mod memory;
