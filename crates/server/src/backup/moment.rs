//! One moment of several databases that another process writes to.
//!
//! Each is a file of its own, with its own transactions, so copying one after the other would show each at another time: an
//! answer in one room, and not yet the question in another. So for a moment, some milliseconds, every database's write lock is
//! held here, and while nobody can commit, a read transaction is begun on each. Then the locks are let go, and what the read
//! transactions see stays as it was for as long as the copying takes (SQLite's WAL: https://www.sqlite.org/isolation.html).
//! The service waits for the lock as it waits for the disk (`store.rs`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// What has been held that long is let go and tried again: a service must not stand still for a backup.
const HELD_MAX: Duration = Duration::from_millis(250);
/// In all. A service that leaves no gap in so long has no moment to spare.
const WITHIN: Duration = Duration::from_secs(30);
/// Between looks at a lock; the gaps between a busy shard's transactions are not much longer.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

pub(super) struct Moment {
    /// In the order of the databases, each within its read transaction.
    pub(super) readers: Vec<Connection>,
    /// For how long nobody could write.
    pub(super) held: Duration,
}

impl Moment {
    pub(super) fn of(databases: &[PathBuf]) -> Result<Self, String> {
        Self::within(WITHIN, databases)
    }

    fn within(patience: Duration, databases: &[PathBuf]) -> Result<Self, String> {
        let lockers: Vec<_> = databases.iter().map(open).collect::<Result<_, _>>()?;
        let readers: Vec<_> = databases.iter().map(open).collect::<Result<_, _>>()?;
        let give_up_at = Instant::now() + patience;
        while Instant::now() < give_up_at {
            if let Some(held) = hold(&lockers, &readers, give_up_at)? {
                return Ok(Self { readers: readers.into_iter().map(|(_, db)| db).collect(), held });
            }
            std::thread::sleep(HELD_MAX);
        }
        Err(format!(
            "the service wrote without a pause for {} s, so there was no one moment to copy; try again when it has less to do",
            patience.as_secs()
        ))
    }
}

type Opened<'a> = (&'a Path, Connection);

fn open(database: &PathBuf) -> Result<Opened<'_>, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(database, flags).and_then(|db| {
        db.busy_timeout(Duration::ZERO)?;
        // Where no service runs, the last to close would otherwise move the log into the database, that is, write to it.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Reads the schema, which takes its time, before anybody has to wait.
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(db)
    });
    opened.map(|db| (database.as_path(), db)).map_err(|error| refused(database, &error))
}

/// None: it took too long, and nothing is held any more.
fn hold(
    lockers: &[Opened<'_>],
    readers: &[Opened<'_>],
    give_up_at: Instant,
) -> Result<Option<Duration>, String> {
    let mut began: Option<Instant> = None;
    for (database, db) in lockers {
        loop {
            match db.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => break,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
                Err(error) => return Err(refused(database, &error)),
            }
            // Before the first is held nobody has to wait, so for that one there is all the time that there is.
            let is_over = match began {
                Some(began) => began.elapsed() > HELD_MAX,
                None => Instant::now() >= give_up_at,
            };
            if is_over {
                let_go(lockers);
                return Ok(None);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        began.get_or_insert_with(Instant::now);
    }
    for (database, db) in readers {
        // A transaction reads from its first statement on, not from its BEGIN.
        db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
            .map_err(|error| refused(database, &error))?;
    }
    let_go(lockers);
    Ok(Some(began.map(|began| began.elapsed()).unwrap_or_default()))
}

/// Nothing was written under them, so there is nothing to undo; those that were not got have no transaction to end.
fn let_go(lockers: &[Opened<'_>]) {
    for (_, db) in lockers {
        let _ = db.execute_batch("ROLLBACK");
    }
}

fn refused(database: &Path, error: &rusqlite::Error) -> String {
    format!(
        "{} cannot be read: {error}; run this as the user that the service runs as, on its machine",
        database.display()
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_lock_that_is_never_let_go_is_not_waited_for_for_ever() {
        let folder = std::env::temp_dir().join(format!("weeziq-locked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let databases = [folder.join("a.db")];
        let db = Connection::open(&databases[0]).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE n (n INTEGER); BEGIN IMMEDIATE;").unwrap();
        let refused = Moment::within(Duration::from_millis(20), &databases).err().unwrap();
        assert!(refused.contains("no one moment"), "{refused}");
        db.execute_batch("COMMIT").unwrap();
        assert!(Moment::of(&databases).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// One writer that puts the same number into two databases, the first one first. In one moment of both the second is
    /// never ahead, and never more than one behind.
    #[test]
    fn what_is_seen_of_several_databases_was_so_at_one_time() {
        let folder = std::env::temp_dir().join(format!("weeziq-moment-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let databases = ["a.db", "b.db"].map(|name| folder.join(name));
        let mut writers = databases.each_ref().map(|database| {
            let db = Connection::open(database).unwrap();
            db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE n (n INTEGER); INSERT INTO n VALUES (0);")
                .unwrap();
            db
        });
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for db in &mut writers {
                        db.execute("UPDATE n SET n = n + 1", []).unwrap();
                    }
                }
            });
            let mut last = 0;
            for _ in 0..20 {
                let moment = Moment::of(&databases).unwrap();
                let read = |db: &Connection| {
                    db.query_row("SELECT n FROM n", [], |row| row.get::<_, i64>(0)).unwrap()
                };
                let seen: Vec<i64> = moment.readers.iter().map(read).collect();
                assert!(seen[0] - seen[1] == 0 || seen[0] - seen[1] == 1, "{seen:?}");
                assert!(moment.held < HELD_MAX * 2, "{:?}", moment.held);
                last = seen[0];
            }
            stop.store(true, Ordering::Relaxed);
            assert!(last > 0, "somebody wrote meanwhile");
        });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
