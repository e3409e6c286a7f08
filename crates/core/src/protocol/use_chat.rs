//! The AI SDK's `useChat`: what it posts, and the UI message stream (version 1) that it reads. Its parts bear no keys but
//! their own, because some of its versions refuse others; what is ours stands in `messageMetadata`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ClientError;
use super::event::{Answer, Event};
use crate::ai::model::FinishReason;
use crate::knowledge::Passage;
use crate::time::UnixMs;

pub const HEADER: (&str, &str) = ("x-vercel-ai-ui-message-stream", "v1");

/// The page's whole history comes with each question, though only the end of it is read: memory is ours.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The text of the last message that is a user's.
pub(super) fn last_question(messages: &RawValue) -> Result<String, ClientError> {
    let refuse = || ClientError::invalid("messages", "must be a list of UI messages, one of them the user's");
    let all: Vec<&RawValue> = serde_json::from_str(messages.get()).map_err(|_| refuse())?;
    for message in all.into_iter().rev() {
        let message: Message = serde_json::from_str(message.get()).map_err(|_| refuse())?;
        if message.role == "user" {
            return Ok(message.text());
        }
    }
    Err(refuse())
}

/// As all versions so far have it: `parts`, or before those `content`.
#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

impl Message {
    fn text(self) -> String {
        let parts = match self.content {
            Some(Content::Text(text)) if self.parts.is_empty() => return text,
            Some(Content::Parts(parts)) if self.parts.is_empty() => parts,
            _ => self.parts,
        };
        parts.into_iter().filter(|part| part.kind == "text").filter_map(|part| part.text).collect()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Chunk<'a> {
    Start {
        message_id: &'a str,
    },
    StartStep,
    TextStart {
        id: &'static str,
    },
    TextDelta {
        id: &'static str,
        delta: &'a str,
    },
    TextEnd {
        id: &'static str,
    },
    #[serde(rename = "data-sources")]
    Sources {
        data: &'a [Passage],
    },
    FinishStep,
    Finish {
        finish_reason: &'static str,
        message_metadata: &'a Answer,
    },
}

/// The parts of a message by name: the answer, and what to say below one that broke off.
const TEXT: &str = "0";
const FALLBACK: &str = "1";

/// What an event adds to the body. `has_begun`: whether something has been added before; `read`: up to where its reader
/// has the text.
pub(super) fn encode(event: &Event, has_begun: bool, read: Option<u32>) -> Option<Vec<u8>> {
    let mut body = Body::default();
    match event {
        Event::AiStreamChunk { chunk, index, timestamp, .. } => {
            if !has_begun {
                body.begin(*timestamp);
                body.put(&Chunk::TextStart { id: TEXT });
            }
            if read.is_none_or(|read| *index > read) {
                body.put(&Chunk::TextDelta { id: TEXT, delta: chunk });
            }
        }
        Event::AiStreamComplete(complete) => {
            let answer = &complete.answer;
            if has_begun {
                body.put(&Chunk::TextEnd { id: TEXT });
            } else {
                body.begin(answer.timestamp);
                body.text(TEXT, &complete.full_response);
            }
            body.text(FALLBACK, answer.fallback.as_deref().unwrap_or_default());
            if !answer.sources.is_empty() {
                body.put(&Chunk::Sources { data: &answer.sources });
            }
            body.put(&Chunk::FinishStep);
            let finish_reason = finish_reason(answer.finish_reason);
            body.put(&Chunk::Finish { finish_reason, message_metadata: answer });
            body.0.extend_from_slice(b"data: [DONE]\n\n");
        }
        _ => return None,
    }
    Some(body.0)
}

#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn begin(&mut self, at: UnixMs) {
        self.put(&Chunk::Start { message_id: &format!("answer-{}", at.0) });
        self.put(&Chunk::StartStep);
    }

    fn text(&mut self, id: &'static str, delta: &str) {
        if !delta.is_empty() {
            self.put(&Chunk::TextStart { id });
            self.put(&Chunk::TextDelta { id, delta });
            self.put(&Chunk::TextEnd { id });
        }
    }

    fn put(&mut self, chunk: &Chunk<'_>) {
        self.0.extend_from_slice(b"data: ");
        let written = serde_json::to_writer(&mut self.0, chunk);
        debug_assert!(written.is_ok(), "a chunk is always JSON");
        self.0.extend_from_slice(b"\n\n");
    }
}

/// In its words, which have none for an answer that was stopped.
fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content-filter",
        FinishReason::Error => "error",
        FinishReason::Cancelled | FinishReason::Interrupted => "other",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is a result")]
mod tests {
    use super::*;

    fn asked(messages: &str) -> Result<String, ClientError> {
        last_question(&RawValue::from_string(messages.into()).unwrap())
    }

    #[test]
    fn the_last_of_the_users_messages_is_the_question() {
        let parts = r#"[{"role":"user","parts":[{"type":"text","text":"first"}]},
            {"role":"assistant","parts":[{"type":"step-start"},{"type":"text","text":"answer"}]},
            {"id":"m","role":"user","parts":[{"type":"text","text":"sec"},{"type":"file","url":"x"},{"type":"text","text":"ond"}]}]"#;
        assert_eq!(asked(parts).as_deref(), Ok("second"));
        assert_eq!(asked(r#"[{"role":"user","content":"plain"}]"#).as_deref(), Ok("plain"));
        assert_eq!(
            asked(r#"[{"role":"user","content":[{"type":"text","text":"list"}]}]"#).as_deref(),
            Ok("list")
        );
        assert_eq!(
            asked(r#"[{"role":"user","parts":[]},{"role":"assistant","parts":[]}]"#).as_deref(),
            Ok("")
        );
    }

    #[test]
    fn what_is_no_list_with_a_users_message_is_refused_by_name() {
        for messages in ["[]", "{}", "7", "[7]", r#"[{"parts":[]}]"#, r#"[{"role":"assistant","parts":[]}]"#]
        {
            let error = asked(messages).unwrap_err();
            assert!(error.message.contains("messages"), "{messages}: {}", error.message);
        }
    }
}
