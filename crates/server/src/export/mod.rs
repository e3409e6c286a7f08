//! `weeziq export` and `weeziq import`: everything that DATA_DIR holds as text that any program reads, and the way back. The
//! service must be stopped; a copy of one that goes on is `weeziq backup`.
//!
//! An export is a folder: `export.json`, a file of JSON Lines for each database, and the bytes of files under their keys. A line
//! is `{"schema": statement}` or `{"table": name, "row": {column: value}}`. What is exported twice is the same twice.

mod files;
mod moving;
mod objects;
pub(crate) mod remote;
mod rows;
mod service;
mod settling;

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::files::Files;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::store::DataDir;

/// What a command has to say when it went well. An error is a sentence for the operator.
type Outcome = Result<String, String>;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    /// The release that wrote it; an older one may not know the schema.
    version: String,
    /// What it was exported from decides what reads it.
    #[serde(default)]
    host: Host,
    /// A room's name decides in which of so many databases it is.
    #[serde(default)]
    shards: usize,
    /// By what an import that was cut off is known when it is begun again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    import: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Host {
    /// `weeziq` on one machine.
    #[default]
    Native,
    Cloudflare,
}

const HEAD: &str = "export.json";
const FORMAT: u32 = 1;
const FILES: &str = "files";

pub(crate) fn export(settings: &Settings, target: &Path) -> Outcome {
    let data_dir = &settings.data_dir;
    if !data_dir.join("shards").exists() {
        return Err(format!("DATA_DIR {} holds no data of WeeziQ's; nothing to export", data_dir.display()));
    }
    if target.exists() {
        return Err(format!("{} is there already; an export never replaces anything", target.display()));
    }
    let data = DataDir::open(data_dir)?;
    // Whole, or not there under its name.
    let partial = with_suffix(target, ".partial");
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", partial.display());
    make_anew(&partial).map_err(failed)?;
    let (mut count, mut keys) = (0, Vec::new());
    for database in data.databases()?.into_iter().filter(|database| database.exists()) {
        Progress::say(&format!("exporting {}", database.display()));
        let db = Connection::open(&database).map_err(|error| unusable(&database, &error))?;
        count += rows::write(&db, &partial.join(lines_of(&database)))
            .map_err(|error| format!("{} was not exported: {error}", database.display()))?;
        keys.extend(rows::file_keys(&db).map_err(|error| unusable(&database, &error))?);
    }
    Progress::say("exporting the files");
    let copied = files::write(&Files::open(settings)?, &keys, &partial.join(FILES))?;
    let (version, shards) = (env!("CARGO_PKG_VERSION").into(), data.shards(1)?);
    let head = Head { format: FORMAT, version, host: Host::Native, shards, import: None };
    let text = serde_json::to_string(&head).map_err(|error| error.to_string())?;
    std::fs::write(partial.join(HEAD), text + "\n").map_err(failed)?;
    std::fs::rename(&partial, target).map_err(failed)?;
    Ok(format!("{}: {count} rows, {copied} files\n", target.display()))
}

pub(crate) fn import(settings: &Settings, from: &Path) -> Outcome {
    let data_dir = &settings.data_dir;
    if std::fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let shown = data_dir.display();
        return Err(format!("DATA_DIR {shown} is not empty; an import never replaces anything"));
    }
    let head = read_head(from)?;
    let data = DataDir::open(data_dir)?;
    if head.host == Host::Cloudflare {
        return settling::settle(settings, &data, from);
    }
    let mut count = 0;
    for lines in lines_in(from)? {
        Progress::say(&format!("importing {}", lines.display()));
        let name = lines.file_stem().map(|stem| with_suffix(Path::new(stem), ".db")).unwrap_or_default();
        let database = data_dir.join(name);
        let db = Connection::open(&database).map_err(|error| unusable(&database, &error))?;
        count += rows::read(db, &lines).map_err(|error| format!("{}: {error}", lines.display()))?;
    }
    Progress::say("importing the files");
    let copied = files::read(&Files::open(settings)?, &from.join(FILES))?;
    // It is what makes a folder one of WeeziQ's, so it comes last.
    data.shards(head.shards)?;
    Ok(format!("{}: {count} rows, {copied} files\n", data_dir.display()))
}

/// What an export that came to nothing has left there would be taken for a part of this one.
fn make_anew(partial: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(partial.join(FILES)),
    }
}

fn read_head(from: &Path) -> Result<Head, String> {
    let path = from.join(HEAD);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}; is that an export?", path.display()))?;
    let head: Head = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    match head.format {
        FORMAT => Ok(head),
        other => {
            Err(format!("{} is of format {other}, and this release reads {FORMAT}; upgrade", path.display()))
        }
    }
}

fn lines_of(database: &Path) -> PathBuf {
    database.file_stem().map(|stem| with_suffix(Path::new(stem), ".jsonl")).unwrap_or_default()
}

fn lines_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        found
            .extend(Some(path).filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")));
    }
    found.sort();
    Ok(found)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn unusable(database: &Path, error: &rusqlite::Error) -> String {
    format!("{}: {error}", database.display())
}
