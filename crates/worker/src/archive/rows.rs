//! An object's tables as lines, whatever tables it has, a page at a time; and the way back.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::query::Query;
use weeziq_core::store::{Sql, SqlError};
use worker::{Request, Response, Result, SqlStorage, SqlStorageValue, Storage, console_error};

use crate::reply;
use crate::store::{Failed, Store, transact};

/// What an object leaves out of its dump by name: what the rest of it is made into anew.
#[derive(Clone, Copy)]
pub(crate) enum Left {
    Nothing,
    /// What a domain copies of its rooms' logs, and the connections that it knows.
    Copies,
}

impl Left {
    fn out(self, table: &str) -> bool {
        // The index of what was said follows the log by itself.
        table.starts_with("search")
            || table == IMPORTING
            // Whoever reads a room in looks for them in its rows.
            || table == PARTS
            || matches!((self, table), (Self::Copies, "room" | "event" | "claim"))
    }
}

/// A line of a dump.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Schema { schema: String },
    Row { table: String, row: Map<String, Json> },
    Settings { settings: String },
}

/// Behind which row the next page begins.
#[derive(Serialize, Deserialize)]
struct Place {
    table: String,
    /// The row's own number; in a table that has none, how many were read.
    after: i64,
    /// How much had been written when the first page was read: what has changed since does not fit together.
    written: Option<i64>,
}

struct Table {
    name: String,
    has_rowid: bool,
    columns: i64,
}

const PAGE_BYTES: usize = 2 * 1024 * 1024;
const ROWS_AT_ONCE: i64 = 200;
const MADE: [&str; 3] = ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "];
/// Who has taken part in a room of no domain.
const PARTS: &str = "part";
/// There while only a part of an import has come.
const IMPORTING: &str = "importing";
/// Where the number of an import that is whole is kept, so that one that was cut off can be begun again.
const IMPORTED: &str = "imported";

type Refused<T> = std::result::Result<T, SqlError>;

/// Answers `GET /archive/room/…?after=`: lines, and where the next page begins. With `is_strict` all pages are of one moment, and
/// one who writes meanwhile has the reader begin anew.
pub(crate) async fn dump(
    storage: &Storage,
    mut request: Request,
    (left, is_strict, settings): (Left, bool, Option<String>),
) -> Result<Response> {
    let query = request.text().await?;
    let after = match Query::parse(&query).get("after").map(serde_json::from_str::<Place>) {
        Some(Ok(place)) => Some(place),
        Some(Err(_)) => return reply::refusal(&ClientError::invalid("after", "must be the next of a page")),
        None => None,
    };
    let done = transact(storage, move |sql| page(sql.raw(), after, left, is_strict));
    match done {
        Ok(Some((mut lines, next))) => {
            if next.is_none()
                && let Some(settings) = settings
            {
                put(&mut lines, &Line::Settings { settings }).map_err(|error| error.0)?;
            }
            let next = next.map(|next| serde_json::to_string(&next)).transpose()?;
            reply::json(&json!({ "lines": lines, "next": next }))
        }
        Ok(None) => {
            let why = "it has changed since the first page; begin again";
            Ok(reply::refusal(&ClientError::new(ErrorCode::Unavailable, why))?.with_status(409))
        }
        Err(failed) => refuse(&failed),
    }
}

fn page(
    sql: &SqlStorage,
    after: Option<Place>,
    left: Left,
    is_strict: bool,
) -> Refused<Option<(String, Option<Place>)>> {
    let mut written = None;
    if is_strict {
        written = numbers(sql, "SELECT total_changes()")?.first().copied();
        if after.as_ref().is_some_and(|after| after.written != written) {
            return Ok(None);
        }
    }
    let mut lines = String::new();
    if after.is_none() {
        for schema in schemas(sql, "type = 'table'", left)? {
            put(&mut lines, &Line::Schema { schema })?;
        }
    }
    let tables = tables(sql, left)?;
    let begun = after.as_ref().and_then(|after| tables.iter().position(|table| table.name == after.table));
    let mut from = after.filter(|_| begun.is_some()).map_or(0, |after| after.after);
    for table in tables.iter().skip(begun.unwrap_or(0)) {
        loop {
            let (count, last) = rows(sql, table, from, &mut lines)?;
            from = last;
            if lines.len() >= PAGE_BYTES {
                return Ok(Some((lines, Some(Place { table: table.name.clone(), after: from, written }))));
            }
            if count < ROWS_AT_ONCE {
                break;
            }
        }
        from = 0;
    }
    // Behind the rows, which go in faster without.
    for schema in schemas(sql, "type = 'index'", left)? {
        put(&mut lines, &Line::Schema { schema })?;
    }
    Ok(Some((lines, None)))
}

/// How many there were, and the place behind them.
fn rows(sql: &SqlStorage, table: &Table, from: i64, lines: &mut String) -> Refused<(i64, i64)> {
    let name = quoted(&table.name);
    let statement = match table.has_rowid {
        true => {
            format!("SELECT rowid, * FROM {name} WHERE rowid > {from} ORDER BY rowid LIMIT {ROWS_AT_ONCE}")
        }
        false => {
            // Behind the number that stands for the one that its rows do not have.
            let order: Vec<_> = (2..=table.columns + 1).map(|column| column.to_string()).collect();
            let order = order.join(", ");
            format!("SELECT 0, * FROM {name} ORDER BY {order} LIMIT {ROWS_AT_ONCE} OFFSET {from}")
        }
    };
    let cursor = sql.exec(&statement, None).map_err(failed)?;
    let columns = cursor.column_names();
    let (mut count, mut last) = (0, from);
    for row in cursor.raw() {
        let mut values = row.map_err(failed)?.into_iter();
        let place = values.next();
        count += 1;
        last = match place {
            Some(SqlStorageValue::Integer(rowid)) if table.has_rowid => rowid,
            _ => last + 1,
        };
        let mut fields = Map::new();
        for (column, value) in columns.iter().skip(1).zip(values) {
            fields.insert(column.clone(), told(value)?);
        }
        put(lines, &Line::Row { table: table.name.clone(), row: fields })?;
    }
    Ok((count, last))
}

/// What came of a part of an import.
pub(crate) enum Loaded {
    /// All of it is here now, with the settings that came with it.
    Whole {
        settings: Option<String>,
    },
    Answer(Response),
}

/// Takes `PUT /archive/room/…?import=&first=&last=`: into an object that holds nothing, or whose last import was cut off.
pub(crate) async fn load(storage: &Storage, mut request: Request) -> Result<Loaded> {
    let url = request.url()?;
    let query = Query::parse(url.query().unwrap_or_default());
    let (is_first, is_last) = (query.get("first").is_some(), query.get("last").is_some());
    let Some(import) = query.get("import").map(str::to_owned) else {
        let error = ClientError::invalid("import", "must name the import that this is a part of");
        return reply::refusal(&error).map(Loaded::Answer);
    };
    if storage.get::<String>(IMPORTED).await.ok().flatten().as_ref() == Some(&import) {
        return reply::json(&json!({ "success": true, "wasThere": true })).map(Loaded::Answer);
    }
    let lines = request.text().await?;
    let done = transact(storage, move |sql| {
        let raw = sql.raw();
        if is_first {
            if !is_unfinished(raw)? && holds_rows(raw)? {
                return Ok(Err("holds something already; an import never replaces anything"));
            }
            clear(raw)?;
            raw.exec("CREATE TABLE importing (at INTEGER) STRICT", None).map_err(failed)?;
        } else if !is_unfinished(raw)? {
            return Ok(Err("has no import under way; begin with the first part"));
        }
        let settings = take(sql, &lines)?;
        if is_last {
            sql.run("DROP TABLE importing", &[])?;
        }
        Ok(Ok(settings))
    });
    match done {
        Ok(Ok(settings)) if is_last => {
            storage.put(IMPORTED, import).await?;
            Ok(Loaded::Whole { settings })
        }
        Ok(Ok(_)) => reply::json(&json!({ "success": true })).map(Loaded::Answer),
        Ok(Err(why)) => {
            let refusal = reply::refusal(&ClientError::new(ErrorCode::Unavailable, why))?;
            Ok(Loaded::Answer(refusal.with_status(409)))
        }
        Err(failed) => refuse(&failed).map(Loaded::Answer),
    }
}

fn take(sql: &mut Store, lines: &str) -> Refused<Option<String>> {
    let mut found = None;
    for (at, text) in lines.lines().enumerate() {
        let wrong = |why: &dyn std::fmt::Display| SqlError(format!("line {}: {why}", at + 1));
        match serde_json::from_str(text).map_err(|error| wrong(&error))? {
            // All that a dump has: whatever else would not be made, but done.
            Line::Schema { schema } if !MADE.iter().any(|made| schema.starts_with(made)) => {
                return Err(wrong(&format_args!("a schema must begin with one of {MADE:?}")));
            }
            Line::Schema { schema } => {
                sql.raw().exec(&schema, None).map_err(|error| wrong(&error))?;
            }
            Line::Row { table, row } => {
                let columns: Vec<String> = row.keys().map(|column| quoted(column)).collect();
                let places = vec!["?"; columns.len()].join(", ");
                let into =
                    format!("INSERT INTO {} ({}) VALUES ({places})", quoted(&table), columns.join(", "));
                let values: Vec<SqlStorageValue> = row.into_iter().map(|(_, value)| stored(value)).collect();
                sql.raw().exec(&into, values).map_err(|error| wrong(&error))?;
            }
            Line::Settings { settings } => found = Some(settings),
        }
    }
    Ok(found)
}

fn is_unfinished(sql: &SqlStorage) -> Refused<bool> {
    let found =
        numbers(sql, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'importing'")?;
    Ok(found.first() == Some(&1))
}

/// An object that was only asked about has tables, and nothing in them but their version.
fn holds_rows(sql: &SqlStorage) -> Refused<bool> {
    for table in tables(sql, Left::Nothing)? {
        let found = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&table.name));
        // A domain that was asked about has a row that counts nobody.
        let is_told = !matches!(table.name.as_str(), "schema_version" | "domain" | "claim");
        if is_told && numbers(sql, &found)?.first() == Some(&1) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn clear(sql: &SqlStorage) -> Refused<()> {
    for kind in ["virtual", "table"] {
        for table in listed(sql, kind)? {
            sql.exec(&format!("DROP TABLE {}", quoted(&table.name)), None).map_err(failed)?;
        }
    }
    Ok(())
}

fn tables(sql: &SqlStorage, left: Left) -> Refused<Vec<Table>> {
    Ok(listed(sql, "table")?.into_iter().filter(|table| !left.out(&table.name)).collect())
}

/// Tables of ours of that kind; not those of the platform (`_cf_KV`, and `__miniflare_…`
/// on a developer's machine), nor parts of virtual ones.
fn listed(sql: &SqlStorage, kind: &str) -> Refused<Vec<Table>> {
    let mut found = Vec::new();
    for row in sql.exec("PRAGMA table_list", None).map_err(failed)?.raw() {
        let row = row.map_err(failed)?;
        if let [
            schema,
            SqlStorageValue::String(name),
            SqlStorageValue::String(of),
            columns,
            without_rowid,
            ..,
        ] = &row[..]
            && let SqlStorageValue::Integer(columns) = columns
            && matches!(schema, SqlStorageValue::String(schema) if schema == "main")
            && of == kind
            && !name.starts_with("sqlite_")
            && !name.starts_with('_')
        {
            let has_rowid = matches!(without_rowid, SqlStorageValue::Integer(0));
            found.push(Table { name: name.clone(), has_rowid, columns: *columns });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn schemas(sql: &SqlStorage, kind: &str, left: Left) -> Refused<Vec<String>> {
    let tables: Vec<String> = tables(sql, left)?.into_iter().map(|table| table.name).collect();
    let statement = format!(
        "SELECT name, tbl_name, sql FROM sqlite_schema WHERE {kind} AND sql IS NOT NULL ORDER BY type, name"
    );
    let mut found = Vec::new();
    for row in sql.exec(&statement, None).map_err(failed)?.raw() {
        if let [SqlStorageValue::String(name), SqlStorageValue::String(table), SqlStorageValue::String(sql)] =
            &row.map_err(failed)?[..]
            && tables.contains(table)
            && !name.starts_with("search")
        {
            found.push(sql.clone());
        }
    }
    Ok(found)
}

fn numbers(sql: &SqlStorage, statement: &str) -> Refused<Vec<i64>> {
    let mut found = Vec::new();
    for row in sql.exec(statement, None).map_err(failed)?.raw() {
        found.extend(row.map_err(failed)?.into_iter().filter_map(|value| match value {
            SqlStorageValue::Integer(number) => Some(number),
            _ => None,
        }));
    }
    Ok(found)
}

fn told(value: SqlStorageValue) -> Refused<Json> {
    Ok(match value {
        SqlStorageValue::Null => Json::Null,
        SqlStorageValue::Boolean(flag) => flag.into(),
        SqlStorageValue::Integer(number) => number.into(),
        SqlStorageValue::Float(number) => json!(number),
        SqlStorageValue::String(text) => text.into(),
        SqlStorageValue::Blob(_) => {
            return Err(SqlError("a column of bytes, which no table of ours has".into()));
        }
    })
}

fn stored(value: Json) -> SqlStorageValue {
    match value {
        Json::Number(number) => match number.as_i64() {
            Some(number) => SqlStorageValue::Integer(number),
            None => SqlStorageValue::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => SqlStorageValue::String(text),
        Json::Bool(flag) => SqlStorageValue::Boolean(flag),
        Json::Null | Json::Array(_) | Json::Object(_) => SqlStorageValue::Null,
    }
}

fn put(lines: &mut String, line: &Line) -> Refused<()> {
    lines.push_str(&serde_json::to_string(line).map_err(|error| SqlError(error.to_string()))?);
    lines.push('\n');
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn refuse(failed: &Failed) -> Result<Response> {
    console_error!("an archive cannot be read or kept: {failed}");
    let error = ClientError::new(ErrorCode::Unavailable, failed.to_string());
    reply::refusal(&error)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err calls")]
fn failed(error: worker::Error) -> SqlError {
    SqlError(error.to_string())
}
