//! SQLite on disk, one file a shard, in the folder that one process owns at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use weeziq_core::store::{Row, Sql, SqlError, Value};

/// The folder that holds everything. Dropping it lets the next process in.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be and locks it. The error is a sentence for the operator.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        std::fs::create_dir_all(path).map_err(|error| {
            format!("DATA_DIR {shown} cannot be made: {error}; choose a folder that this user may write")
        })?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(
            |error| {
                format!(
                    "DATA_DIR {shown} cannot be written: {error}; choose a folder that this user may write"
                )
            },
        )?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "DATA_DIR {shown} is in use by another weeziq; stop that one or choose another folder"
            )),
            Err(TryLockError::Error(error)) => Err(format!("DATA_DIR {shown} cannot be locked: {error}")),
        }
    }

    /// Whether there was data here before.
    pub(crate) fn is_known(&self) -> bool {
        self.path.join("shards").exists()
    }

    /// The number of shards is fixed when the folder is made, because a room's name decides its file.
    pub(crate) fn shards(&self, wanted: usize) -> Result<usize, String> {
        let path = self.path.join("shards");
        let refuse = |why: String| format!("{} {why}", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(count @ 1..=SHARDS_MAX) => Ok(count),
                _ => Err(refuse(
                    "is damaged: it must hold the number of the shard-*.db files beside it".into(),
                )),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::write(&path, format!("{wanted}\n"))
                    .map_err(|error| refuse(format!("cannot be written: {error}")))?;
                Ok(wanted)
            }
            Err(error) => Err(refuse(format!("cannot be read: {error}"))),
        }
    }

    /// Every database that belongs here.
    pub(crate) fn databases(&self) -> Result<Vec<PathBuf>, String> {
        let shards = if self.is_known() { self.shards(1)? } else { 0 };
        let shards = (0..shards).map(|shard| self.shard_file(shard));
        // Made where there is a key for tokens.
        let access = Some(self.access_file()).filter(|file| file.exists());
        Ok(shards.chain([self.settings_file()]).chain(access).collect())
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.path.join("settings.db")
    }

    pub(crate) fn access_file(&self) -> PathBuf {
        self.path.join("access.db")
    }

    pub(crate) fn shard_file(&self, shard: usize) -> PathBuf {
        self.path.join(format!("shard-{shard}.db"))
    }
}

/// Every database directly in a folder, whoever made it, in the order of their names.
pub(crate) fn databases_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", folder.display());
    let mut databases = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        databases
            .extend(Some(path).filter(|path| path.extension().is_some_and(|extension| extension == "db")));
    }
    databases.sort();
    Ok(databases)
}

/// Why a database cannot be used, with what to do about it where that is known.
pub(crate) fn unusable(database: &Path, error: &SqlError) -> String {
    let advice = if error.0.contains("disk is full") { "; make room on that disk" } else { "" };
    format!("{}: {error}{advice}", database.display())
}

/// A connection id holds the shard in eight bits.
pub(crate) const SHARDS_MAX: usize = 64;

/// Of SQLite's machine, some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// One shard's connection. Opens a transaction with the first statement of a turn; the shard commits it.
pub(crate) struct Store {
    db: Connection,
    in_transaction: bool,
    wrote: bool,
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Self, SqlError> {
        let db = Connection::open(path).map_err(failed)?;
        db.set_prepared_statement_cache_capacity(64);
        // What was erased is overwritten and not left in pages that nobody reads.
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;
            PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON;";
        db.execute_batch(pragmas).map_err(failed)?;
        // SQLite would wait only where nothing has been read yet; `with_lock` waits everywhere.
        db.busy_timeout(Duration::ZERO).map_err(failed)?;
        // Or each statement with `LIMIT ?` is compiled anew whenever a number is bound to it.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
        Ok(Self { db, in_transaction: false, wrote: false })
    }

    /// For what is written so seldom that each commit may wait for the disk.
    pub(crate) fn open_synced(path: &Path) -> Result<Self, SqlError> {
        let store = Self::open(path)?;
        store
            .db
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 100;")
            .map_err(failed)?;
        Ok(store)
    }

    pub(crate) fn has_table(&self, name: &str) -> Result<bool, SqlError> {
        self.db.table_exists(None, name).map_err(failed)
    }

    /// Only reads; what it has not read by then is given up: None. (A write that is interrupted takes its transaction with it.)
    pub(crate) fn read_within<T>(
        &mut self,
        at_most: Duration,
        reading: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let give_up_at = Instant::now() + at_most;
        let is_over = Arc::new(AtomicBool::new(false));
        let noted = is_over.clone();
        let look = move || {
            let is_over = Instant::now() >= give_up_at;
            noted.store(is_over, Ordering::Relaxed);
            is_over
        };
        self.db.progress_handler(STEPS_BETWEEN_LOOKS, Some(look)).map_err(failed)?;
        let read = reading(self);
        self.db.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
        match read {
            Err(_) if is_over.load(Ordering::Relaxed) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Whether a commit would have something to keep.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    pub(crate) fn commit(&mut self) -> Result<(), SqlError> {
        if self.in_transaction {
            self.control("COMMIT")?;
            (self.in_transaction, self.wrote) = (false, false);
        }
        Ok(())
    }

    pub(crate) fn rollback(&mut self) {
        // After some failures SQLite has rolled back by itself; saying it again is an error without meaning.
        let _ = self.control("ROLLBACK");
        (self.in_transaction, self.wrote) = (false, false);
    }

    /// Moves the log into the database and begins the log anew. Blocks whoever calls for as long as that takes.
    pub(crate) fn restart_log(&self) -> Result<(), SqlError> {
        self.db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).map_err(failed)
    }

    /// Moves the log into the database and leaves none.
    pub(crate) fn fold_log(&self) -> Result<(), SqlError> {
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }

    fn control(&self, statement: &str) -> Result<(), SqlError> {
        let mut statement = self.db.prepare_cached(statement).map_err(failed)?;
        with_lock(|| statement.execute([]).map(|_| ()))
    }
}

/// The file that a commit is in before a checkpoint.
pub(crate) fn log_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Copies what is in the log into the database on a connection of its own, beside the writer and without stopping
/// it. To be called again and again from another thread.
pub(crate) struct Checkpointer(Connection);

impl Checkpointer {
    pub(crate) fn open(database: &Path) -> Result<Self, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(database, flags).map_err(failed)?;
        db.busy_timeout(Duration::ZERO).map_err(failed)?;
        Ok(Self(db))
    }

    pub(crate) fn run(&self) -> Result<(), SqlError> {
        self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)
    }
}

impl Sql for Store {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row),
    ) -> Result<(), SqlError> {
        if !self.in_transaction {
            self.control("BEGIN")?;
            self.in_transaction = true;
        }
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        self.wrote |= !statement.readonly();
        for (at, value) in params.iter().enumerate() {
            statement.raw_bind_parameter(at + 1, value).map_err(failed)?;
        }
        // A lock is wanted before the first row, so none is told twice.
        with_lock(|| {
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                each(row);
            }
            Ok(())
        })
    }

    fn run_soft(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<(), SqlError> {
        let wrote = self.wrote;
        let done = self.run(sql, params);
        self.wrote = wrote;
        done
    }
}

/// A backup holds the lock for some milliseconds (`backup/moment.rs`), and nothing else ever does.
const LOCKED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_micros(250);

/// Does it, as soon as nobody else holds the lock that it takes. Blocks until then, as a slow disk would.
fn with_lock(mut doing: impl FnMut() -> rusqlite::Result<()>) -> Result<(), SqlError> {
    let mut since = None;
    loop {
        match doing() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                if since.get_or_insert_with(Instant::now).elapsed() > LOCKED_WITHIN {
                    return Err(failed(error));
                }
                std::thread::sleep(LOOK_AGAIN);
            }
            done => return done.map_err(failed),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err calls")]
fn failed(error: rusqlite::Error) -> SqlError {
    SqlError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_takes_too_long_is_given_up_and_costs_nothing_else() {
        let path = std::env::temp_dir().join(format!("weeziq-patience-{}.db", std::process::id()));
        let mut store = Store::open(&path).unwrap();
        store.run("CREATE TABLE n (n INTEGER)", &[]).unwrap();
        store.run("INSERT INTO n VALUES (1)", &[]).unwrap();
        let endless =
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n";
        let read = |store: &mut Store, at_most, statement| {
            let mut found = None;
            let read = store.read_within(at_most, |store| {
                store.query(statement, &[], &mut |row| found = Some(row.int(0)))
            });
            read.unwrap().and(found)
        };
        assert_eq!(read(&mut store, Duration::from_millis(20), endless), None);
        store.commit().unwrap();
        assert_eq!(read(&mut store, Duration::from_secs(60), "SELECT n FROM n"), Some(1));
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
