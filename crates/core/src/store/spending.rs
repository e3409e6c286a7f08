//! The accounts of domains: what was used on each day, by model, and what is set aside for answers that are being written.
//!
//! The tables are made with the first entry, as those of [`super::knowledge`] are.

use serde::Serialize;

use super::erasure::Removed;
use super::{Sql, SqlError, Value, first};
use crate::ids::DomainId;
use crate::limits::RESERVED_TOKENS;
use crate::spending::{Allowance, Outcome, Reservation, Spent};
use crate::time::UnixMs;

/// One model on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// In UTC, as `2026-11-23`.
    pub date: Box<str>,
    pub model: Box<str>,
    pub provider: Box<str>,
    pub answers: u64,
    pub failed: u64,
    /// Cut off by a crash or a stop.
    pub interrupted: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS ai_use (
        domain TEXT NOT NULL,
        date TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        answers INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        PRIMARY KEY (domain, date, provider, model)
    ) STRICT, WITHOUT ROWID",
    // A table of its own, as the one above is in use: few rows, and none where nothing breaks.
    "CREATE TABLE IF NOT EXISTS ai_interrupted (
        domain TEXT NOT NULL,
        date TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        answers INTEGER NOT NULL,
        PRIMARY KEY (domain, date, provider, model)
    ) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS ai_reserved (
        id INTEGER PRIMARY KEY,
        domain TEXT NOT NULL,
        date TEXT NOT NULL,
        tokens INTEGER NOT NULL
    ) STRICT",
];

fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|table| sql.run(table, &[]))
}

/// Sets something of today's budget aside for one answer, as long as there is any. `id` is any number of 52 bits that no
/// other answer has.
///
/// What is set aside counts as used until [`settle`] says what it came to; where nobody ever says so, because all
/// that knew it died, it counts for the rest of the day. So a day's budget is overrun by what the answers that were let in
/// last use beyond what was set aside for each, and by nothing else.
pub fn reserve(
    sql: &mut dyn Sql,
    domain: &DomainId,
    budget: u64,
    id: u64,
    now: UnixMs,
) -> Result<Allowance, SqlError> {
    if budget == 0 {
        return Ok(Allowance::Free);
    }
    open(sql)?;
    if used(sql, domain, now)? >= budget {
        return Ok(Allowance::Exhausted);
    }
    let (date, id) = (date(now), (id & ((1 << 52) - 1)) as i64);
    sql.run(
        "DELETE FROM ai_reserved WHERE domain = ? AND date < ?",
        &[Value::Text(domain.as_str()), Value::Text(&date)],
    )?;
    sql.run(
        "INSERT INTO ai_reserved (id, domain, date, tokens) VALUES (?, ?, ?, ?)",
        &[
            Value::Int(id),
            Value::Text(domain.as_str()),
            Value::Text(&date),
            Value::Int(RESERVED_TOKENS as i64),
        ],
    )?;
    Ok(Allowance::Reserved(Reservation(id)))
}

/// Enters what an answer came to, in the place of what was set aside for it.
pub fn settle(sql: &mut dyn Sql, domain: &DomainId, spent: &Spent) -> Result<(), SqlError> {
    open(sql)?;
    if let Some(Reservation(id)) = spent.reservation {
        let known =
            first(sql, "DELETE FROM ai_reserved WHERE id = ? RETURNING id", &[Value::Int(id)], |_| ())?;
        // Told twice, or so late that its day is over: it has been counted.
        if known.is_none() {
            return Ok(());
        }
    }
    let (answers, failed) = match spent.outcome {
        Outcome::Unasked => return Ok(()),
        Outcome::Answered => (1, 0),
        Outcome::Failed => (0, 1),
        Outcome::Interrupted => {
            note_interrupted(sql, domain, spent)?;
            (0, 0)
        }
    };
    sql.run(
        "INSERT INTO ai_use (domain, date, provider, model, answers, failed, input_tokens, output_tokens)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (domain, date, provider, model) DO UPDATE SET answers = answers + excluded.answers,
                failed = failed + excluded.failed, input_tokens = input_tokens + excluded.input_tokens,
                output_tokens = output_tokens + excluded.output_tokens",
        &[
            Value::Text(domain.as_str()),
            Value::Text(&date(spent.at)),
            Value::Text(spent.provider.as_str()),
            Value::Text(&spent.model),
            Value::Int(answers),
            Value::Int(failed),
            Value::Int(spent.usage.input_tokens as i64),
            Value::Int(spent.usage.output_tokens as i64),
        ],
    )
}

fn note_interrupted(sql: &mut dyn Sql, domain: &DomainId, spent: &Spent) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO ai_interrupted (domain, date, provider, model, answers) VALUES (?, ?, ?, ?, 1)
            ON CONFLICT (domain, date, provider, model) DO UPDATE SET answers = answers + 1",
        &[
            Value::Text(domain.as_str()),
            Value::Text(&date(spent.at)),
            Value::Text(spent.provider.as_str()),
            Value::Text(&spent.model),
        ],
    )
}

/// Today's tokens, those set aside included.
pub fn used(sql: &mut dyn Sql, domain: &DomainId, now: UnixMs) -> Result<u64, SqlError> {
    open(sql)?;
    let date = date(now);
    let used = first(
        sql,
        "SELECT (SELECT coalesce(sum(input_tokens + output_tokens), 0) FROM ai_use WHERE domain = ?1 AND date = ?2)
            + (SELECT coalesce(sum(tokens), 0) FROM ai_reserved WHERE domain = ?1 AND date = ?2)",
        &[Value::Text(domain.as_str()), Value::Text(&date)],
        |row| row.count(0),
    )?;
    Ok(used.unwrap_or_default())
}

/// Both days included, the newest first.
pub fn entries(sql: &mut dyn Sql, domain: &DomainId, from: &str, to: &str) -> Result<Vec<Entry>, SqlError> {
    open(sql)?;
    let mut entries = Vec::new();
    sql.query(
        "SELECT date, model, provider, answers, failed, input_tokens, output_tokens,
            (SELECT answers FROM ai_interrupted AS cut WHERE cut.domain = ai_use.domain AND cut.date = ai_use.date
                AND cut.provider = ai_use.provider AND cut.model = ai_use.model) FROM ai_use
            WHERE domain = ? AND date BETWEEN ? AND ? ORDER BY date DESC, provider, model",
        &[Value::Text(domain.as_str()), Value::Text(from), Value::Text(to)],
        &mut |row| {
            entries.push(Entry {
                date: row.text(0).into(),
                model: row.text(1).into(),
                provider: row.text(2).into(),
                answers: row.count(3),
                failed: row.count(4),
                interrupted: row.count(7),
                input_tokens: row.count(5),
                output_tokens: row.count(6),
            });
        },
    )?;
    Ok(entries)
}

/// Days that were over before a time.
pub fn forget_before(
    sql: &mut dyn Sql,
    domain: &DomainId,
    before: UnixMs,
    removed: &mut Removed,
) -> Result<(), SqlError> {
    open(sql)?;
    let date = date(before);
    let params = [Value::Text(domain.as_str()), Value::Text(&date)];
    removed.take(sql, "aiUse", "DELETE FROM ai_use WHERE domain = ? AND date < ? RETURNING 1", &params)?;
    sql.run("DELETE FROM ai_reserved WHERE domain = ? AND date < ?", &params)
}

fn date(at: UnixMs) -> String {
    crate::spending::date(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use crate::ai::model::{Provider, Usage};
    use crate::store::memory::Memory;

    const DAY: i64 = 86_400_000;

    fn shop() -> DomainId {
        DomainId::parse("shop").unwrap()
    }

    fn spent(reservation: Option<Reservation>, outcome: Outcome, tokens: u64, at: UnixMs) -> Spent {
        let usage = Usage { input_tokens: tokens, output_tokens: 1 };
        Spent {
            domain: Some(shop()),
            reservation,
            outcome,
            provider: Provider::OpenAi,
            model: "m".into(),
            usage,
            at,
        }
    }

    #[test]
    fn questions_at_once_cannot_overrun_a_budget_by_more_than_they_use() {
        let (mut store, now) = (Memory::new(), UnixMs(10 * DAY));
        let budget = 3 * RESERVED_TOKENS as u64 - 1;
        let mut reserve = |id, now| reserve(&mut store, &shop(), budget, id, now).unwrap();
        let let_in: Vec<Allowance> = (1..=10).map(|id| reserve(id, now)).collect();
        assert_eq!(let_in.iter().filter(|it| it.reservation().is_some()).count(), 3);
        assert_eq!(let_in[3], Allowance::Exhausted);
        // What is given back can be had again; what is used cannot.
        settle(&mut store, &shop(), &spent(Some(Reservation(1)), Outcome::Unasked, 0, now)).unwrap();
        settle(&mut store, &shop(), &spent(Some(Reservation(2)), Outcome::Answered, budget, now)).unwrap();
        let mut reserve = |id, now| super::reserve(&mut store, &shop(), budget, id, now).unwrap();
        assert_eq!(reserve(11, now), Allowance::Exhausted);
        assert_eq!(reserve(12, now.plus(DAY)), Allowance::Reserved(Reservation(12)));
        assert_eq!(super::reserve(&mut store, &shop(), 0, 13, now).unwrap(), Allowance::Free);
    }

    #[test]
    fn an_answer_is_entered_once_however_often_it_is_told() {
        let (mut store, now) = (Memory::new(), UnixMs(10 * DAY));
        super::reserve(&mut store, &shop(), 10_000, 1, now).unwrap();
        let whole = spent(Some(Reservation(1)), Outcome::Answered, 10, now);
        settle(&mut store, &shop(), &whole).unwrap();
        settle(&mut store, &shop(), &whole).unwrap();
        settle(&mut store, &shop(), &spent(None, Outcome::Failed, 5, now)).unwrap();
        settle(&mut store, &shop(), &spent(None, Outcome::Interrupted, 0, now)).unwrap();
        settle(&mut store, &shop(), &spent(None, Outcome::Answered, 5, now.plus(DAY))).unwrap();
        let all = entries(&mut store, &shop(), "1970-01-01", "1970-12-31").unwrap();
        assert_eq!(
            all.iter().map(|day| (&*day.date, day.answers)).collect::<Vec<_>>(),
            [("1970-01-12", 1), ("1970-01-11", 1)]
        );
        let Entry { failed, interrupted, input_tokens, output_tokens, .. } = &all[1];
        assert_eq!((*failed, *interrupted, *input_tokens, *output_tokens), (1, 1, 15, 3));
        assert_eq!(used(&mut store, &shop(), now).unwrap(), 18);
        assert!(entries(&mut store, &shop(), "1970-01-13", "1971-01-01").unwrap().is_empty());
    }

    #[test]
    fn days_that_are_over_are_forgotten_of_one_domain_and_budgets_stay() {
        let (mut store, now) = (Memory::new(), UnixMs(10 * DAY + DAY / 2));
        for at in [now.plus(-3 * DAY), now.plus(-2 * DAY), now.plus(-DAY), now] {
            settle(&mut store, &shop(), &spent(None, Outcome::Answered, 10, at)).unwrap();
        }
        let other = DomainId::parse("other").unwrap();
        settle(&mut store, &other, &spent(None, Outcome::Answered, 10, now.plus(-3 * DAY))).unwrap();
        let mut removed = Removed::default();
        forget_before(&mut store, &shop(), now.plus(-DAY), &mut removed).unwrap();
        assert_eq!(removed.of("aiUse"), 2, "the day that the time lies in is not over before it");
        let days = |domain: &DomainId, store: &mut Memory| {
            entries(store, domain, "1970-01-01", "1970-12-31").unwrap().len()
        };
        assert_eq!((days(&shop(), &mut store), days(&other, &mut store)), (2, 1));
        assert_eq!(used(&mut store, &shop(), now).unwrap(), 11);
    }

    #[test]
    fn what_nobody_speaks_of_again_counts_for_the_rest_of_the_day() {
        let (mut store, now) = (Memory::new(), UnixMs(10 * DAY));
        super::reserve(&mut store, &shop(), 10_000, 1, now).unwrap();
        assert_eq!(used(&mut store, &shop(), now).unwrap(), RESERVED_TOKENS as u64);
        assert_eq!(used(&mut store, &shop(), now.plus(DAY)).unwrap(), 0);
    }
}
