//! Where what is said to one connection comes together: behind a takeover it hears no more of an answer.
//!
//! A conversation that is not its room's own learns of a takeover a moment after the room's members do, and tells whoever
//! asked by itself. What it says in that moment is kept from those who have been told of the takeover, and the end of the
//! answer says to them what they have heard of it.

use serde_json::Value;

use crate::ai::model::FinishReason;
use crate::ids::RoomId;
use crate::limits::ROOMS_PER_CONNECTION_MAX;
use crate::protocol::event::{AiStreamComplete, Event};

/// Of one connection. Empty, and small, where it is in no room that people are in charge of.
#[derive(Default)]
pub struct Fence(Option<Box<Inside>>);

#[derive(Default)]
struct Inside {
    /// Where it has been told that people are in charge.
    rooms: Vec<RoomId>,
    /// What it has not heard of the answers that it hears no more of.
    unheard: Vec<Unheard>,
}

struct Unheard {
    conversation: RoomId,
    text: String,
    /// Of the piece that comes next. An earlier one has come before.
    next_index: u32,
    has_ended: bool,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Sifted {
    Told,
    Kept,
    /// This is told in its place.
    Amended(String),
}

impl Fence {
    /// Holds what is about to be told against what has been. False: it is not to be told.
    pub fn passes(&mut self, event: &mut Event) -> bool {
        match event {
            Event::AiStreamChunk { chunk, index, conversation_id, room_id: Some(room), .. } => {
                return !self.keeps(room, conversation_id, (*index, chunk));
            }
            Event::AiStreamComplete(complete) => self.amend(complete),
            event => self.notice(event),
        }
        true
    }

    /// What a room tells it with all others.
    pub fn notice(&mut self, event: &Event) {
        match event {
            Event::JoinedRoom { room_id, live_agent, .. } => self.note(room_id, *live_agent),
            Event::LiveAgentToggled { room_id, enabled, .. } => self.note(room_id, *enabled),
            Event::LeftRoom { room_id, .. } | Event::RoomErased { room_id, .. } => self.note(room_id, false),
            _ => {}
        }
    }

    /// Whether [`Fence::notice`] has anything to learn from it.
    pub fn concerns(event: &Event) -> bool {
        matches!(event, Event::LiveAgentToggled { .. } | Event::RoomErased { .. })
    }

    /// The same for a host that has the event as its frame.
    pub fn sift(&mut self, frame: &str) -> Sifted {
        let kind = frame.strip_prefix(r#"{"type":""#).and_then(|rest| rest.split('"').next());
        let turns = matches!(kind, Some("joined-room" | "live-agent-toggled" | "left-room" | "room-erased"));
        let answers = self.stands() && matches!(kind, Some("ai-stream-chunk" | "ai-stream-complete"));
        if !turns && !answers {
            return Sifted::Told;
        }
        let Ok(mut said) = serde_json::from_str::<Value>(frame) else { return Sifted::Told };
        let text = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or_default();
        let id = |field: &str| RoomId::parse(text(field));
        let is = |field: &str| said.get(field) == Some(&Value::Bool(true));
        match (kind, id("roomId"), id("conversationId")) {
            (Some("ai-stream-complete"), _, Some(conversation)) => {
                let Some(heard) = self.heard_of(&conversation, text("fullResponse")) else {
                    return Sifted::Told;
                };
                let has_failed = is("error");
                if let Some(said) = said.as_object_mut() {
                    said.insert("fullResponse".into(), heard.into());
                    if !has_failed {
                        said.insert("finishReason".into(), "cancelled".into());
                    }
                }
                Sifted::Amended(said.to_string())
            }
            (Some("ai-stream-chunk"), Some(room), Some(conversation)) => {
                let index = said.get("index").and_then(Value::as_u64).unwrap_or_default() as u32;
                match self.keeps(&room, &conversation, (index, text("chunk"))) {
                    true => Sifted::Kept,
                    false => Sifted::Told,
                }
            }
            (_, Some(room), _) => {
                self.note(&room, is("enabled") || is("liveAgent"));
                Sifted::Told
            }
            _ => Sifted::Told,
        }
    }

    /// Whether people are in charge of that room, which it knows or is about to hear.
    pub fn note(&mut self, room: &RoomId, in_charge: bool) {
        match &mut self.0 {
            None if !in_charge => {}
            inside => {
                let inside = inside.get_or_insert_default();
                inside.rooms.retain(|known| known != room);
                if in_charge {
                    inside.rooms.push(room.clone());
                }
            }
        }
        self.0.take_if(|inside| inside.rooms.is_empty() && inside.unheard.is_empty());
    }

    /// Whether anything may be kept from it.
    pub fn stands(&self) -> bool {
        self.0.is_some()
    }

    /// From the first piece that is kept on nothing of the answer is told, or there would be a gap.
    fn keeps(&mut self, room: &RoomId, conversation: &RoomId, (index, chunk): (u32, &str)) -> bool {
        let Some(inside) = &mut self.0 else { return false };
        inside.unheard.retain(|unheard| unheard.conversation != *conversation || !unheard.has_ended);
        if let Some(unheard) = inside.unheard.iter_mut().find(|unheard| unheard.conversation == *conversation)
        {
            if index == unheard.next_index {
                unheard.text.push_str(chunk);
                unheard.next_index += 1;
            }
            return true;
        }
        if !inside.rooms.contains(room) {
            return false;
        }
        if inside.unheard.len() >= ROOMS_PER_CONNECTION_MAX {
            inside.unheard.remove(0);
        }
        inside.unheard.push(Unheard {
            conversation: conversation.clone(),
            text: chunk.to_owned(),
            next_index: index.saturating_add(1),
            has_ended: false,
        });
        true
    }

    fn amend(&mut self, complete: &mut AiStreamComplete) {
        if let Some(heard) = self.heard_of(&complete.answer.conversation_id, &complete.full_response) {
            complete.full_response = heard.into();
            if !complete.answer.error {
                complete.answer.finish_reason = FinishReason::Cancelled;
            }
        }
    }

    /// What has been told of an answer, if that is not all. More than one request of a connection may wait for its end.
    fn heard_of(&mut self, conversation: &RoomId, all: &str) -> Option<String> {
        let mut unheard = self.0.as_mut()?.unheard.iter_mut();
        let unheard = unheard.find(|unheard| unheard.conversation == *conversation)?;
        unheard.has_ended = true;
        all.strip_suffix(&*unheard.text).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOGGLED: &str = r#"{"type":"live-agent-toggled","roomId":"lobby","seq":4,"enabled":true}"#;

    fn chunk(index: u32, text: &str) -> String {
        json!({"chunk": text, "index": index, "conversationId": "talk", "roomId": "lobby"})
            .to_string()
            .replacen('{', r#"{"type":"ai-stream-chunk","#, 1)
    }

    fn end(text: &str) -> String {
        json!({
            "fullResponse": text, "roomId": "lobby", "model": "gpt-4o", "provider": "openai", "conversationId": "talk",
            "contextLength": 1, "usage": {"inputTokens": 1, "outputTokens": 2}, "finishReason": "stop",
            "timestamp": "2026-11-23T21:00:00.000Z", "replyTo": "7",
        })
        .to_string()
        .replacen('{', r#"{"type":"ai-stream-complete","#, 1)
    }

    fn amended(sifted: Sifted) -> Value {
        let Sifted::Amended(frame) = sifted else { panic!("{sifted:?}") };
        serde_json::from_str(&frame).unwrap()
    }

    #[test]
    fn behind_a_takeover_nothing_of_an_answer_is_told_and_its_end_says_what_was_heard() {
        let mut fence = Fence::default();
        assert_eq!(fence.sift(&chunk(0, "Hats ")), Sifted::Told);
        assert_eq!(fence.sift(TOGGLED), Sifted::Told);
        assert_eq!(fence.sift(&chunk(1, "für ")), Sifted::Kept);
        assert_eq!(fence.sift(&chunk(1, "für ")), Sifted::Kept, "a replay adds nothing");
        assert_eq!(fence.sift(&chunk(2, "alle.")), Sifted::Kept);
        for _ in 0..2 {
            let last = amended(fence.sift(&end("Hats für alle.")));
            assert_eq!(last["fullResponse"], "Hats ");
            assert_eq!(last["finishReason"], "cancelled");
            assert_eq!(last["replyTo"], "7");
        }
    }

    #[test]
    fn a_hand_back_lets_the_next_answer_through_and_not_the_rest_of_the_last() {
        let mut fence = Fence::default();
        fence.sift(TOGGLED);
        assert_eq!(fence.sift(&chunk(3, "für ")), Sifted::Kept);
        fence.sift(&TOGGLED.replace("true", "false"));
        assert_eq!(fence.sift(&chunk(4, "alle.")), Sifted::Kept, "it would stand behind a gap");
        assert_eq!(amended(fence.sift(&end("Hats für alle.")))["fullResponse"], "Hats ");
        assert_eq!(fence.sift(&chunk(0, "Yes.")), Sifted::Told);
        assert_eq!(fence.sift(&end("Yes.")), Sifted::Told);
    }

    #[test]
    fn it_stands_where_people_are_in_charge_and_nowhere_else() {
        let mut fence = Fence::default();
        fence.sift(r#"{"type":"joined-room","roomId":"lobby","success":true,"liveAgent":true}"#);
        assert!(fence.stands());
        let elsewhere = chunk(0, "Hats ").replace("lobby", "hall");
        assert_eq!(fence.sift(&elsewhere), Sifted::Told);
        assert_eq!(fence.sift(&elsewhere.replace(r#""roomId":"hall","#, "")), Sifted::Told);
        assert_eq!(fence.sift(r#"{"type":"new-message","message":"ai-stream-chunk"}"#), Sifted::Told);
        fence.sift(r#"{"type":"left-room","roomId":"lobby","success":true}"#);
        assert!(!fence.stands());
    }
}
