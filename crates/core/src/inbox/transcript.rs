//! A conversation to be kept elsewhere: as JSON, or as text that anybody can read.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::{RoomId, Seq};
use crate::limits::{HISTORY_MAX, TRANSCRIPT_NAME_CHARS};
use crate::protocol::command::HistoryQuery;
use crate::protocol::error::ClientError;
use crate::protocol::query::Query;
use crate::rooms::message::Message;
use crate::time::UnixMs;

/// Written page by page, so that no room is too long for it.
pub struct Transcript {
    format: Format,
    next: Option<Seq>,
    has_some: bool,
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Text,
}

impl Transcript {
    pub fn parse(query: &str) -> Result<Self, ClientError> {
        let format = match Query::parse(query).get("format") {
            None | Some("json") => Format::Json,
            Some("text") => Format::Text,
            Some(_) => return Err(ClientError::invalid("format", "must be json or text")),
        };
        Ok(Self { format, next: Some(Seq(0)), has_some: false })
    }

    /// The page that is to be written next. None: that was all.
    pub fn query(&self) -> Option<HistoryQuery> {
        Some(HistoryQuery { before: None, after: Some(self.next?), limit: HISTORY_MAX })
    }

    /// For a browser to keep and never to show.
    pub fn headers(&self, room: &RoomId) -> [(&'static str, String); 3] {
        let (kind, ending) = match self.format {
            Format::Json => ("application/json", "json"),
            Format::Text => ("text/plain; charset=utf-8", "txt"),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = room.as_str().chars().take(TRANSCRIPT_NAME_CHARS);
        let name: String = name.map(|c| if is_plain(c) { c } else { '_' }).collect();
        let disposition = format!("attachment; filename=\"transcript-{name}.{ending}\"");
        [
            ("content-type", kind.into()),
            ("content-disposition", disposition),
            ("x-content-type-options", "nosniff".into()),
        ]
    }

    pub fn begin(&self, room: &RoomId, now: UnixMs) -> String {
        match self.format {
            Format::Json => format!(
                "{{\"roomId\":{},\"exportedAt\":\"{now}\",\"messages\":[",
                serde_json::to_string(room).unwrap_or_default()
            ),
            Format::Text => format!("{room}, {now}\n\n"),
        }
    }

    /// A page, with what stands behind the last.
    pub fn page(&mut self, messages: &[Message], has_more: bool) -> String {
        self.next = messages.last().map(|message| message.seq).filter(|_| has_more);
        let mut written = String::new();
        for message in messages {
            match self.format {
                Format::Json => {
                    written += if self.has_some { ",\n" } else { "\n" };
                    written += &serde_json::to_string(message).unwrap_or_default();
                }
                Format::Text => {
                    let Message { timestamp, user_name, role, message, attachments, .. } = message;
                    // What goes on over several lines is indented, so that nobody can write another's line.
                    let text = message.replace("\r\n", "\n").replace(['\n', '\r'], "\n    ");
                    written += &format!("[{timestamp}] {user_name} ({role}): {text}\n");
                    written.extend(attachments.iter().flat_map(|list| attached(list)));
                }
            }
            self.has_some = true;
        }
        if let (Format::Json, None) = (self.format, self.next) {
            written += "\n]}\n";
        }
        written
    }
}

/// A line for each: its name, size and address, as far as the message says them. Those of ours have the address that their key
/// makes, whatever else is said of it.
fn attached(list: &RawValue) -> Vec<String> {
    let items: Vec<Value> = serde_json::from_str(list.get()).unwrap_or_default();
    let line = |item: &Value| {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let ours = text("key").map(|key| format!("/files/{key}"));
        let size = item.get("size").and_then(Value::as_u64).map(|size| format!("{size} bytes"));
        let parts = [text("name").map(Into::into), size, ours.or_else(|| text("url").map(Into::into))];
        let told = parts.into_iter().flatten().collect::<Vec<String>>().join(", ");
        let told = if told.is_empty() { "something without a name" } else { &told };
        // Nobody writes another's line with the name of a file.
        format!("    attached: {}\n", told.replace(char::is_control, " "))
    };
    items.iter().map(line).collect()
}
