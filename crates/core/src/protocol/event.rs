//! What a client hears. Each event is one JSON object whose `type` names it; on Socket.IO the same object without
//! `type` is the payload.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{ClientError, ErrorCode};
use crate::ai::model::{FinishReason, Provider, Usage};
use crate::ids::{ClientMessageId, DomainId, RoomId, Seq, SocketId, UserId, VisitorId};
use crate::inbox::RoomSummary;
use crate::inbox::search::FoundPage;
use crate::knowledge::Passage;
use crate::rooms::message::Message;
use crate::store::conversations::Remembered;
use crate::store::erasure::Removed;
use crate::time::UnixMs;
use crate::visitors::VisitorRow;
use crate::visitors::reports::Report;

#[derive(Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    Pong,
    /// Acknowledges an event that has no reply, to those who want one; it is told as no event.
    Done {
        success: bool,
    },
    JoinedRoom {
        room_id: RoomId,
        success: bool,
        epoch: Arc<str>,
        seq: Seq,
        live_agent: bool,
        resumed: bool,
        timestamp: UnixMs,
    },
    LeftRoom {
        room_id: RoomId,
        success: bool,
    },
    UserJoined {
        room_id: RoomId,
        user_id: UserId,
        user_name: Arc<str>,
        role: Arc<str>,
        socket_id: SocketId,
        timestamp: UnixMs,
    },
    UserLeft {
        room_id: RoomId,
        user_id: UserId,
        user_name: Arc<str>,
        socket_id: SocketId,
        timestamp: UnixMs,
    },
    /// Above `ROOM_USERS_LISTED_MAX` people `users` is empty and `count` stands alone.
    RoomUsers {
        room_id: RoomId,
        users: Vec<RoomUser>,
        count: usize,
    },
    NewMessage(Arc<Message>),
    MessageSent {
        success: bool,
        id: Box<str>,
        room_id: RoomId,
        seq: Seq,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_message_id: Option<ClientMessageId>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
        timestamp: UnixMs,
    },
    /// `seq` is the edit's own place in the log, `id` the message's.
    MessageUpdated {
        room_id: RoomId,
        seq: Seq,
        id: Box<str>,
        message: Box<str>,
        timestamp: UnixMs,
    },
    MessageDeleted {
        room_id: RoomId,
        seq: Seq,
        id: Box<str>,
        timestamp: UnixMs,
    },
    LiveAgentToggled {
        room_id: RoomId,
        seq: Seq,
        enabled: bool,
        user_id: UserId,
        timestamp: UnixMs,
        /// Of the log that this is in; None if it only answers who asked for what was so already.
        #[serde(skip)]
        epoch: Option<Arc<str>>,
    },
    /// Nothing of what was said is there any more; `epoch` names the log that begins.
    RoomErased {
        room_id: RoomId,
        epoch: Arc<str>,
        seq: Seq,
        timestamp: UnixMs,
    },
    /// The receipt of an erasure, for whoever asked for it.
    Erased {
        room_id: RoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        domain_id: Option<DomainId>,
        removed: Removed,
        timestamp: UnixMs,
    },
    /// The same of a visitor.
    VisitorErased {
        removed: Removed,
    },
    /// What is known of a visitor.
    VisitorKnown {
        visitor: Option<Box<RawValue>>,
    },
    /// What the AI remembers of a conversation; `next` is the place to go on behind.
    Remembered {
        turns: Vec<Remembered>,
        next: Option<i64>,
    },
    MessageHistory {
        room_id: RoomId,
        messages: Vec<Message>,
        has_more: bool,
    },
    UserTyping {
        room_id: RoomId,
        user_id: UserId,
        user_name: Arc<str>,
        is_typing: bool,
    },
    UserPresence {
        room_id: RoomId,
        user_id: UserId,
        user_name: Box<str>,
        status: Arc<str>,
        timestamp: UnixMs,
    },
    CustomerJoinedRoom {
        room_id: RoomId,
        customer_id: UserId,
        customer_name: Box<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        domain_id: Option<DomainId>,
        timestamp: UnixMs,
    },
    /// Somebody wants a person. Who asked is told `success` alone.
    HumanRequested {
        room_id: RoomId,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        success: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        domain_id: Option<DomainId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<UserId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<Arc<str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Box<str>>,
        timestamp: UnixMs,
    },
    /// To a visitor of whom a room bears the name: somebody else has spoken there.
    MessageWaiting {
        room_id: RoomId,
        domain_id: DomainId,
        timestamp: UnixMs,
    },
    MarkedRead {
        room_id: RoomId,
        seq: Seq,
    },
    MessageRead {
        room_id: RoomId,
        user_id: UserId,
        seq: Seq,
        timestamp: UnixMs,
    },
    AiResponse(Box<AiResponse>),
    AiStreamChunk {
        chunk: Arc<str>,
        index: u32,
        conversation_id: RoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        room_id: Option<RoomId>,
        timestamp: UnixMs,
    },
    AiStreamComplete(Box<AiStreamComplete>),
    VisitorJoinedDomain {
        domain_id: DomainId,
        visitor_id: VisitorId,
        visitor_data: Arc<RawValue>,
        active_count: usize,
        timestamp: UnixMs,
        /// For the HTTP reply.
        #[serde(skip)]
        visitor: Box<VisitorRow>,
        #[serde(skip)]
        total: u64,
    },
    VisitorLeftDomain {
        domain_id: DomainId,
        visitor_id: VisitorId,
        active_count: usize,
        timestamp: UnixMs,
        /// For the HTTP reply: whether anybody left.
        #[serde(skip)]
        was_here: bool,
        #[serde(skip)]
        total: u64,
    },
    VisitorActivity {
        domain_id: DomainId,
        visitor_id: VisitorId,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<Box<str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Box<str>>,
        timestamp: UnixMs,
    },
    DomainStats {
        domain_id: DomainId,
        active_visitors: usize,
        total_visitors: u64,
        visitors: Vec<VisitorRow>,
        timestamp: UnixMs,
    },
    AllDomainStats {
        stats: BTreeMap<DomainId, DomainSummary>,
        timestamp: UnixMs,
    },
    /// To those who watch the room's domain; over HTTP the room alone.
    RoomUpdated {
        room: Box<RoomSummary>,
        timestamp: UnixMs,
    },
    /// What a site's hours came to, over HTTP.
    Report(Box<Report>),
    /// What was found, over HTTP.
    Found(FoundPage),
    /// The same of one store, for whoever puts them together.
    FoundHere {
        #[serde(skip)]
        messages: Vec<Message>,
        #[serde(skip)]
        is_partial: bool,
    },
    /// A page of the list, over HTTP.
    Rooms {
        rooms: Vec<RoomSummary>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<Box<str>>,
    },
    Error {
        code: ErrorCode,
        message: Box<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        timestamp: UnixMs,
    },
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomUser {
    pub user_id: UserId,
    pub user_name: Arc<str>,
    pub role: Arc<str>,
    pub status: Arc<str>,
}

#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainSummary {
    pub active_visitors: usize,
    pub total_visitors: u64,
    pub last_updated: UnixMs,
}

/// How an answer ended, whichever way it was asked for.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub model: Box<str>,
    pub provider: Provider,
    pub conversation_id: RoomId,
    /// Turns that the model saw, the question included.
    pub context_length: usize,
    pub usage: Usage,
    pub finish_reason: FinishReason,
    pub timestamp: UnixMs,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// What to show below a text that broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Box<str>>,
    /// The answer is none, or not all of one: a page shows how to get a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offers_human: bool,
    /// The passages that the model was shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Passage>,
}

#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Serialize)]
pub struct AiResponse {
    pub message: Box<str>,
    #[serde(flatten)]
    pub answer: Answer,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AiStreamComplete {
    pub full_response: Box<str>,
    /// Present in a room that the answer is published in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    #[serde(flatten)]
    pub answer: Answer,
}

impl Event {
    pub fn error(error: &ClientError, now: UnixMs) -> Self {
        Self::Error {
            code: error.code,
            message: error.message.as_ref().into(),
            retry_after_ms: error.retry_after_ms,
            timestamp: now,
        }
    }

    /// Whether a connection that does not keep up may miss it: the next of its kind says it anew.
    pub fn is_volatile(&self) -> bool {
        matches!(
            self,
            Self::UserTyping { .. }
                | Self::UserPresence { .. }
                | Self::RoomUsers { .. }
                | Self::UserJoined { .. }
                | Self::UserLeft { .. }
                | Self::VisitorActivity { .. }
        )
    }

    pub(crate) fn ends_typing(&self) -> bool {
        matches!(self, Self::UserTyping { is_typing: false, .. })
    }

    /// Where it stands in a room's log: the log's epoch, and the place. None for what is in no log.
    pub fn place(&self) -> Option<(&str, Seq)> {
        match self {
            Self::NewMessage(message) => Some((Message::epoch_of(&message.id)?, message.seq)),
            Self::MessageUpdated { id, seq, .. } | Self::MessageDeleted { id, seq, .. } => {
                Some((Message::epoch_of(id)?, *seq))
            }
            Self::LiveAgentToggled { epoch, seq, .. } => Some((epoch.as_deref()?, *seq)),
            _ => None,
        }
    }

    /// Appends the event as one JSON object.
    pub fn encode(&self, reply_to: Option<&str>, into: &mut Vec<u8>) {
        // Writing to memory cannot fail and no key of ours is anything but a string.
        let written = serde_json::to_writer(&mut *into, self);
        debug_assert!(written.is_ok(), "every event is JSON");
        let Some(reply_to) = reply_to else { return };
        debug_assert_eq!(into.last(), Some(&b'}'));
        into.pop();
        into.extend_from_slice(b",\"replyTo\":");
        let written = serde_json::to_writer(&mut *into, reply_to);
        debug_assert!(written.is_ok(), "a string is JSON");
        into.push(b'}');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn replies_bear_the_clients_id() {
        let mut bytes = Vec::new();
        Event::Pong.encode(Some("a\"1"), &mut bytes);
        assert_eq!(String::from_utf8(bytes).unwrap(), r#"{"type":"pong","replyTo":"a\"1"}"#);
    }
}
