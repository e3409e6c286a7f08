//! Erasing and exporting what is known of one visitor, which lies in many places: what a host has to ask of them, and how their
//! receipts add up.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ids::{DomainId, RoomId, UserId, VisitorId};
use crate::inbox::{DeskCommand, RoomSummary};

/// Rooms of a site that are looked at with one question.
pub const ROOMS_AT_ONCE: usize = 100;

/// What becomes of a room when a visitor is erased: their own goes, in others nobody is told any more that it was them.
pub fn erasure_in(room: &RoomSummary, visitor: &VisitorId) -> Option<DeskCommand> {
    if is_of(room, visitor) {
        return Some(DeskCommand::Erase);
    }
    UserId::parse(visitor.as_str()).map(DeskCommand::Anonymise)
}

/// Whether it is the visitor who is served there: sites call a visitor and a customer by one name.
pub fn is_of(room: &RoomSummary, visitor: &VisitorId) -> bool {
    room.customer.as_ref().is_some_and(|customer| customer.user_id.as_str() == visitor.as_str())
}

/// Whether the visitor wrote it, as a history has it: of a room that is somebody else's an export shows no more.
pub fn is_by(message: &Value, visitor: &VisitorId) -> bool {
    message.get("userId").and_then(Value::as_str) == Some(visitor.as_str())
}

/// What the AI remembers of a visitor who named no conversation.
pub fn conversation_of(domain: &DomainId, visitor: &VisitorId) -> RoomId {
    RoomId::of_visitor(domain.as_str(), visitor.as_str())
}

/// The same of a conversation with the AI that the visitor has begun: it goes, unless others have made a room of it.
pub fn erasure_of_conversation(
    room: &RoomSummary,
    domain: &DomainId,
    visitor: &VisitorId,
) -> Option<DeskCommand> {
    if !belongs_to(room, domain) {
        return None;
    }
    if room.last_message.is_some() { erasure_in(room, visitor) } else { Some(DeskCommand::Erase) }
}

/// Names are made of two with a hyphen between, so `eu-ann` of `acme` is called as `ann` of `acme-eu` is.
pub fn belongs_to(room: &RoomSummary, domain: &DomainId) -> bool {
    room.domain_id.as_ref().is_none_or(|of| of == domain)
}

/// The receipts of all places as one.
#[derive(Default)]
pub struct Receipt {
    rooms: Vec<RoomId>,
    conversations: Vec<RoomId>,
    removed: BTreeMap<String, u64>,
}

impl Receipt {
    /// The body that one place has answered with.
    pub fn add(&mut self, body: &Value) {
        for (what, count) in body.get("removed").and_then(Value::as_object).into_iter().flatten() {
            *self.removed.entry(what.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }

    pub fn add_room(&mut self, room: RoomId, body: &Value) {
        self.rooms.push(room);
        self.add(body);
    }

    /// One that held nothing is not named: its name is made of the visitor's, and says nothing by itself.
    pub fn add_conversation(&mut self, conversation: RoomId, body: &Value) {
        let counts = body.get("removed").and_then(Value::as_object);
        if counts.is_some_and(|counts| counts.values().any(|count| count.as_u64() > Some(0))) {
            self.conversations.push(conversation);
        }
        self.add(body);
    }

    /// `unsearched` names what may hold more of the visitor, and could not be looked into.
    pub fn body(&self, domain: &DomainId, visitor: &VisitorId, unsearched: &[&str]) -> Value {
        json!({
            "visitorId": visitor,
            "domainId": domain,
            "rooms": self.rooms,
            "conversations": self.conversations,
            "removed": self.removed,
            "unsearched": unsearched,
        })
    }
}
