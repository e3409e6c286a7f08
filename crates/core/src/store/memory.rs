//! SQLite in memory, for the tests of this crate.

use rusqlite::types::{ToSqlOutput, ValueRef};

use super::{Row, Sql, SqlError, Value};

pub(crate) struct Memory {
    db: rusqlite::Connection,
    /// From here on each write fails, as on a full disk.
    pub(crate) broken: bool,
}

impl Memory {
    #[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
    pub(crate) fn new() -> Self {
        let mut store = Self { db: rusqlite::Connection::open_in_memory().unwrap(), broken: false };
        super::open(&mut store, &[super::Part::Rooms, super::Part::Visitors]).unwrap();
        store
    }

    /// What a turn that failed leaves behind must not stay.
    #[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
    pub(crate) fn control(&mut self, statement: &str) {
        self.db.execute_batch(statement).unwrap();
    }
}

struct Param<'a>(Value<'a>);

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(int) => ValueRef::Integer(int),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn value(&self, column: usize) -> Value<'_> {
        match self.get_ref(column) {
            Ok(ValueRef::Integer(int)) => Value::Int(int),
            Ok(ValueRef::Text(text)) => std::str::from_utf8(text).map_or(Value::Null, Value::Text),
            _ => Value::Null,
        }
    }
}

impl Sql for Memory {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row),
    ) -> Result<(), SqlError> {
        let failed = |error: rusqlite::Error| SqlError(error.to_string());
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        if self.broken && !statement.readonly() {
            return Err(SqlError("disk full".into()));
        }
        let params = params.iter().map(|value| Param(*value));
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(row);
        }
        Ok(())
    }
}
