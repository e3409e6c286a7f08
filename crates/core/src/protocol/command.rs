//! What a client may ask for, parsed. A value of these types keeps every limit of the contract.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ack;
use super::error::ClientError;
use super::fields::{Field, Fields};
use crate::access::secret::Secret;
use crate::files::Attached;
use crate::ids::{ClientMessageId, DomainId, RoomId, Seq, UserId, VisitorId};
use crate::inbox::search::SearchQuery;
use crate::inbox::{DeskCommand, RoomSummary, RoomsQuery};
use crate::limits::REPLY_TO_CHARS_MAX;
use crate::rooms::message::Message;
use crate::visitors::reports::ReportQuery;
use crate::visitors::whence::{Country, Whence};

pub mod body;
mod parse;

/// One event of a client, by who handles it.
pub enum Command {
    Ping,
    Room(RoomId, RoomCommand),
    /// For what one store holds, over HTTP.
    Search(Box<SearchQuery>),
    /// From those who serve, over HTTP.
    Desk(RoomId, DeskCommand),
    Visitors(DomainId, VisitorsCommand),
    AllDomainStats,
    /// To the conversation, which is the room that bears its id. None: a fresh one.
    Ask(Option<RoomId>, Ask),
}

impl Command {
    /// What it is called on the wire, for whoever counts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Room(_, command) => command.kind(),
            Self::Search(_) => "search",
            Self::Desk(_, command) => command.kind(),
            Self::Visitors(_, command) => command.kind(),
            Self::AllDomainStats => "get-all-domain-stats",
            Self::Ask(_, Ask { streamed: false, .. }) => "ai-chat",
            Self::Ask(_, Ask { streamed: true, .. }) => "ai-stream",
        }
    }
}

impl RoomCommand {
    fn kind(&self) -> &'static str {
        match self {
            Self::Join(_) => "join-room",
            Self::Leave => "leave-room",
            Self::Send(_) => "send-message",
            Self::Typing { .. } => "typing",
            Self::Online(_) => "user-online",
            Self::CustomerJoined(_) => "customer-joined-room",
            Self::MarkRead { .. } => "mark-read",
            Self::FetchHistory(_) => "fetch-history",
            Self::Edit { .. } => "edit-message",
            Self::Delete { .. } => "delete-message",
            Self::ToggleLiveAgent { .. } => "toggle-live-agent",
            Self::RequestHuman(_) => "request-human",
            Self::ResumeAnswer { .. } => "ai-resume",
            Self::CancelAnswer => "ai-cancel",
        }
    }
}

impl VisitorsCommand {
    fn kind(&self) -> &'static str {
        match self {
            Self::Join { .. } => "visitor-joined-domain",
            Self::Leave { .. } => "visitor-left-domain",
            Self::Activity { .. } => "visitor-activity",
            Self::Stats => "get-domain-stats",
            Self::Report(_) => "report",
            Self::Rooms(_) => "rooms",
            Self::Complete { .. } => "room",
            Self::Unlist(_) | Self::Erase { .. } => "erase",
            Self::Retain { .. } => "retain",
            Self::Know { .. } => "export",
        }
    }
}

pub enum RoomCommand {
    Join(Join),
    Leave,
    Send(SendMessage),
    Typing {
        is_typing: bool,
    },
    Online(Online),
    CustomerJoined(CustomerJoined),
    MarkRead {
        seq: Seq,
    },
    FetchHistory(HistoryQuery),
    /// `message` is the id that the message was told with.
    Edit {
        message: Box<str>,
        text: Box<str>,
    },
    Delete {
        message: Box<str>,
    },
    ToggleLiveAgent {
        enabled: bool,
    },
    /// A person is wanted.
    RequestHuman(RequestHuman),
    /// Of the conversation: what its answer has said after that chunk, and says from here on.
    ResumeAnswer {
        after: Option<u32>,
        /// Where none is being written, how the last one ended.
        even_ended: bool,
    },
    CancelAnswer,
}

pub enum VisitorsCommand {
    Join {
        visitor: VisitorId,
        data: Option<Box<RawValue>>,
        /// As the host knows it, as below.
        country: Option<Country>,
    },
    Leave {
        visitor: VisitorId,
    },
    Activity {
        visitor: VisitorId,
        page: Page,
        country: Option<Country>,
    },
    Stats,
    /// Its hours, over HTTP.
    Report(Box<ReportQuery>),
    /// The list of the domain's rooms.
    Rooms(Box<RoomsQuery>),
    /// One of them, with what only the domain knows of it.
    Complete {
        room: Box<RoomSummary>,
        reader: Option<UserId>,
    },
    /// A room that was erased.
    Unlist(RoomId),
    Erase {
        visitor: VisitorId,
    },
    /// Visitors who were last there so many days ago are forgotten.
    Retain {
        days: u32,
    },
    /// Whatever is known of a visitor.
    Know {
        visitor: VisitorId,
    },
}

#[derive(Clone)]
pub struct Join {
    pub user: UserId,
    pub user_name: Box<str>,
    /// None: not stated, which means `user` but leaves the connection free to observe.
    pub role: Option<Box<str>>,
    pub domain: Option<DomainId>,
    pub resume: Option<Resume>,
    /// Who it is from here on.
    pub token: Option<Secret>,
}

/// Where a client stands in a room's log.
#[derive(Clone)]
pub struct Resume {
    pub epoch: Box<str>,
    pub last_seq: Seq,
}

pub struct SendMessage {
    pub text: Box<str>,
    pub user: UserId,
    pub user_name: Box<str>,
    pub role: Box<str>,
    pub client_message_id: Option<ClientMessageId>,
    pub attachments: Option<Box<RawValue>>,
    /// Those of the attachments that are files of ours.
    pub files: Box<[Attached]>,
    pub domain: Option<DomainId>,
}

pub struct Online {
    pub user: UserId,
    pub user_name: Box<str>,
    pub status: Box<str>,
}

pub struct CustomerJoined {
    pub customer: UserId,
    pub customer_name: Box<str>,
    pub domain: Option<DomainId>,
}

/// Both bounds are exclusive. Without any, the newest.
pub struct HistoryQuery {
    pub before: Option<Seq>,
    pub after: Option<Seq>,
    pub limit: u32,
}

/// Who asks for a person, as far as it says so; else whom the connection joined as.
pub struct RequestHuman {
    pub user: Option<UserId>,
    pub user_name: Option<Box<str>>,
    pub reason: Option<Box<str>>,
    pub domain: Option<DomainId>,
}

/// Where a visitor is.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
}

/// A question to the AI.
pub struct Ask {
    pub message: Box<str>,
    /// Whether the text is wanted as it is written.
    pub streamed: bool,
    pub model: Option<Box<str>>,
    pub domain: Option<DomainId>,
    pub user: Option<UserId>,
    pub user_name: Option<Box<str>>,
    pub system_prompt: Option<Box<str>>,
    /// Also publish the question and the answer there.
    pub room: Option<RoomId>,
    /// Where the visitor is while asking.
    pub page: Option<Box<Page>>,
    /// Nobody has asked for an answer: the room's own AI gives one to what was said at this place of its log.
    pub said: Option<Seq>,
}

/// One parsed frame.
pub struct Request {
    pub reply_to: Option<Box<str>>,
    pub command: Command,
}

/// A refused frame; the reply bears the client's `id` if that could be read.
#[derive(Debug)]
pub struct Refusal {
    pub reply_to: Option<Box<str>>,
    pub error: ClientError,
}

impl Request {
    /// Parses one WebSocket text frame. `room` stands in for events that name none.
    pub fn parse(json: &str, room: Option<&RoomId>) -> Result<Self, Refusal> {
        Self::parse_from(json, room, &Whence::default())
    }

    /// The same of somebody of whom the host knows something.
    pub fn parse_from(json: &str, room: Option<&RoomId>, whence: &Whence) -> Result<Self, Refusal> {
        Self::read(Fields::parse(json), None, room, whence)
    }

    /// Parses an event whose name stands beside its payload, as on Socket.IO.
    pub fn parse_named(
        name: &str,
        payload: &str,
        ack: Option<u64>,
        room: Option<&RoomId>,
        whence: &Whence,
    ) -> Result<Self, Refusal> {
        let named = |fields| Fields { kind: Field::Text(name.into()), ..fields };
        Self::read(Fields::parse(payload).map(named), ack, room, whence)
    }

    fn read(
        fields: Result<Fields<'_>, ClientError>,
        ack: Option<u64>,
        room: Option<&RoomId>,
        whence: &Whence,
    ) -> Result<Self, Refusal> {
        let refuse = |error| Refusal { reply_to: ack::mark(ack, None), error };
        let mut fields = fields.map_err(refuse)?;
        let reply_to = reply_to(std::mem::take(&mut fields.id)).map(|id| ack::mark(ack, id));
        match reply_to {
            Err(error) => Err(refuse(error)),
            Ok(reply_to) => match parse::command(fields, room, whence) {
                Ok(command) => Ok(Self { reply_to, command }),
                Err(error) => Err(Refusal { reply_to, error }),
            },
        }
    }
}

/// The client's own id of a frame that is refused unread.
pub fn reply_to_of(json: &str) -> Option<Box<str>> {
    reply_to(Fields::parse(json).ok()?.id).ok()?
}

fn reply_to(id: Field<'_>) -> Result<Option<Box<str>>, ClientError> {
    id.line("id", REPLY_TO_CHARS_MAX)
}
impl Page {
    pub fn known(self) -> Option<Self> {
        (self.url.is_some() || self.title.is_some()).then_some(self)
    }
}

impl Ask {
    /// What a customer said in a room whose domain has its AI answer by itself.
    pub fn unasked(domain: DomainId, message: &Message) -> Self {
        Self {
            message: message.message.clone(),
            streamed: false,
            model: None,
            domain: Some(domain),
            user: Some(message.user_id.clone()),
            user_name: Some(message.user_name.as_ref().into()),
            system_prompt: None,
            room: Some(message.room_id.clone()),
            page: None,
            said: Some(message.seq),
        }
    }

    pub fn is_unasked(&self) -> bool {
        self.said.is_some()
    }

    /// Whether it is the very same question, by the same user. Where the visitor is may have changed.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.message, &self.user, &self.domain, &self.room)
            == (&other.message, &other.user, &other.domain, &other.room)
            && (&self.model, &self.system_prompt) == (&other.model, &other.system_prompt)
            && self.is_unasked() == other.is_unasked()
    }
}

pub const DEFAULT_ROLE: &str = "user";
pub const DEFAULT_STATUS: &str = "online";

#[cfg(test)]
mod tests;
