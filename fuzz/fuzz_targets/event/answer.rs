//! What becomes of a frame on its way back out: every answer is one JSON object that says what was meant.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use weeziq_core::ids::{Seq, SocketId};
use weeziq_core::protocol::command::{Command, Refusal, Request, RoomCommand, SendMessage};
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::message::Message;
use weeziq_core::time::UnixMs;

/// The codes of docs/protocol.md that a frame may be refused with before anything is asked of a room.
const CODES: [&str; 5] = ["invalid_json", "invalid_request", "unknown_type", "too_large", "rate_limited"];
/// A refusal is a sentence, not an echo.
const SENTENCE_BYTES_MAX: usize = 1_024;

/// A message as a client reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    message: String,
    user_id: String,
    user_name: String,
    role: String,
    client_message_id: Option<String>,
    attachments: Option<Box<RawValue>>,
    reply_to: Option<String>,
}

pub(crate) fn refuses(refusal: &Refusal) {
    let error = &refusal.error;
    assert!(!error.message.is_empty() && error.message.len() <= SENTENCE_BYTES_MAX, "{:?}", error.message);
    assert!((400..500).contains(&error.code.http_status()), "the client is to blame");
    let mut bytes = Vec::new();
    Event::error(error, UnixMs(0)).encode(refusal.reply_to.as_deref(), &mut bytes);
    let heard: Value = serde_json::from_slice(&bytes).expect("an error is JSON");
    assert_eq!(heard["type"], "error");
    assert!(heard["code"].as_str().is_some_and(|code| CODES.contains(&code)), "{heard}");
    assert_eq!(heard["message"], *error.message);
    assert_eq!(heard["replyTo"].as_str(), refusal.reply_to.as_deref());
}

/// What is told to others carries what was said, and no more of it than there was.
pub(crate) fn carries(request: &Request) {
    if let Command::Room(room, RoomCommand::Send(send)) = &request.command {
        let event = Event::NewMessage(Arc::new(Message {
            id: Message::id_of("epoch", Seq(1)),
            room_id: room.clone(),
            seq: Seq(1),
            message: send.text.clone(),
            user_id: send.user.clone(),
            user_name: send.user_name.as_ref().into(),
            role: send.role.as_ref().into(),
            socket_id: SocketId::from_entropy(1).as_str().into(),
            client_message_id: send.client_message_id.clone(),
            attachments: send.attachments.clone(),
            sources: None,
            timestamp: UnixMs(0),
        }));
        let mut bytes = Vec::new();
        event.encode(request.reply_to.as_deref(), &mut bytes);
        let heard: Heard = serde_json::from_slice(&bytes).expect("a message is JSON");
        assert!(is_same(&heard, send) && heard.reply_to.as_deref() == request.reply_to.as_deref());
    }
}

fn is_same(heard: &Heard, send: &SendMessage) -> bool {
    let raw = |raw: &Option<Box<RawValue>>| raw.as_ref().map(|raw| raw.get().to_owned());
    *heard.message == *send.text
        && heard.user_id == send.user.as_str()
        && *heard.user_name == *send.user_name
        && *heard.role == *send.role
        && heard.client_message_id.as_deref() == send.client_message_id.as_ref().map(|id| id.as_str())
        && raw(&heard.attachments) == raw(&send.attachments)
}
