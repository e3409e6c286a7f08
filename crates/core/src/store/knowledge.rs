//! What a site knows, and the index that it is found by.
//!
//! The tables are made with the first document: most sites have none, and an object on Cloudflare pays for each table. Of the
//! index only the words are kept (`content=''`); what they are found in stands in `passage` once.

use serde::Serialize;

use super::{Row, Sql, SqlError, Value, first};
use crate::ai::tokens;
use crate::domains::HelpdeskEntry;
use crate::ids::{DomainId, fnv1a};
use crate::knowledge::cut::{Cut, Piece, cut};
use crate::knowledge::document::{Document, DocumentName, Kind};
use crate::knowledge::{HELPDESK, Passage, words};
use crate::limits::{PASSAGES_MAX, PASSAGES_TOKENS_MAX};
use crate::time::UnixMs;

/// A document as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pub name: Box<str>,
    pub title: Box<str>,
    pub size: u64,
    pub updated_at: UnixMs,
    pub passages: u64,
}

/// A passage and how well it fits, as far as that can be told from words.
#[derive(Debug)]
pub struct Found {
    pub passage: Passage,
    /// Thousandths: storage hands over no fractions.
    pub score_milli: i64,
}

const TABLES: &[&str] = &[
    // `kind` is document::Kind. Of the helpdesk, `text` is a mark of what was indexed.
    "CREATE TABLE IF NOT EXISTS document (
        id INTEGER PRIMARY KEY,
        domain TEXT NOT NULL,
        name TEXT NOT NULL,
        title TEXT NOT NULL,
        kind INTEGER NOT NULL,
        size INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        text TEXT NOT NULL,
        UNIQUE (domain, name)
    ) STRICT",
    "CREATE TABLE IF NOT EXISTS passage (
        id INTEGER PRIMARY KEY,
        document INTEGER NOT NULL,
        title TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT",
    "CREATE INDEX IF NOT EXISTS passage_by_document ON passage (document)",
    // Sites may share a store, so each word is looked for on one of them. Stems ('porter'), because those who ask say
    // 'returns' and those who answer 'returning'; marks on letters are no difference.
    "CREATE VIRTUAL TABLE IF NOT EXISTS passage_words USING fts5(
        site, title, text, content='', contentless_delete=1,
        tokenize='porter unicode61 remove_diacritics 2'
    )",
];

/// Whether anything was ever kept here.
pub fn exists(sql: &mut dyn Sql) -> Result<bool, SqlError> {
    let found = first(
        sql,
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'passage_words'",
        &[],
        |_| (),
    )?;
    Ok(found.is_some())
}

/// Makes the index anew where there are passages without one: an export holds no index.
pub fn mend(sql: &mut dyn Sql) -> Result<(), SqlError> {
    let statement = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'passage'";
    if exists(sql)? || first(sql, statement, &[], |_| ())?.is_none() {
        return Ok(());
    }
    create(sql)?;
    let mut passages = Vec::new();
    sql.query(
        "SELECT passage.id, document.domain, passage.title, passage.text FROM passage
            JOIN document ON document.id = passage.document",
        &[],
        &mut |row| {
            passages.push((
                row.int(0),
                row.text(1).to_owned(),
                row.text(2).to_owned(),
                row.text(3).to_owned(),
            ));
        },
    )?;
    for (id, domain, title, text) in passages {
        let site = DomainId::parse(&domain).map(|domain| site(&domain)).unwrap_or_default();
        index(sql, id, &site, &title, &text)?;
    }
    Ok(())
}

fn index(sql: &mut dyn Sql, passage: i64, site: &str, title: &str, text: &str) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO passage_words (rowid, site, title, text) VALUES (?, ?, ?, ?)",
        &[
            Value::Int(passage),
            Value::Text(site),
            Value::Text(&words::indexed(title)),
            Value::Text(&words::indexed(text)),
        ],
    )
}

/// The domains that have anything to be found.
pub fn learned(sql: &mut dyn Sql) -> Result<Vec<DomainId>, SqlError> {
    let mut learned = Vec::new();
    if exists(sql)? {
        let each = &mut |row: &dyn Row| learned.extend(DomainId::parse(row.text(0)));
        sql.query("SELECT DISTINCT domain FROM document", &[], each)?;
    }
    Ok(learned)
}

pub fn has_learned(sql: &mut dyn Sql, domain: &DomainId) -> Result<bool, SqlError> {
    if !exists(sql)? {
        return Ok(false);
    }
    let statement = "SELECT 1 FROM document WHERE domain = ? LIMIT 1";
    Ok(first(sql, statement, &[Value::Text(domain.as_str())], |_| ())?.is_some())
}

fn create(sql: &mut dyn Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|table| sql.run(table, &[]))
}

/// Keeps a document in the place of an earlier one of its name.
pub fn put(
    sql: &mut dyn Sql,
    domain: &DomainId,
    document: &Document,
    now: UnixMs,
) -> Result<Listed, SqlError> {
    let Document { name, kind, text } = document;
    let cut = cut(*kind, name.as_str(), text);
    keep(sql, domain, name.as_str(), *kind, &cut, text, text.len(), now)
}

/// Brings the index of a site's helpdesk up to what its settings say. Does nothing where it is.
pub fn put_helpdesk(
    sql: &mut dyn Sql,
    domain: &DomainId,
    entries: &[HelpdeskEntry],
    now: UnixMs,
) -> Result<(), SqlError> {
    let is_kept = exists(sql)?;
    if entries.is_empty() && !is_kept {
        return Ok(());
    }
    let mark = mark(entries);
    if is_kept && text_of(sql, domain, HELPDESK)?.is_some_and(|(_, known)| known == mark) {
        return Ok(());
    }
    if entries.is_empty() {
        return remove(sql, domain, HELPDESK).map(|_| ());
    }
    let passages = entries
        .iter()
        .map(|HelpdeskEntry { question, answer }| Piece { title: question.clone(), text: answer.clone() });
    let cut = Cut { title: HELPDESK.into(), passages: passages.collect() };
    let size = entries.iter().map(|entry| entry.question.len() + entry.answer.len()).sum();
    keep(sql, domain, HELPDESK, Kind::Plain, &cut, &mark, size, now).map(|_| ())
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn keep(
    sql: &mut dyn Sql,
    domain: &DomainId,
    name: &str,
    kind: Kind,
    cut: &Cut,
    text: &str,
    size: usize,
    now: UnixMs,
) -> Result<Listed, SqlError> {
    create(sql)?;
    remove(sql, domain, name)?;
    let row = first(
        sql,
        "INSERT INTO document (domain, name, title, kind, size, passages, updated_at, text)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        &[
            Value::Text(domain.as_str()),
            Value::Text(name),
            Value::Text(&cut.title),
            Value::Int(kind as i64),
            Value::Int(size as i64),
            Value::Int(cut.passages.len() as i64),
            Value::Int(now.0),
            Value::Text(text),
        ],
        |row| row.int(0),
    )?;
    let row = row.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))?;
    let site = site(domain);
    for Piece { title, text } in &cut.passages {
        let passage = first(
            sql,
            "INSERT INTO passage (document, title, text) VALUES (?, ?, ?) RETURNING id",
            &[Value::Int(row), Value::Text(title), Value::Text(text)],
            |row| row.int(0),
        )?;
        let passage = passage.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))?;
        index(sql, passage, &site, title, text)?;
    }
    Ok(Listed {
        name: name.into(),
        title: cut.title.clone(),
        size: size as u64,
        updated_at: now,
        passages: cut.passages.len() as u64,
    })
}

/// True if there was one.
pub fn remove(sql: &mut dyn Sql, domain: &DomainId, name: &str) -> Result<bool, SqlError> {
    if !exists(sql)? {
        return Ok(false);
    }
    let row = first(
        sql,
        "SELECT id FROM document WHERE domain = ? AND name = ?",
        &[Value::Text(domain.as_str()), Value::Text(name)],
        |row| row.int(0),
    )?;
    let Some(row) = row else { return Ok(false) };
    for statement in [
        "DELETE FROM passage_words WHERE rowid IN (SELECT id FROM passage WHERE document = ?)",
        "DELETE FROM passage WHERE document = ?",
        "DELETE FROM document WHERE id = ?",
    ] {
        sql.run(statement, &[Value::Int(row)])?;
    }
    Ok(true)
}

/// All documents of a site, by name; the helpdesk, which stands in the settings, is none.
pub fn list(sql: &mut dyn Sql, domain: &DomainId) -> Result<Vec<Listed>, SqlError> {
    let mut listed = Vec::new();
    if exists(sql)? {
        sql.query(
            "SELECT name, title, size, updated_at, passages FROM document WHERE domain = ? AND name <> ? ORDER BY name",
            &[Value::Text(domain.as_str()), Value::Text(HELPDESK)],
            &mut |row| {
                listed.push(Listed {
                    name: row.text(0).into(),
                    title: row.text(1).into(),
                    size: row.count(2),
                    updated_at: UnixMs(row.int(3)),
                    passages: row.count(4),
                });
            },
        )?;
    }
    Ok(listed)
}

/// A document as it was uploaded.
pub fn read(
    sql: &mut dyn Sql,
    domain: &DomainId,
    name: &DocumentName,
) -> Result<Option<(Kind, String)>, SqlError> {
    if exists(sql)? { text_of(sql, domain, name.as_str()) } else { Ok(None) }
}

fn text_of(sql: &mut dyn Sql, domain: &DomainId, name: &str) -> Result<Option<(Kind, String)>, SqlError> {
    first(
        sql,
        "SELECT kind, text FROM document WHERE domain = ? AND name = ?",
        &[Value::Text(domain.as_str()), Value::Text(name)],
        |row| (Kind::of_row(row.int(0)), row.text(1).to_owned()),
    )
}

/// The passages that have most of a question's words, the rarer ones counting more (BM25), headings three times.
pub fn search(
    sql: &mut dyn Sql,
    domain: &DomainId,
    question: &str,
    limit: usize,
) -> Result<Vec<Found>, SqlError> {
    let mut found = Vec::new();
    let Some(query) = words::query(&site(domain), &words::words(question)) else { return Ok(found) };
    if !exists(sql)? {
        return Ok(found);
    }
    sql.query(
        "SELECT document.name, passage.title, passage.text, CAST(hit.score * -1000 AS INTEGER)
            FROM (SELECT rowid AS id, bm25(passage_words, 0.0, 3.0, 1.0) AS score FROM passage_words
                WHERE passage_words MATCH ? ORDER BY score LIMIT ?) AS hit
            JOIN passage ON passage.id = hit.id JOIN document ON document.id = passage.document
            WHERE document.domain = ? ORDER BY hit.score, hit.id",
        &[Value::Text(&query), Value::Int(limit as i64), Value::Text(domain.as_str())],
        &mut |row| {
            let passage =
                Passage { name: row.text(0).into(), title: row.text(1).into(), text: row.text(2).into() };
            found.push(Found { passage, score_milli: row.int(3) });
        },
    )?;
    Ok(found)
}

/// What a model is shown with a question: the best passages that have room together.
pub fn passages_for(sql: &mut dyn Sql, domain: &DomainId, question: &str) -> Result<Vec<Passage>, SqlError> {
    let (mut chosen, mut used) = (Vec::new(), 0);
    for Found { passage, .. } in search(sql, domain, question, PASSAGES_MAX)? {
        let tokens = tokens::estimate(&passage.title) + tokens::estimate(&passage.text);
        if used + tokens <= PASSAGES_TOKENS_MAX {
            used += tokens;
            chosen.push(passage);
        }
    }
    Ok(chosen)
}

/// One word that no other site of a store has, and that no tokeniser takes apart.
fn site(domain: &DomainId) -> String {
    format!("d{:016x}", fnv1a(domain.as_str()))
}

fn mark(entries: &[HelpdeskEntry]) -> String {
    format!("{:016x}", fnv1a(&serde_json::to_string(entries).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
