//! Whether the embedded databases are whole: looked at before anything is built on them, because a damaged one that is
//! written to loses more.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::DataDir;

/// A larger file is not read to its end at each start; `weeziq check` does. A restart must not take minutes.
const AT_START_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const TO_ITS_END: &str = "PRAGMA integrity_check(10)";
/// Whoever waits for more than that wants to know for what.
const WORTH_TELLING_BYTES: u64 = 64 * 1024 * 1024;

/// Before a shard or the settings are opened. The error is a sentence for the operator, with ways out.
pub(crate) fn at_start(database: &Path) -> Result<(), String> {
    let bytes = std::fs::metadata(database).map_or(0, |file| file.len());
    let file = database.display();
    if bytes > AT_START_BYTES_MAX {
        tracing::info!(%file, bytes, "too large to be checked whole at each start; `weeziq check` does that");
        return can_be_opened(database);
    }
    if bytes > WORTH_TELLING_BYTES {
        tracing::info!(%file, bytes, "checking the database");
    }
    look(database, "PRAGMA quick_check(1)")
}

pub(crate) fn is_empty(database: &Path) -> bool {
    std::fs::metadata(database).map_or(true, |file| file.len() == 0)
}

/// All that a folder holds, to the last row and index. What it found, a line a file.
pub(crate) fn all(data_dir: &Path) -> Result<String, String> {
    if !data_dir.exists() {
        return Err(format!("DATA_DIR {} does not exist; there is nothing to check", data_dir.display()));
    }
    let data = DataDir::open(data_dir)?;
    let mut databases: Vec<PathBuf> = data.databases()?;
    databases.retain(|database| database.exists());
    let mut damaged = Vec::new();
    let mut report = String::new();
    for database in databases {
        match look(&database, TO_ITS_END) {
            Ok(()) => report.push_str(&format!("{}: whole\n", database.display())),
            Err(why) => damaged.push(why),
        }
    }
    if damaged.is_empty() { Ok(report) } else { Err(format!("{report}{}", damaged.join("\n"))) }
}

/// That it is a database, and that this user may read it; not that it is whole.
pub(crate) fn can_be_opened(database: &Path) -> Result<(), String> {
    look(database, "PRAGMA schema_version")
}

/// A copy, without so much as making a file beside it.
pub(crate) fn copy(database: &Path) -> Result<(), String> {
    let escaped = database.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags);
    judge(database, opened.and_then(|db| read(&db, TO_ITS_END)))
}

fn look(database: &Path, pragma: &str) -> Result<(), String> {
    if !database.exists() {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(database, flags).and_then(|db| {
        // Closing must not write what waits in the log into a database that may be damaged.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        read(&db, pragma)
    });
    judge(database, found)
}

fn read(db: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare(pragma)?;
    let rows =
        statement.query_map([], |row| row.get_ref(0)?.as_str().map(str::to_owned).or(Ok("ok".into())))?;
    rows.collect()
}

fn judge(database: &Path, found: rusqlite::Result<Vec<String>>) -> Result<(), String> {
    match found {
        Ok(rows) if rows.iter().all(|row| row == "ok") => Ok(()),
        Ok(rows) => Err(damaged(database, &rows.join("; "))),
        Err(error) => Err(match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                damaged(database, &error.to_string())
            }
            _ => format!(
                "{} cannot be read: {error}; check its owner, its permissions and the disk",
                database.display()
            ),
        }),
    }
}

fn damaged(database: &Path, how: &str) -> String {
    let file = database.display();
    format!(
        "{file} is damaged and was not touched: {how}\n\
         Keep a copy of the whole folder first. Then one of these:\n\
         - restore a backup of {file}, and remove {file}-wal and {file}-shm;\n\
         - save what can be read: sqlite3 {file} .recover | sqlite3 recovered.db, and put recovered.db in its place;\n\
         - move {file}, {file}-wal and {file}-shm away, to begin without what was in them."
    )
}
