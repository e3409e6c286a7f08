//! What a client hears, read back from the JSON that the core wrote.

use std::sync::Arc;

use serde::Deserialize;
use weeziq_core::protocol::event::Event;

/// The fields of all events that clients of the simulation look at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heard {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) room_id: Option<String>,
    pub(crate) seq: Option<u64>,
    pub(crate) id: Option<String>,
    pub(crate) epoch: Option<String>,
    pub(crate) resumed: Option<bool>,
    pub(crate) live_agent: Option<bool>,
    pub(crate) enabled: Option<bool>,
    pub(crate) client_message_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) is_typing: Option<bool>,
    pub(crate) users: Option<Vec<Person>>,
    pub(crate) count: Option<usize>,
    pub(crate) code: Option<String>,
    pub(crate) retry_after_ms: Option<i64>,
    pub(crate) messages: Option<Vec<Past>>,
    pub(crate) visitors: Option<Vec<Visitor>>,
    pub(crate) message: Option<String>,
    pub(crate) conversation_id: Option<String>,
    pub(crate) chunk: Option<String>,
    pub(crate) index: Option<u32>,
    pub(crate) full_response: Option<String>,
    pub(crate) finish_reason: Option<String>,
    #[serde(default)]
    pub(crate) error: bool,
    #[serde(skip)]
    pub(crate) json: String,
    /// Of the whole JSON: two tellings of one event must be the same to the byte.
    #[serde(skip)]
    pub(crate) print: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Person {
    pub(crate) user_id: String,
}

/// A message of a history.
#[derive(Deserialize)]
pub(crate) struct Past {
    pub(crate) seq: u64,
}

#[derive(Deserialize)]
pub(crate) struct Visitor {
    pub(crate) id: String,
}

/// A frame on its way to one client. `replyTo` stands apart so that one reading serves a whole room.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) heard: Arc<Heard>,
    pub(crate) reply_to: Option<Box<str>>,
}

impl Heard {
    /// None if the core wrote what no client can read.
    pub(crate) fn of(event: &Event) -> Option<Arc<Self>> {
        let mut bytes = Vec::new();
        event.encode(None, &mut bytes);
        let json = String::from_utf8(bytes).ok()?;
        let mut heard: Self = serde_json::from_str(&json).ok()?;
        heard.print = fingerprint(&json);
        heard.json = json;
        Some(Arc::new(heard))
    }

    /// Whether it has a place in its room's log. What answers a request by `replyTo` has none of its own.
    pub(crate) fn is_durable(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "new-message" | "message-updated" | "message-deleted" | "live-agent-toggled"
        )
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
