//! What a client may ask for, parsed. A value of these types keeps every limit of the contract.

use serde_json::value::RawValue;

use super::ack;
use super::error::{ClientError, ErrorCode};
use super::fields::{Field, Fields, list, object};
use super::use_chat;
use crate::ids::{ClientMessageId, DomainId, RoomId, Seq, UserId, VisitorId};
use crate::limits::{
    FRAME_BYTES_MAX, HISTORY_DEFAULT, HISTORY_MAX, ID_CHARS_MAX, LABEL_CHARS_MAX, REPLY_TO_CHARS_MAX,
    URL_CHARS_MAX,
};

/// One event of a client, by who handles it.
pub enum Command {
    Ping,
    Room(RoomId, RoomCommand),
    Visitors(DomainId, VisitorsCommand),
    AllDomainStats,
    /// To the conversation, which is the room that bears its id. None: a fresh one.
    Ask(Option<RoomId>, Ask),
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
    /// Of the conversation: what its answer has said after that chunk, and says from here on.
    ResumeAnswer {
        after: Option<u32>,
    },
    CancelAnswer,
}

pub enum VisitorsCommand {
    Join { visitor: VisitorId, data: Option<Box<RawValue>> },
    Leave { visitor: VisitorId },
    Activity { visitor: VisitorId, page: Page },
    Stats,
}

#[derive(Clone)]
pub struct Join {
    pub user: UserId,
    pub user_name: Box<str>,
    /// None: not stated, which means `user` but leaves the connection free to observe.
    pub role: Option<Box<str>>,
    pub domain: Option<DomainId>,
    pub resume: Option<Resume>,
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

/// Where a visitor is.
#[derive(Clone, Default)]
pub struct Page {
    pub url: Option<Box<str>>,
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
    pub system_prompt: Option<Box<str>>,
    /// Also publish the question and the answer there.
    pub room: Option<RoomId>,
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
        Self::read(Fields::parse(json), None, room)
    }

    /// Parses an event whose name stands beside its payload, as on Socket.IO.
    pub fn parse_named(
        name: &str,
        payload: &str,
        ack: Option<u64>,
        room: Option<&RoomId>,
    ) -> Result<Self, Refusal> {
        let named = |fields| Fields { kind: Field::Text(name.into()), ..fields };
        Self::read(Fields::parse(payload).map(named), ack, room)
    }

    fn read(
        fields: Result<Fields<'_>, ClientError>,
        ack: Option<u64>,
        room: Option<&RoomId>,
    ) -> Result<Self, Refusal> {
        let refuse = |error| Refusal { reply_to: ack::mark(ack, None), error };
        let mut fields = fields.map_err(refuse)?;
        let reply_to = reply_to(std::mem::take(&mut fields.id)).map(|id| ack::mark(ack, id));
        match reply_to {
            Err(error) => Err(refuse(error)),
            Ok(reply_to) => match command(fields, room) {
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

fn command(mut f: Fields<'_>, room: Option<&RoomId>) -> Result<Command, ClientError> {
    let kind = std::mem::take(&mut f.kind).text("type")?;
    let kind = kind.ok_or_else(|| ClientError::invalid("type", "is required"))?;
    let in_room = |id: Field<'_>, command| Ok(Command::Room(id.room(room)?, command));
    match &*kind {
        "ping" => Ok(Command::Ping),
        "send-message" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            Ok(Command::Room(id, RoomCommand::Send(SendMessage::parse(f)?)))
        }
        "join-room" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            Ok(Command::Room(id, RoomCommand::Join(Join::parse(f)?)))
        }
        "leave-room" => in_room(f.room_id, RoomCommand::Leave),
        "typing-start" => typing(f, room, Some(true)),
        "typing-stop" => typing(f, room, Some(false)),
        "typing" => typing(f, room, None),
        "user-online" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            Ok(Command::Room(id, RoomCommand::Online(Online::parse(f)?)))
        }
        "customer-joined-room" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            Ok(Command::Room(id, RoomCommand::CustomerJoined(CustomerJoined::parse(f)?)))
        }
        "mark-read" => {
            let seq = f.seq.count("seq")?.ok_or_else(|| ClientError::invalid("seq", "is required"))?;
            in_room(f.room_id, RoomCommand::MarkRead { seq: Seq(seq) })
        }
        "fetch-history" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            Ok(Command::Room(id, RoomCommand::FetchHistory(HistoryQuery::parse(f)?)))
        }
        "edit-message" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            let message = message_id(std::mem::take(&mut f.message_id))?;
            let text = f.message.message("message")?.filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| ClientError::invalid("message", "is required"))?;
            Ok(Command::Room(id, RoomCommand::Edit { message, text }))
        }
        "delete-message" => {
            let message = message_id(std::mem::take(&mut f.message_id))?;
            in_room(f.room_id, RoomCommand::Delete { message })
        }
        "toggle-live-agent" => {
            let enabled = std::mem::take(&mut f.enabled).flag("enabled")?;
            let enabled = enabled.ok_or_else(|| ClientError::invalid("enabled", "is required"))?;
            in_room(f.room_id, RoomCommand::ToggleLiveAgent { enabled })
        }
        "ai-resume" => {
            let after = f.after_index.count("afterIndex")?.map(|index| index.min(u64::from(u32::MAX)) as u32);
            let conversation = f.conversation_id.required_id("conversationId", RoomId::parse)?;
            Ok(Command::Room(conversation, RoomCommand::ResumeAnswer { after }))
        }
        "ai-cancel" => {
            let conversation = f.conversation_id.required_id("conversationId", RoomId::parse)?;
            Ok(Command::Room(conversation, RoomCommand::CancelAnswer))
        }
        "ai-chat" => ask(f, false),
        "ai-stream" => ask(f, true),
        "visitor-joined-domain" | "visitor-left-domain" | "visitor-activity" | "get-domain-stats" => {
            visitors(&kind, f)
        }
        "get-all-domain-stats" => Ok(Command::AllDomainStats),
        unknown => {
            let shown: String = unknown.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(ClientError::new(ErrorCode::UnknownType, format!("type {shown:?} is not known")))
        }
    }
}

fn message_id(id: Field<'_>) -> Result<Box<str>, ClientError> {
    id.line("messageId", ID_CHARS_MAX)?.ok_or_else(|| ClientError::invalid("messageId", "is required"))
}

/// Who types is known from the join; what the event says of it has to be well formed all the same.
fn typing(f: Fields<'_>, room: Option<&RoomId>, stated: Option<bool>) -> Result<Command, ClientError> {
    let room = f.room_id.room(room)?;
    f.user_id.required_id("userId", UserId::parse)?;
    f.user_name.label("userName")?;
    let is_typing = match stated {
        Some(is_typing) => is_typing,
        None => {
            f.is_typing.flag("isTyping")?.ok_or_else(|| ClientError::invalid("isTyping", "is required"))?
        }
    };
    Ok(Command::Room(room, RoomCommand::Typing { is_typing }))
}

fn ask(mut f: Fields<'_>, streamed: bool) -> Result<Command, ClientError> {
    let room = std::mem::take(&mut f.room_id).id("roomId", RoomId::parse)?;
    let (conversation, ask) = Ask::parse(f, streamed)?;
    Ok(Command::Ask(conversation, Ask { room, ..ask }))
}

fn visitors(kind: &str, mut f: Fields<'_>) -> Result<Command, ClientError> {
    let domain = std::mem::take(&mut f.domain_id).required_id("domainId", DomainId::parse)?;
    Ok(Command::Visitors(domain, VisitorsCommand::parse(kind, f)?))
}

impl Join {
    fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
        let user = f.user_id.required_id("userId", UserId::parse)?;
        object("customerData", f.customer_data)?;
        let (epoch, last_seq) = (f.epoch.label("epoch")?, f.last_seq.count("lastSeq")?);
        Ok(Self {
            user_name: f.user_name.required_label("userName")?,
            user,
            role: f.role.label("role")?,
            domain: f.domain_id.id("domainId", DomainId::parse)?,
            resume: epoch.zip(last_seq).map(|(epoch, seq)| Resume { epoch, last_seq: Seq(seq) }),
        })
    }
}

impl SendMessage {
    fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
        let text = f.message.message("message")?;
        let attachments = list("attachments", f.attachments)?;
        if text.as_deref().is_none_or(str::is_empty) && attachments.is_none() {
            return Err(ClientError::invalid("message", "is required"));
        }
        let user = f.user_id.required_id("userId", UserId::parse)?;
        Ok(Self {
            text: text.unwrap_or_default(),
            user_name: f.user_name.required_label("userName")?,
            user,
            role: f.role.label("role")?.unwrap_or_else(|| DEFAULT_ROLE.into()),
            client_message_id: f.client_message_id.id("clientMessageId", ClientMessageId::parse)?,
            attachments,
            domain: f.domain_id.id("domainId", DomainId::parse)?,
        })
    }
}

impl Online {
    fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
        let user = f.user_id.required_id("userId", UserId::parse)?;
        Ok(Self {
            user_name: f.user_name.required_label("userName")?,
            user,
            status: f.status.label("status")?.unwrap_or_else(|| DEFAULT_STATUS.into()),
        })
    }
}

impl CustomerJoined {
    fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
        let customer = f.customer_id.required_id("customerId", UserId::parse)?;
        Ok(Self {
            customer_name: f.customer_name.required_label("customerName")?,
            customer,
            domain: f.domain_id.id("domainId", DomainId::parse)?,
        })
    }
}

impl HistoryQuery {
    fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
        let limit = f.limit.count("limit")?;
        if limit == Some(0) {
            return Err(ClientError::invalid("limit", "must be 1 or more"));
        }
        Ok(Self {
            before: f.before_seq.count("beforeSeq")?.map(Seq),
            after: f.after_seq.count("afterSeq")?.map(Seq),
            limit: limit.map_or(HISTORY_DEFAULT, |n| n.min(u64::from(HISTORY_MAX)) as u32),
        })
    }
}

impl VisitorsCommand {
    fn parse(kind: &str, f: Fields<'_>) -> Result<Self, ClientError> {
        if kind == "get-domain-stats" {
            return Ok(Self::Stats);
        }
        let visitor = f.visitor_id.required_id("visitorId", VisitorId::parse)?;
        Ok(match kind {
            "visitor-joined-domain" => Self::Join { visitor, data: object("visitorData", f.visitor_data)? },
            "visitor-left-domain" => Self::Leave { visitor },
            _ => Self::Activity {
                visitor,
                page: Page {
                    url: f.url.line("url", URL_CHARS_MAX)?,
                    title: f.title.line("title", LABEL_CHARS_MAX)?,
                },
            },
        })
    }
}

impl Ask {
    /// The question, and the conversation that it belongs to: the one that is named, else the visitor's on the site.
    fn parse(f: Fields<'_>, streamed: bool) -> Result<(Option<RoomId>, Self), ClientError> {
        let message = f.message.message("message")?.filter(|text| !text.trim().is_empty());
        let ask = Self {
            message: message.ok_or_else(|| ClientError::invalid("message", "is required"))?,
            streamed,
            model: f.model.label("model")?,
            domain: f.domain_id.id("domainId", DomainId::parse)?,
            user: f.user_id.id("userId", UserId::parse)?,
            system_prompt: f.system_prompt.message("systemPrompt")?,
            room: None,
        };
        let named = f.conversation_id.id("conversationId", RoomId::parse)?;
        let own = || {
            let (domain, user) = (ask.domain.as_ref(), ask.user.as_ref()?);
            Some(RoomId::of_visitor(domain.map_or("default", DomainId::as_str), user.as_str()))
        };
        Ok((named.or_else(own), ask))
    }
}

/// The bodies of HTTP requests: the same fields, without `type`.
pub mod body {
    use super::*;

    /// A question, and the conversation that it belongs to.
    pub struct Question {
        pub conversation: Option<RoomId>,
        pub ask: Ask,
        /// The AI SDK's `useChat` asks, and wants its own stream.
        pub is_use_chat: bool,
    }

    pub fn ask(json: &str, streamed: bool) -> Result<Question, ClientError> {
        let mut fields = Fields::parse(json)?;
        let messages = fields.messages.filter(|_| matches!(fields.message, Field::Missing));
        if let Some(messages) = messages {
            fields.message = Field::Text(use_chat::last_question(messages)?.into());
            let chat = std::mem::take(&mut fields.id).id("id", RoomId::parse)?;
            if let (Field::Missing, Some(chat)) = (&fields.conversation_id, chat) {
                fields.conversation_id = Field::Text(chat.as_str().to_owned().into());
            }
        }
        if messages.is_none() && json.len() > FRAME_BYTES_MAX {
            let why = format!("the body must have {FRAME_BYTES_MAX} bytes at most");
            return Err(ClientError::new(ErrorCode::TooLarge, why));
        }
        let (conversation, ask) = Ask::parse(fields, streamed)?;
        Ok(Question { conversation, ask, is_use_chat: messages.is_some() })
    }

    /// `kind` is the event that the route stands for.
    pub fn visitors(kind: &str, json: &str) -> Result<(DomainId, VisitorsCommand), ClientError> {
        let mut fields = Fields::parse(json)?;
        let domain = std::mem::take(&mut fields.domain_id).required_id("domainId", DomainId::parse)?;
        Ok((domain, VisitorsCommand::parse(kind, fields)?))
    }
}

pub const DEFAULT_ROLE: &str = "user";
pub const DEFAULT_STATUS: &str = "online";

#[cfg(test)]
mod tests;
