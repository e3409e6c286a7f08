//! SQLite in memory, with failures that the run plans: a write that does not fit the disk, a commit that is refused.
//!
//! The connection outlives a crash of the host and what was committed with it; a crash rolls the rest back.

use rusqlite::Connection;
use weeziq_core::store::{Part, Row, Sql, SqlError, Value};

pub(crate) struct Store {
    db: Connection,
    in_transaction: bool,
    /// The write that many writes from now fails.
    pub(crate) fails_in: Option<u32>,
    /// The next commit that has something to keep fails.
    pub(crate) refuses_commit: bool,
    /// Every write and commit fails.
    pub(crate) is_broken: bool,
}

impl Store {
    pub(crate) fn new() -> Result<Self, SqlError> {
        let db = Connection::open_in_memory().map_err(failed)?;
        db.set_prepared_statement_cache_capacity(64);
        let mut store =
            Self { db, in_transaction: false, fails_in: None, refuses_commit: false, is_broken: false };
        weeziq_core::store::open(&mut store, &[Part::Rooms, Part::Visitors])?;
        store.commit()?;
        Ok(store)
    }

    pub(crate) fn commit(&mut self) -> Result<(), SqlError> {
        if !self.in_transaction {
            return Ok(());
        }
        if self.is_broken || std::mem::take(&mut self.refuses_commit) {
            return Err(disk_full());
        }
        self.db.execute_batch("COMMIT").map_err(failed)?;
        self.in_transaction = false;
        Ok(())
    }

    pub(crate) fn rollback(&mut self) {
        if std::mem::take(&mut self.in_transaction) {
            // After some failures SQLite has rolled back by itself.
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    pub(crate) fn heal(&mut self) {
        (self.fails_in, self.refuses_commit, self.is_broken) = (None, false, false);
    }

    fn fails_now(&mut self) -> bool {
        match self.fails_in {
            Some(0) => self.fails_in = None,
            Some(writes) => {
                self.fails_in = Some(writes - 1);
                return self.is_broken;
            }
            None => return self.is_broken,
        }
        true
    }
}

impl Sql for Store {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row),
    ) -> Result<(), SqlError> {
        let is_write = !self.db.prepare_cached(sql).map_err(failed)?.readonly();
        if is_write && self.fails_now() {
            return Err(disk_full());
        }
        // There is but one connection, so what a turn only reads needs no transaction.
        if is_write && !self.in_transaction {
            self.db.execute_batch("BEGIN").map_err(failed)?;
            self.in_transaction = true;
        }
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(row);
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err calls")]
fn failed(error: rusqlite::Error) -> SqlError {
    SqlError(error.to_string())
}

fn disk_full() -> SqlError {
    SqlError("disk full".into())
}
