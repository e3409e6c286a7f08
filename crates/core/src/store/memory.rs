//! SQLite in memory, for the tests of this crate.

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
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(row);
        }
        Ok(())
    }
}
