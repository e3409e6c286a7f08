//! What answers cost: the budget that a domain has for a day, and the account of what was used.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ai::model::{Provider, Usage};
use crate::ids::DomainId;
use crate::limits::SPENDING_DAYS_MAX;
use crate::protocol::error::ClientError;
use crate::store::{Sql, SqlError, spending};
use crate::time::UnixMs;

/// Whether a domain may ask a model once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allowance {
    /// It has no budget.
    #[default]
    Free,
    /// So much of it is set aside until [`Spent`] says what it came to.
    Reserved(Reservation),
    /// Nothing is left of today's.
    Exhausted,
}

/// What is set aside for one answer, by the number of its row in the domain's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation(pub i64);

/// How an answer ended, for its domain's account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    pub domain: Option<DomainId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reservation>,
    pub outcome: Outcome,
    pub provider: Provider,
    pub model: Box<str>,
    pub usage: Usage,
    #[serde(with = "crate::time::millis")]
    pub at: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Answered,
    Failed,
    /// Cut off by the death of what was writing it.
    Interrupted,
    /// No model was asked: only the reservation is given back.
    Unasked,
}

/// The account of questions that name no domain, or one that no operator has set up: with a budget each, names that anybody
/// can make up would be an open tap.
pub const SHARED_ACCOUNT: &str = "default";

/// Days are UTC's, so that all hosts and all readers mean the same.
pub fn date(at: UnixMs) -> String {
    at.to_string().chars().take(10).collect()
}

/// What `GET /stats/domain/:id/ai` answers.
pub fn report(
    sql: &mut dyn Sql,
    domain: &DomainId,
    (from, to): (Option<&str>, Option<&str>),
    budget: u64,
    now: UnixMs,
) -> Result<Result<Value, ClientError>, SqlError> {
    let (from, to) = match span(from, to, now) {
        Ok(span) => span,
        Err(error) => return Ok(Err(error)),
    };
    let days = spending::entries(sql, domain, &from, &to)?;
    let mut today = json!({ "date": date(now), "tokens": spending::used(sql, domain, now)? });
    if let Some(today) = today.as_object_mut().filter(|_| budget > 0) {
        today.insert("budget".into(), budget.into());
    }
    Ok(Ok(json!({ "domainId": domain, "from": from, "to": to, "days": days, "today": today })))
}

/// The last thirty days, if nothing else is asked for.
fn span(from: Option<&str>, to: Option<&str>, now: UnixMs) -> Result<(String, String), ClientError> {
    let day = |name: &str, text: Option<&str>, default: UnixMs| match text.filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => serde_json::from_value(json!(format!("{text}T00:00:00Z")))
            .map_err(|_| ClientError::invalid(name, "must be a day such as 2026-11-23")),
    };
    let to = day("to", to, now)?;
    let from = day("from", from, to.plus(-29 * DAY_MS))?;
    match (0..=SPENDING_DAYS_MAX).contains(&(to.since(from) / DAY_MS)) && from <= to {
        true => Ok((date(from), date(to))),
        false => {
            let rule = format!("must be before 'to', by {SPENDING_DAYS_MAX} days at most");
            Err(ClientError::invalid("from", &rule))
        }
    }
}

const DAY_MS: i64 = 86_400_000;

impl Spent {
    /// No model was asked.
    pub fn nothing(domain: Option<DomainId>, reservation: Option<Reservation>, at: UnixMs) -> Self {
        let (provider, usage) = (Provider::Demo, Usage::default());
        Self { domain, reservation, outcome: Outcome::Unasked, provider, model: "".into(), usage, at }
    }
}

impl Allowance {
    pub fn reservation(self) -> Option<Reservation> {
        match self {
            Self::Reserved(reservation) => Some(reservation),
            Self::Free | Self::Exhausted => None,
        }
    }
}
