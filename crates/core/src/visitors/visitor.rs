//! One visitor: what is known of them, from what a client has said of itself, and how it is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::user_agent;
use super::whence::Country;
use crate::ids::{ConnId, DomainId, VisitorId};
use crate::protocol::command::Page;
use crate::protocol::event::Event;
use crate::store::visitors::{Here, StoredVisitor};
use crate::time::UnixMs;

/// One visitor, as statistics tell it.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VisitorRow {
    pub id: VisitorId,
    pub user_agent: Option<Box<str>>,
    pub browser: &'static str,
    pub os: &'static str,
    pub device: &'static str,
    /// ISO 3166-1 alpha-2, where it is known.
    #[cfg_attr(feature = "describe", schemars(with = "Option<String>"))]
    pub country: Option<Country>,
    pub url: Option<Box<str>>,
    pub title: Option<Box<str>>,
    pub referrer: Option<Box<str>>,
    /// When this visit began.
    pub timestamp: UnixMs,
    pub last_activity: UnixMs,
}

pub(super) struct Visitor {
    pub(super) data: Arc<RawValue>,
    pub(super) page: Page,
    /// As the host knows it.
    pub(super) country: Option<Country>,
    pub(super) joined_at: UnixMs,
    pub(super) last_at: UnixMs,
    pub(super) stored_at: UnixMs,
    pub(super) told_at: UnixMs,
    pub(super) leave_at: Option<UnixMs>,
    pub(super) tell_at: Option<UnixMs>,
    pub(super) connections: Vec<ConnId>,
    pub(super) by_request: bool,
    /// Somebody else spoke last in the room that bears their name. Forgotten with the memory: it is a hint, and the next
    /// message is another.
    pub(super) is_called: bool,
    /// Whether what they do is counted: of people it is.
    pub(super) counts: bool,
}

/// What we read out of a client's free data. A member of another type counts as missing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Known {
    pub(super) user_agent: Lenient,
    pub(super) url: Lenient,
    pub(super) title: Lenient,
    pub(super) referrer: Lenient,
    /// Counts where the host knows none.
    pub(super) country: Lenient,
}

impl Visitor {
    pub(super) fn new(data: Arc<RawValue>, now: UnixMs) -> Self {
        Self {
            page: Page::default(),
            country: None,
            joined_at: now,
            last_at: now,
            stored_at: now,
            told_at: UnixMs(0),
            leave_at: None,
            tell_at: None,
            connections: Vec::new(),
            by_request: false,
            is_called: false,
            counts: !Known::of(&data).is_bot(),
            data,
        }
    }

    pub(super) fn of_row(stored: StoredVisitor) -> Self {
        Self {
            page: Known::of(&stored.data).page(),
            country: stored.country,
            joined_at: stored.joined_at,
            last_at: stored.last_at,
            stored_at: stored.last_at,
            by_request: stored.here == Here::ByRequest,
            leave_at: stored.leave_at,
            ..Self::new(stored.data, stored.last_at)
        }
    }

    pub(super) fn is_unclaimed(&self) -> bool {
        self.connections.is_empty() && !self.by_request
    }

    pub(super) fn here(&self) -> Here {
        if self.by_request { Here::ByRequest } else { Here::ByConnection }
    }

    pub(super) fn activity(&self, domain: &DomainId, id: &VisitorId) -> Event {
        Event::VisitorActivity {
            domain_id: domain.clone(),
            visitor_id: id.clone(),
            url: self.page.url.clone(),
            title: self.page.title.clone(),
            timestamp: self.last_at,
        }
    }

    pub(super) fn row(&self, id: VisitorId) -> VisitorRow {
        let known = Known::of(&self.data);
        let class = user_agent::classify(known.user_agent.0.as_deref().unwrap_or_default());
        VisitorRow {
            id,
            browser: class.browser,
            os: class.os,
            device: class.device,
            country: self.country.or_else(|| known.country()),
            url: self.page.url.clone(),
            title: self.page.title.clone(),
            referrer: known.referrer.0,
            user_agent: known.user_agent.0,
            timestamp: self.joined_at,
            last_activity: self.last_at,
        }
    }
}

impl Known {
    pub(super) fn of(data: &RawValue) -> Self {
        serde_json::from_str(data.get()).unwrap_or_default()
    }

    pub(super) fn is_bot(&self) -> bool {
        user_agent::bot(self.user_agent.0.as_deref().unwrap_or_default()).is_some()
    }

    pub(super) fn country(&self) -> Option<Country> {
        self.country.0.as_deref().and_then(Country::parse)
    }

    pub(super) fn page(self) -> Page {
        Page { url: self.url.0, title: self.title.0 }
    }
}

/// A string, or whatever else as nothing.
#[derive(Default)]
pub(super) struct Lenient(pub(super) Option<Box<str>>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_str().map(Into::into)))
    }
}
