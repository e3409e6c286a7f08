//! The inbox of a web site: which of its rooms wait for somebody, who has them, how they went.
//!
//! A room knows its own standing ([`Desk`], beside its log) and tells its domain what became of it ([`Listing`]); the
//! domain keeps the list that operators read ([`crate::store::inbox`]). A listing says all there is to say, and its
//! revision grows with each change, so that it may be told twice, late or out of order: the newest counts.

pub mod query;
pub mod search;
pub mod transcript;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::identity::Identity;
use crate::domains::Retention;
use crate::ids::{DomainId, RoomId, Seq, UserId};
use crate::protocol::command::{HistoryQuery, Page, SendMessage};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::time::{UnixMs, millis};

pub use query::{Cursor, RoomsQuery};

/// Where a conversation stands.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Open = 0,
    /// Somebody asked for a person, and none has come yet.
    Waiting = 1,
    /// People are at it.
    Live = 2,
    /// Done, until the customer says something again.
    Closed = 3,
}

#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub user_id: UserId,
    pub user_name: Arc<str>,
}

/// How the customer found it.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    /// 1 to 5.
    pub score: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Box<str>>,
}

/// What a room knows of its standing beside its log. Kept in the room's row as JSON, and not at all while there is nothing
/// to know.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Desk {
    pub assignee: Option<Person>,
    /// Who asked for a person, where that is not who wrote first.
    pub customer: Option<Person>,
    /// Whoever has it has spoken.
    pub is_attended: bool,
    #[serde(with = "millis::option")]
    pub waiting_since: Option<UnixMs>,
    #[serde(with = "millis::option")]
    pub closed_at: Option<UnixMs>,
    pub rating: Option<Rating>,
    /// How often this changed. With the last place of the log it tells two standings of a room apart.
    pub changes: u64,
    #[serde(with = "millis::option")]
    pub changed_at: Option<UnixMs>,
    /// Messages up to a place of the log, so that they need not be counted from the beginning.
    pub counted_to: Seq,
    pub counted: u64,
    pub answered: u64,
    /// All of it went, and its members are still here: for the inbox there is no such room until something happens in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_erased: bool,
}

/// The last thing that was said.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastMessage {
    pub id: Box<str>,
    pub seq: Seq,
    /// Its beginning.
    pub message: Box<str>,
    pub user_id: UserId,
    pub user_name: Arc<str>,
    pub role: Arc<str>,
    pub timestamp: UnixMs,
}

/// A room as operators see it in a list.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSummary {
    pub room_id: RoomId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_id: Option<DomainId>,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Person>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Person>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<LastMessage>,
    pub seq: Seq,
    /// For the agent who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
    /// Where the customer is on the site now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<UnixMs>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

/// What a room tells its domain.
#[derive(Clone, Serialize, Deserialize)]
pub struct Listing {
    pub domain: DomainId,
    /// A room that was erased and made anew has another one, and revisions of its own.
    pub epoch: Arc<str>,
    /// Grows with each change.
    pub revision: u64,
    /// How many there ever were; those that were deleted count.
    pub messages: u64,
    /// Those of them that the AI wrote.
    pub answers: u64,
    pub summary: RoomSummary,
    /// How many of them each of these agents has read.
    pub reads: Vec<(UserId, u64)>,
}

/// What operators do with a room, and visitors with their own.
pub enum DeskCommand {
    /// The room as a list shows it.
    Show,
    History(HistoryQuery),
    /// The same of a room that has to be there, to be kept elsewhere.
    Transcript(HistoryQuery),
    Send(SendMessage),
    /// None: nobody has it any more.
    Assign(Option<Person>),
    Close,
    Reopen,
    Rate(Rating),
    /// What the AI remembers of it, behind that place.
    Remembered(i64),
    /// All that the room holds goes.
    Erase,
    /// What is older than that goes.
    Retain(Retention),
    /// Who this was goes; what they said stays.
    Anonymise(UserId),
}

impl DeskCommand {
    /// What it is called, for whoever counts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Show => "room",
            Self::History(_) => "fetch-history",
            Self::Transcript(_) => "transcript",
            Self::Send(_) => "send-message",
            Self::Assign(_) => "assign",
            Self::Close => "close",
            Self::Reopen => "reopen",
            Self::Rate(_) => "rate",
            Self::Remembered(_) => "export",
            Self::Erase => "erase",
            Self::Retain(_) => "retain",
            Self::Anonymise(_) => "anonymise",
        }
    }

    /// Whether `by` may do this in that room. A rating is given by whoever could join it: nobody else knows its name.
    /// To a token for other sites the room is one that never was; only who writes there hears that the name is taken.
    pub fn check(&self, by: &Identity, room: &RoomId, domain: Option<&DomainId>) -> Result<(), ClientError> {
        match self {
            Self::Send(_) => return by.require_room(room, domain),
            Self::Rate(_) => by.require_scope(room, None)?,
            Self::History(_) | Self::Transcript(_) => by.require_room(room, None)?,
            Self::Show
            | Self::Assign(_)
            | Self::Close
            | Self::Reopen
            | Self::Remembered(_)
            | Self::Erase
            | Self::Retain(_)
            | Self::Anonymise(_) => {
                by.require_some_staff()?;
                by.require_scope(room, None)?;
            }
        }
        by.require_domain(domain).map_err(|_| no_room(room))
    }
}

impl State {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "open" => Self::Open,
            "waiting" => Self::Waiting,
            "live" => Self::Live,
            "closed" => Self::Closed,
            _ => return None,
        })
    }
}

impl Desk {
    pub fn of_stored(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    pub fn state(&self, has_live_agent: bool) -> State {
        if self.closed_at.is_some() {
            State::Closed
        } else if has_live_agent || self.is_attended {
            State::Live
        } else if self.waiting_since.is_some() {
            State::Waiting
        } else {
            State::Open
        }
    }
}

pub fn no_room(room: &RoomId) -> ClientError {
    ClientError::new(ErrorCode::NotFound, format!("there is no room {room}"))
}

/// Roles that serve, and may do what is not their own.
pub fn is_staff(role: &str) -> bool {
    matches!(role, "agent" | "admin")
}

/// Roles that are served.
pub fn is_customer(role: &str) -> bool {
    matches!(role, "user" | "customer")
}
