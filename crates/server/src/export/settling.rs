//! From Cloudflare to one machine: an export of a service there, read into DATA_DIR. What each object numbers for itself is numbered
//! anew, as many share a database here.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value as Json};
use weeziq_core::store::{self, Part};

use super::objects::{Holder, Objects, lines_in};
use super::remote::{DOMAINS, FILES_KNOWN, ROOMS, USERS};
use super::rows::{self, Failed, Line};
use super::{FILES, Outcome, files};
use crate::files::Files;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::shard::mailbox::shard_of;
use crate::shard::wall_clock;
use crate::store::{DataDir, Store};
use crate::{domains, proven};

/// Tables whose rows others name by their number, and how those call it.
const NAMED: &[(&str, &[(&str, &str)])] = &[
    (
        "room",
        &[
            ("event", "room"),
            ("read_mark", "room"),
            ("turn", "room"),
            ("run", "room"),
            ("departed", "room"),
            ("publishing", "room"),
        ],
    ),
    ("domain", &[("visitor", "domain")]),
    ("inbox_room", &[("inbox_read", "room")]),
    ("document", &[("passage", "document")]),
];

/// What a site has beside its rooms and visitors is one database here.
const OF_SETTINGS: &[&str] = &["document", "passage", "ai_use", "ai_interrupted", "ai_reserved"];
/// What one machine needs no rows for.
const LEFT: &[&str] = &["conversation"];
/// Numbers that mean something elsewhere.
const KEPT: &[&str] = &["ai_reserved"];

/// As it is kept in KV that a token has proved a user.
const PROVED: &str = "user:";

pub(super) fn settle(settings: &Settings, data: &DataDir, from: &Path) -> Outcome {
    let failed = |error: Failed| format!("{} cannot be read in: {error}", from.display());
    let known = lines_in(&from.join(FILES_KNOWN))?.collect::<Result<Vec<_>, _>>()?;
    // Here a file's key is made so that it leads to the database of its room. Keys that were made elsewhere do that where there is one.
    let shards = if known.is_empty() { settings.shards() } else { 1 };
    let mut homes = Homes::open(data, shards).map_err(failed)?;
    let mut count = 0;
    for name in [DOMAINS, ROOMS] {
        let lines = from.join(name);
        let bytes = std::fs::metadata(&lines).map_err(|error| failed(error.into()))?.len();
        Progress::say(&format!("importing {}", lines.display()));
        let mut seen = 0;
        for object in Objects::of(lines_in(&lines)?) {
            let (holder, lines) = object?;
            count += homes.take(&holder, &lines).map_err(|error| format!("{}: {error}", holder.name()))?;
            seen += super::objects::size_of(&lines);
            Progress::at(seen.min(bytes), bytes.max(1));
        }
    }
    homes.take_files(&known).map_err(failed)?;
    homes.take_users(&from.join(USERS)).map_err(failed)?;
    homes.commit().map_err(failed)?;
    Progress::say("importing the files");
    let copied = files::read(&Files::open(settings)?, &from.join(FILES))?;
    // It is what makes a folder one of WeeziQ's, so it comes last.
    data.shards(shards)?;
    Ok(format!("{}: {count} rows, {copied} files\n", settings.data_dir.display()))
}

struct Homes {
    shards: Vec<Connection>,
    settings: Connection,
    access: Connection,
}

impl Homes {
    /// Each in a transaction that is committed when all of it is there.
    fn open(data: &DataDir, shards: usize) -> Result<Self, Failed> {
        let shard = |shard| {
            let path = data.shard_file(shard);
            let mut made = Store::open(&path)?;
            store::open(&mut made, &[Part::Rooms, Part::Visitors])?;
            store::files::open(&mut made)?;
            made.commit()?;
            drop(made);
            begun(&path)
        };
        let shards = (0..shards).map(shard).collect::<Result<_, Failed>>()?;
        let (settings, access) = (begun(&data.settings_file())?, begun(&data.access_file())?);
        settings.execute_batch(domains::TABLE)?;
        access.execute_batch(proven::TABLE)?;
        Ok(Self { shards, settings, access })
    }

    fn commit(self) -> Result<(), Failed> {
        for db in self.shards.iter().chain([&self.settings, &self.access]) {
            db.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    fn take(&mut self, holder: &Holder, lines: &[String]) -> Result<u64, Failed> {
        let shard = shard_of(holder.name(), self.shards.len());
        let shard = self.shards.get(shard).ok_or("there is no such shard")?;
        let of = |table: &str| if OF_SETTINGS.contains(&table) { &self.settings } else { shard };
        let parsed: Vec<Line> =
            lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
        let (mut numbers, mut others, mut count) = (HashMap::new(), Vec::new(), 0);
        for line in parsed {
            match line {
                Line::Schema { schema } => {
                    let Some((made, table)) = rows::made_by(&schema) else {
                        return Err("an unknown schema".into());
                    };
                    if !LEFT.contains(&table.as_str()) {
                        of(&table).execute_batch(&schema.replacen(
                            made,
                            &format!("{made}IF NOT EXISTS "),
                            1,
                        ))?;
                    }
                }
                Line::Settings { settings } => {
                    let into = "INSERT INTO domain_settings (domain, settings) VALUES (?, ?)";
                    self.settings.execute(into, [holder.name(), &settings])?;
                }
                Line::Row { table, row } if table == "schema_version" => check_version(shard, &row)?,
                Line::Row { table, .. } if LEFT.contains(&table.as_str()) => {}
                Line::Row { table, mut row } => {
                    count += 1;
                    if !NAMED.iter().any(|(named, _)| *named == table) {
                        others.push((table, row));
                        continue;
                    }
                    let old = row.remove("id").and_then(|id| id.as_i64());
                    rows::insert_row(of(&table), &table, row)?;
                    numbers.insert((table.clone(), old), of(&table).last_insert_rowid());
                }
            }
        }
        for (table, mut row) in others {
            if !KEPT.contains(&table.as_str()) {
                row.remove("id");
            }
            renumber(&table, &mut row, &numbers)?;
            rows::insert_row(of(&table), &table, row)?;
        }
        Ok(count)
    }

    /// Those of no room, of which nothing but the bucket knows there.
    fn take_files(&self, known: &[String]) -> Result<(), Failed> {
        for line in known {
            let known: Json = serde_json::from_str(line)?;
            let text = |at: &str| known.pointer(at).and_then(Json::as_str);
            let number = |at: &str| text(at).and_then(|number| number.parse::<i64>().ok());
            let Some(key) = text("/key").filter(|_| text("/about/roomId").is_none()) else { continue };
            let shard = self.shards.get(shard_of(key, self.shards.len())).ok_or("there is no such shard")?;
            shard.execute(
                "INSERT INTO file (key, state, at, domain, user_id, name, size, content_type, sha256, width, height)
                    VALUES (?, 2, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rusqlite::params![
                    key,
                    wall_clock().0,
                    text("/about/domainId"),
                    text("/about/userId"),
                    text("/about/name").unwrap_or("file"),
                    known.get("size").and_then(Json::as_i64),
                    text("/contentType").unwrap_or_default(),
                    text("/about/sha256").unwrap_or_default(),
                    number("/about/width"),
                    number("/about/height"),
                ],
            )?;
        }
        Ok(())
    }

    fn take_users(&self, from: &Path) -> Result<(), Failed> {
        for line in lines_in(from)? {
            let key: String = serde_json::from_str(&line?)?;
            // Names too long for a key of KV are kept there as a number, of which no name can be made.
            if let Some(user) = key.strip_prefix(PROVED) {
                self.access.execute("INSERT OR IGNORE INTO proven_user (user) VALUES (?)", [user])?;
            }
        }
        Ok(())
    }
}

fn begun(path: &Path) -> Result<Connection, Failed> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN")?;
    Ok(db)
}

fn renumber(
    table: &str,
    row: &mut Map<String, Json>,
    numbers: &HashMap<(String, Option<i64>), i64>,
) -> Result<(), Failed> {
    for (named, by) in NAMED {
        for (_, column) in by.iter().filter(|(of, _)| *of == table) {
            let old = row.get(*column).and_then(Json::as_i64);
            let number = numbers.get(&((*named).to_owned(), old));
            let number = number.ok_or_else(|| format!("a row of {table} is of no {named}"))?;
            row.insert((*column).to_owned(), (*number).into());
        }
    }
    Ok(())
}

/// Tables are the same in one release only.
fn check_version(db: &Connection, row: &Map<String, Json>) -> Result<(), Failed> {
    let here =
        db.query_row("SELECT max(version) FROM schema_version", [], |row| row.get::<_, i64>(0)).optional()?;
    match row.get("version").and_then(Json::as_i64) {
        version if version == here => Ok(()),
        _ => Err("it was exported by another release; export it with the release that is to read it".into()),
    }
}
