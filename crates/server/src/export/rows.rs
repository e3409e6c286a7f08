//! A database as lines, whatever tables it has: each that is added later is exported with the rest.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use weeziq_core::files::FileKey;

use crate::progress::Progress;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Schema {
        schema: String,
    },
    Row {
        table: String,
        row: Map<String, Json>,
    },
    /// Of a site on Cloudflare, whose settings are in no table.
    Settings {
        settings: String,
    },
}

struct Table {
    name: String,
    sql: String,
    has_rowid: bool,
    columns: usize,
}

impl Table {
    /// The same whenever it is asked for.
    fn order(&self) -> String {
        match self.has_rowid {
            true => "rowid".into(),
            false => (1..=self.columns).map(|column| column.to_string()).collect::<Vec<_>>().join(", "),
        }
    }
}

pub(super) type Failed = Box<dyn std::error::Error>;

const TELL_EVERY: u64 = 1_000;

/// Returns how many rows there were.
pub(super) fn write(db: &Connection, into: &Path) -> Result<u64, Failed> {
    // All of one moment.
    let db = db.unchecked_transaction()?;
    let mut out = BufWriter::new(File::create(into)?);
    let tables = tables(&db)?;
    let mut all = 0;
    for table in &tables {
        all += db.query_row(&format!("SELECT count(*) FROM {}", quoted(&table.name)), [], |row| {
            row.get::<_, i64>(0)
        })?;
        put(&mut out, &Line::Schema { schema: table.sql.clone() })?;
    }
    let mut done = 0;
    for table in &tables {
        let order = table.order();
        let mut statement = db.prepare(&format!("SELECT * FROM {} ORDER BY {order}", quoted(&table.name)))?;
        let columns: Vec<String> = statement.column_names().map(Into::into).collect();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            put(&mut out, &Line::Row { table: table.name.clone(), row: fields(row, &columns)? })?;
            done += 1;
            if done % TELL_EVERY == 0 {
                Progress::at(done, all as u64);
            }
        }
    }
    // Behind the rows, which go in faster without.
    for schema in others(&db)? {
        put(&mut out, &Line::Schema { schema })?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(done)
}

/// Of each of these tables that there is, how it is made and the rows of which its words are true: `?1` is a number, `?2` a name.
pub(super) fn write_some(
    db: &Connection,
    out: &mut impl Write,
    tables: &[(&str, &str)],
    (number, name): (i64, &str),
) -> Result<(), Failed> {
    let known = self::tables(db)?;
    let wanted = |table: &&Table| tables.iter().any(|(name, _)| *name == table.name);
    for table in known.iter().filter(wanted) {
        put(out, &Line::Schema { schema: table.sql.clone() })?;
    }
    for table in known.iter().filter(wanted) {
        for (_, which) in tables.iter().filter(|(name, _)| *name == table.name) {
            let order = table.order();
            let rows = format!(
                "SELECT * FROM {} WHERE ({which}) AND ?1 IS NOT NULL AND ?2 IS NOT NULL ORDER BY {order}",
                quoted(&table.name)
            );
            let mut statement = db.prepare_cached(&rows)?;
            let columns: Vec<String> = statement.column_names().map(Into::into).collect();
            let mut rows = statement.query((number, name))?;
            while let Some(row) = rows.next()? {
                put(out, &Line::Row { table: table.name.clone(), row: fields(row, &columns)? })?;
            }
        }
    }
    for (table, schema) in indexes(db)? {
        if tables.iter().any(|(name, _)| *name == table) {
            put(out, &Line::Schema { schema })?;
        }
    }
    Ok(())
}

/// All of it, or nothing.
pub(super) fn read(mut db: Connection, from: &Path) -> Result<u64, Failed> {
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    let bytes = std::fs::metadata(from)?.len().max(1);
    let transaction = db.transaction()?;
    let (mut count, mut seen) = (0, 0);
    let mut statements: HashMap<String, String> = HashMap::new();
    for (at, text) in BufReader::new(File::open(from)?).lines().enumerate() {
        let text = text?;
        seen += text.len() as u64 + 1;
        let line: Line = serde_json::from_str(&text).map_err(|error| format!("line {}: {error}", at + 1))?;
        let done = match line {
            Line::Schema { schema } => transaction.execute_batch(&schema),
            Line::Settings { .. } => Ok(()), // no database here has any
            Line::Row { table, row } => {
                count += 1;
                insert(&transaction, &mut statements, &table, row)
            }
        };
        done.map_err(|error| format!("line {}: {error}", at + 1))?;
        if count % TELL_EVERY == 1 {
            Progress::at(seen, bytes);
        }
    }
    transaction.commit()?;
    Ok(count)
}

/// Of the files that can be had.
pub(super) fn file_keys(db: &Connection) -> rusqlite::Result<Vec<FileKey>> {
    if !db.table_exists(None, "file")? {
        return Ok(Vec::new());
    }
    let mut statement = db.prepare("SELECT key FROM file WHERE state IN (1, 2) ORDER BY id")?;
    let keys = statement.query_map([], |row| row.get::<_, String>(0))?;
    keys.filter_map(|key| key.map(|key| FileKey::parse(&key)).transpose()).collect()
}

/// All but what a service makes anew of the rest when it starts: the index of what was said, and where it stands.
fn tables(db: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut statement = db.prepare(
        "SELECT list.name, schema.sql, list.wr, list.ncol FROM pragma_table_list AS list
            JOIN sqlite_schema AS schema ON schema.name = list.name AND schema.type = 'table'
            WHERE list.schema = 'main' AND list.type = 'table' AND list.name NOT GLOB 'sqlite_*'
            AND list.name NOT GLOB 'search*' ORDER BY list.name",
    )?;
    let tables = statement.query_map([], |row| {
        Ok(Table {
            name: row.get(0)?,
            sql: row.get(1)?,
            has_rowid: row.get::<_, i64>(2)? == 0,
            columns: row.get::<_, i64>(3)? as usize,
        })
    })?;
    tables.collect()
}

/// Indexes and triggers; those that a table makes for itself have no words of their own.
fn others(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare(
        "SELECT sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL
            AND name NOT GLOB 'search*' ORDER BY type, name",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Each with its table.
fn indexes(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = db.prepare_cached(
        "SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
            AND name NOT GLOB 'search*' ORDER BY name",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn fields(row: &Row<'_>, columns: &[String]) -> Result<Map<String, Json>, Failed> {
    let mut fields = Map::new();
    for (at, column) in columns.iter().enumerate() {
        let value = match row.get_ref(at)? {
            ValueRef::Null => Json::Null,
            ValueRef::Integer(int) => int.into(),
            ValueRef::Real(real) => json!(real),
            ValueRef::Text(text) => std::str::from_utf8(text)?.into(),
            ValueRef::Blob(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
        };
        fields.insert(column.clone(), value);
    }
    Ok(fields)
}

fn insert(
    db: &Connection,
    statements: &mut HashMap<String, String>,
    table: &str,
    row: Map<String, Json>,
) -> rusqlite::Result<()> {
    let statement = statements.entry(table.to_owned()).or_insert_with(|| {
        let columns: Vec<String> = row.keys().map(|column| quoted(column)).collect();
        let places = vec!["?"; columns.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({places})", quoted(table), columns.join(", "))
    });
    let values = row.into_iter().map(|(_, value)| stored(value));
    db.prepare_cached(statement)?.execute(rusqlite::params_from_iter(values)).map(|_| ())
}

pub(super) fn insert_row(db: &Connection, table: &str, row: Map<String, Json>) -> rusqlite::Result<()> {
    insert(db, &mut HashMap::new(), table, row)
}

/// What a statement begins with that makes a table or an index, and the table that it is about.
pub(super) fn made_by(schema: &str) -> Option<(&'static str, String)> {
    let made = ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "];
    let made = made.into_iter().find(|made| schema.starts_with(made))?;
    let rest = schema.strip_prefix(made)?;
    let named = if made == "CREATE TABLE " { rest } else { rest.split_once(" ON ")?.1 };
    let table = named.trim_start().split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
    Some((made, table.to_owned()))
}

fn stored(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Integer(int),
            None => Value::Real(number.as_f64().unwrap_or(0.0)),
        },
        Json::String(text) => Value::Text(text),
        Json::Bool(flag) => Value::Integer(flag.into()),
        Json::Object(object) => {
            let encoded = object.get("base64").and_then(Json::as_str).unwrap_or_default();
            Value::Blob(STANDARD.decode(encoded).unwrap_or_default())
        }
        Json::Array(_) => Value::Null,
    }
}

fn put(out: &mut impl Write, line: &Line) -> Result<(), Failed> {
    serde_json::to_writer(&mut *out, line)?;
    Ok(out.write_all(b"\n")?)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
