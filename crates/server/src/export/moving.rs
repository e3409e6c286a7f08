//! From one machine to Cloudflare: an export of a native service put together anew by what each object there holds. Tables and
//! their numbers are the same on both hosts, so a room takes its rows with it as they are.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value as Json, json};
use weeziq_core::ids::{RoomId, UserId, fnv1a};
use weeziq_core::store::{Sql, register};
use weeziq_core::time::UnixMs;

use super::objects::{Heading, Holder};
use super::remote::{DOMAINS, FILES_KNOWN, ROOMS, USERS};
use super::rows::{self, Failed};
use crate::progress::Progress;
use crate::store::Store;

/// What is a room's of a shard's tables: `?1` is its number, `?2` its name.
const OF_ROOM: &[(&str, &str)] = &[
    ("schema_version", "1"),
    ("room", "id = ?1"),
    ("event", "room = ?1"),
    ("read_mark", "room = ?1"),
    ("turn", "room = ?1"),
    ("run", "room = ?1"),
    ("departed", "room = ?1"),
    ("publishing", "room = ?1"),
    ("outbox", "room = ?2"),
    ("file", "room = ?2 AND state IN (1, 2)"),
];

/// What is a site's, of shards and of the settings: `?2` is its name.
const OF_DOMAIN: &[(&str, &str)] = &[
    ("schema_version", "1"),
    ("domain", "name = ?2"),
    ("visitor", "domain = (SELECT id FROM domain WHERE name = ?2)"),
    ("traffic", "domain = ?2"),
    ("inbox_room", "domain = ?2"),
    ("inbox_read", "room IN (SELECT id FROM inbox_room WHERE domain = ?2)"),
    ("document", "domain = ?2"),
    ("passage", "document IN (SELECT id FROM document WHERE domain = ?2)"),
    ("ai_use", "domain = ?2"),
    ("ai_interrupted", "domain = ?2"),
    ("ai_reserved", "domain = ?2"),
];

/// Where sites are named.
const NAMES: &[(&str, &str)] = &[
    ("domain", "SELECT name FROM domain"),
    ("room", "SELECT DISTINCT domain FROM room WHERE domain IS NOT NULL"),
    ("inbox_room", "SELECT DISTINCT domain FROM inbox_room"),
    ("traffic", "SELECT DISTINCT domain FROM traffic"),
    ("domain_settings", "SELECT domain FROM domain_settings"),
    ("document", "SELECT DISTINCT domain FROM document"),
    ("ai_use", "SELECT DISTINCT domain FROM ai_use"),
];

/// KV's, in bytes.
const KEY_BYTES_MAX: usize = 512;

/// Writes the files of an export of Cloudflare's into a new folder, but for the bytes of files. Returns by what name its import is
/// known: the same for the same export, so that one that was cut off is begun again.
pub(super) fn gather(from: &Path, into: &Path) -> Result<String, String> {
    let failed = |error: Failed| format!("{} cannot be moved: {error}", from.display());
    std::fs::create_dir_all(into).map_err(|error| format!("{} cannot be made: {error}", into.display()))?;
    let (mut databases, mut import) = (Vec::new(), String::new());
    for lines in super::lines_in(from)? {
        Progress::say(&format!("reading {}", lines.display()));
        let name = lines.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = into.join(format!("{name}.db"));
        let db = Connection::open(&path).map_err(|error| failed(error.into()))?;
        let count = rows::read(db, &lines).map_err(failed)?;
        let size = std::fs::metadata(&lines).map_err(|error| failed(error.into()))?.len();
        import.push_str(&format!("{name} {count} {size} "));
        databases.push(path);
    }
    let found = Databases::open(&databases, into).map_err(failed)?;
    found.write(into).map_err(failed)?;
    Ok(format!("moved-{:016x}", fnv1a(&import)))
}

struct Databases {
    all: Vec<Connection>,
    /// To make the rows of the register in, which one machine needs none of.
    register: PathBuf,
}

impl Databases {
    fn open(paths: &[PathBuf], into: &Path) -> Result<Self, Failed> {
        let all = paths.iter().map(Connection::open).collect::<Result<_, _>>()?;
        Ok(Self { all, register: into.join("register.db") })
    }

    fn write(&self, into: &Path) -> Result<(), Failed> {
        let mut out = BufWriter::new(File::create(into.join(DOMAINS))?);
        let mut domains = BTreeSet::new();
        for db in &self.all {
            for (table, statement) in NAMES {
                if db.table_exists(None, *table)? {
                    domains.extend(names(db, statement)?);
                }
            }
        }
        for domain in domains {
            self.write_domain(&domain, &mut out)?;
        }
        out.flush()?;
        let mut out = BufWriter::new(File::create(into.join(ROOMS))?);
        let mut files = BufWriter::new(File::create(into.join(FILES_KNOWN))?);
        let mut users = BufWriter::new(File::create(into.join(USERS))?);
        for db in &self.all {
            if db.table_exists(None, "room")? {
                let mut statement = db.prepare("SELECT id, name FROM room ORDER BY name")?;
                let mut rooms = statement.query([])?;
                while let Some(row) = rooms.next()? {
                    let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
                    head(&mut out, Holder::Room(name.clone()))?;
                    rows::write_some(db, &mut out, OF_ROOM, (id, &name))?;
                }
            }
            if db.table_exists(None, "file")? {
                write_files(db, &mut files)?;
            }
            if db.table_exists(None, "proven_user")? {
                for user in names(db, "SELECT user FROM proven_user")? {
                    writeln!(users, "{}", Json::from(key_of(&user)))?;
                }
            }
        }
        out.flush()?;
        files.flush()?;
        Ok(users.flush()?)
    }

    fn write_domain(&self, domain: &str, out: &mut impl Write) -> Result<(), Failed> {
        head(out, Holder::Domain(domain.to_owned()))?;
        let mut settings = None;
        let mut written = BTreeSet::new();
        for db in &self.all {
            // What one machine has in each of its shards, an object has once.
            let tables: Vec<_> =
                OF_DOMAIN.iter().copied().filter(|(table, _)| !written.contains(table)).collect();
            let is_there = |table: &str| db.table_exists(None, table);
            if !is_there("room")? && !is_there("domain_settings")? {
                continue;
            }
            if is_there("domain")? && !holds(db, domain)? {
                continue;
            }
            for (table, _) in &tables {
                if is_there(table)? {
                    written.insert(*table);
                }
            }
            rows::write_some(db, out, &tables, (0, domain))?;
            if is_there("domain_settings")? {
                let kept = "SELECT settings FROM domain_settings WHERE domain = ?";
                settings = db.query_row(kept, [domain], |row| row.get::<_, String>(0)).optional()?;
            }
        }
        self.write_register(domain, out)?;
        if let Some(settings) = settings {
            writeln!(out, "{}", json!({ "settings": settings }))?;
        }
        Ok(())
    }

    /// Who began which conversation, for those who erase.
    fn write_register(&self, domain: &str, out: &mut impl Write) -> Result<(), Failed> {
        let mut store = Store::open(&self.register)?;
        register::open(&mut store)?;
        store.run("DELETE FROM conversation", &[])?;
        for db in &self.all {
            if !db.table_exists(None, "room")? {
                continue;
            }
            let mut statement = db.prepare(
                "SELECT name, owner, created_at, (SELECT max(started_at) FROM run WHERE run.room = room.id) FROM room
                    WHERE domain = ? AND EXISTS (SELECT 1 FROM run WHERE run.room = room.id)",
            )?;
            let mut begun = statement.query([domain])?;
            while let Some(row) = begun.next()? {
                let (name, owner): (String, Option<String>) = (row.get(0)?, row.get(1)?);
                let owner = owner.as_deref().and_then(|owner| owner.split_once(' ')).map(|(_, user)| user);
                let (room, user) = (RoomId::known(&name), owner.and_then(UserId::parse));
                for at in [row.get::<_, i64>(2)?, row.get::<_, i64>(3)?] {
                    register::note(&mut store, &room, user.as_ref(), UnixMs(at))?;
                }
            }
        }
        store.commit()?;
        drop(store);
        rows::write_some(&Connection::open(&self.register)?, out, &[("conversation", "1")], (0, domain))
    }
}

/// Whether this shard is the one that has the site's visitors, or its list of rooms.
fn holds(db: &Connection, domain: &str) -> Result<bool, Failed> {
    for (table, column) in [("domain", "name"), ("inbox_room", "domain"), ("traffic", "domain")] {
        if db.table_exists(None, table)? {
            let found = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} = ?)");
            if db.query_row(&found, [domain], |row| row.get(0))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What R2 is to know of each file that can be had.
fn write_files(db: &Connection, out: &mut impl Write) -> Result<(), Failed> {
    let mut statement = db.prepare(
        "SELECT key, size, content_type, name, room, domain, user_id, sha256, width, height FROM file
            WHERE state IN (1, 2) ORDER BY id",
    )?;
    let mut files = statement.query([])?;
    while let Some(row) = files.next()? {
        let mut about = Map::new();
        for (at, name) in [(3, "name"), (4, "roomId"), (5, "domainId"), (6, "userId"), (7, "sha256")] {
            about.extend(row.get::<_, Option<String>>(at)?.map(|value| (name.to_owned(), value.into())));
        }
        for (at, name) in [(8, "width"), (9, "height")] {
            let value = row.get::<_, Option<i64>>(at)?;
            about.extend(value.map(|value| (name.to_owned(), value.to_string().into())));
        }
        let (key, size, kind): (String, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        writeln!(out, "{}", json!({ "key": key, "size": size, "contentType": kind, "about": about }))?;
    }
    Ok(())
}

/// As the Worker keeps in KV that a user was proved.
fn key_of(user: &str) -> String {
    let key = format!("user:{user}");
    if key.len() <= KEY_BYTES_MAX { key } else { format!("user#{:016x}", fnv1a(user)) }
}

fn head(out: &mut impl Write, holder: Holder) -> Result<(), Failed> {
    serde_json::to_writer(&mut *out, &Heading { holder })?;
    Ok(out.write_all(b"\n")?)
}

fn names(db: &Connection, statement: &str) -> Result<Vec<String>, Failed> {
    let mut statement = db.prepare(statement)?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}
