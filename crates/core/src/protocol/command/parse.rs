//! From the fields of an event to what it asks for.

use super::{
    Ask, Command, CustomerJoined, DEFAULT_ROLE, DEFAULT_STATUS, HistoryQuery, Join, Online, Page,
    RequestHuman, Resume, RoomCommand, SendMessage, VisitorsCommand,
};
use crate::files;
use crate::ids::{ClientMessageId, DomainId, RoomId, Seq, UserId, VisitorId};
use crate::limits::{HISTORY_DEFAULT, HISTORY_MAX, ID_CHARS_MAX, LABEL_CHARS_MAX, URL_CHARS_MAX};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::fields::{Field, Fields, list, object};
use crate::protocol::query::Query;
use crate::visitors::whence::Whence;

pub(super) fn command(
    mut f: Fields<'_>,
    room: Option<&RoomId>,
    whence: &Whence,
) -> Result<Command, ClientError> {
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
        "request-human" => {
            let id = std::mem::take(&mut f.room_id).room(room)?;
            Ok(Command::Room(id, RoomCommand::RequestHuman(RequestHuman::parse(f)?)))
        }
        "ai-resume" => {
            let after = f.after_index.count("afterIndex")?.map(|index| index.min(u64::from(u32::MAX)) as u32);
            let conversation = f.conversation_id.required_id("conversationId", RoomId::parse)?;
            Ok(Command::Room(conversation, RoomCommand::ResumeAnswer { after, even_ended: true }))
        }
        "ai-cancel" => {
            let conversation = f.conversation_id.required_id("conversationId", RoomId::parse)?;
            Ok(Command::Room(conversation, RoomCommand::CancelAnswer))
        }
        "ai-chat" => ask(f, false),
        "ai-stream" => ask(f, true),
        "visitor-joined-domain" | "visitor-left-domain" | "visitor-activity" | "get-domain-stats" => {
            visitors(&kind, f, whence)
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

fn visitors(kind: &str, mut f: Fields<'_>, whence: &Whence) -> Result<Command, ClientError> {
    let domain = std::mem::take(&mut f.domain_id).required_id("domainId", DomainId::parse)?;
    let command = VisitorsCommand::parse(kind, f, &domain, whence)?;
    Ok(Command::Visitors(domain, command))
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
            token: f
                .token
                .text("token")?
                .filter(|token| !token.is_empty())
                .map(|token| token.into_owned().into()),
        })
    }
}

impl SendMessage {
    pub(super) fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
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
            files: files::attached(attachments.as_deref())?,
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

impl RequestHuman {
    fn parse(f: Fields<'_>) -> Result<Self, ClientError> {
        Ok(Self {
            user: f.user_id.id("userId", UserId::parse)?,
            user_name: f.user_name.label("userName")?,
            reason: f.reason.message("reason")?,
            domain: f.domain_id.id("domainId", DomainId::parse)?,
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

impl HistoryQuery {
    /// Of an address.
    pub fn of_query(query: &str) -> Result<Self, ClientError> {
        let query = Query::parse(query);
        Ok(Self {
            before: query.count("beforeSeq")?.map(Seq),
            after: query.count("afterSeq")?.map(Seq),
            limit: query.limit(HISTORY_DEFAULT as usize, HISTORY_MAX as usize)? as u32,
        })
    }
}

impl VisitorsCommand {
    pub(super) fn parse(
        kind: &str,
        f: Fields<'_>,
        domain: &DomainId,
        whence: &Whence,
    ) -> Result<Self, ClientError> {
        if kind == "get-domain-stats" {
            return Ok(Self::Stats);
        }
        // Who says to have no id is called as the host calls them, where it can.
        let is_anonymous =
            matches!(f.visitor_id, Field::Missing) && f.anonymous.flag("anonymous")? == Some(true);
        let own = if is_anonymous { whence.visitor(domain) } else { None };
        let visitor = match own {
            Some(visitor) => visitor,
            None => f.visitor_id.required_id("visitorId", VisitorId::parse)?,
        };
        let country = whence.country;
        Ok(match kind {
            "visitor-joined-domain" => {
                Self::Join { visitor, data: object("visitorData", f.visitor_data)?, country }
            }
            "visitor-left-domain" => Self::Leave { visitor },
            _ => Self::Activity { visitor, page: Page::parse(f.url, f.title)?, country },
        })
    }
}

impl Page {
    fn parse(url: Field<'_>, title: Field<'_>) -> Result<Self, ClientError> {
        Ok(Self { url: url.line("url", URL_CHARS_MAX)?, title: title.line("title", LABEL_CHARS_MAX)? })
    }
}

impl Ask {
    /// The question, and the conversation that it belongs to: the one that is named, else the visitor's on the site.
    pub(super) fn parse(f: Fields<'_>, streamed: bool) -> Result<(Option<RoomId>, Self), ClientError> {
        let message = f.message.message("message")?.filter(|text| !text.trim().is_empty());
        let ask = Self {
            message: message.ok_or_else(|| ClientError::invalid("message", "is required"))?,
            streamed,
            model: f.model.label("model")?,
            domain: f.domain_id.id("domainId", DomainId::parse)?,
            user: f.user_id.id("userId", UserId::parse)?,
            user_name: f.user_name.label("userName")?,
            system_prompt: f.system_prompt.message("systemPrompt")?,
            room: None,
            page: Page::parse(f.url, f.title)?.known().map(Box::new),
            said: None,
        };
        let named = f.conversation_id.id("conversationId", RoomId::parse)?;
        let own = || Some(RoomId::of_user(ask.domain.as_ref(), ask.user.as_ref()?));
        Ok((named.or_else(own), ask))
    }
}
