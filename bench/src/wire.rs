//! The chat protocol as the generator speaks it. Nothing is parsed as JSON on the way in: the kind is the first field
//! (or found by a scan of the top level), the rest by byte search for a needle that JSON text can't contain unescaped.

use std::io::Write as _;

use memchr::memmem::Finder;

use crate::dialect::{Dialect, JOIN};
use crate::limits::TEXT_BYTES;

/// A connection, counted over all rooms; it is also the sender's name in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member(pub(crate) u32);

/// What a message says of itself, in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) run: RunId,
    pub(crate) sender: Member,
    pub(crate) number: u32,
    /// On the generator's own clock: when it was due, not when it got away.
    pub(crate) intended_ns: u64,
}

/// Tells this run's rooms and messages from those of another run on the same server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId(pub(crate) u32);

/// The server events that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NewMessage,
    MessageSent,
    JoinedRoom,
    AiChunk,
    AiComplete,
    Error,
    /// Of Socket.IO alone: its transport is open, its namespace is joined, it asks whether we live.
    Opened,
    Connected,
    Ping,
    /// Presence, history and whatever else: skipped.
    Other,
}

impl Kind {
    fn named(name: &[u8]) -> Self {
        match name {
            b"new-message" => Self::NewMessage,
            b"message-sent" => Self::MessageSent,
            b"joined-room" => Self::JoinedRoom,
            b"ai-stream-chunk" => Self::AiChunk,
            b"ai-stream-complete" => Self::AiComplete,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// `None`: an object without a type at its top level.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        Self::of_prefix(payload).or_else(|| top_level_type(payload).map(Self::named))
    }

    /// From the first bytes alone, if the type comes first.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Option<Self> {
        let rest = prefix.strip_prefix(b"{\"type\":\"")?;
        let end = memchr::memchr(b'"', rest)?;
        rest.get(..end).map(Self::named)
    }
}

/// The string under `"type"` at depth 1, wherever it stands: a serializer may sort its keys.
fn top_level_type(payload: &[u8]) -> Option<&[u8]> {
    let mut depth = 0u32;
    let mut at = 0usize;
    let mut key_is_type = false;
    while let Some(byte) = payload.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => key_is_type = false,
            b'"' => {
                let length = string_length(payload.get(at + 1..)?)?;
                let text = payload.get(at + 1..at + 1 + length)?;
                if depth == 1 && key_is_type {
                    return Some(text);
                }
                at += length + 1;
                let after = payload.get(at + 1..)?.iter().find(|b| !b.is_ascii_whitespace());
                key_is_type = depth == 1 && text == b"type" && after == Some(&b':');
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Bytes up to the closing quote.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| match (escaped, byte) {
        (true, _) => {
            escaped = false;
            false
        }
        (false, b'\\') => {
            escaped = true;
            false
        }
        (false, byte) => *byte == b'"',
    })
}

/// Compiled searches for the fields of a `new-message`.
pub(crate) struct Fields {
    mark: Finder<'static>,
    seq: Finder<'static>,
    room: Finder<'static>,
    message: Finder<'static>,
}

impl Fields {
    pub(crate) fn new() -> Self {
        Self {
            mark: Finder::new(b"wzq1 "),
            seq: Finder::new(b"\"seq\":"),
            room: Finder::new(b"\"roomId\":\""),
            message: Finder::new(b"\"message\":\""),
        }
    }

    /// `None` if the message is not of this tool.
    pub(crate) fn mark(&self, payload: &[u8]) -> Option<Mark> {
        let start = self.mark.find(payload)? + 5;
        let (run, rest) = payload.get(start..)?.split_at_checked(9)?;
        let (sender, rest) = rest.split_at_checked(9)?;
        let (number, rest) = rest.split_at_checked(9)?;
        Some(Mark {
            run: RunId(hex(run.first_chunk::<8>()?)? as u32),
            sender: Member(hex(sender.first_chunk::<8>()?)? as u32),
            number: hex(number.first_chunk::<8>()?)? as u32,
            intended_ns: hex(rest.first_chunk::<16>()?)?,
        })
    }

    pub(crate) fn seq(&self, payload: &[u8]) -> Option<u64> {
        let digits = payload.get(self.seq.find(payload)? + 6..)?;
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 || count > 18 {
            return None;
        }
        Some(digits.iter().take(count).fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
    }

    pub(crate) fn room<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        text_at(payload, self.room.find(payload)? + 10)
    }

    pub(crate) fn message<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        text_at(payload, self.message.find(payload)? + 11)
    }
}

/// The JSON string that begins there, as it stands, up to its closing quote.
pub(crate) fn text_at(payload: &[u8], start: usize) -> Option<&[u8]> {
    let text = payload.get(start..)?;
    text.get(..string_length(text)?)
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

/// How rooms and members are called, so that both directions agree.
pub(crate) fn room_name(run: RunId, room: u32) -> String {
    format!("bench-{:08x}-{room}", run.0)
}

pub(crate) fn join_event(dialect: Dialect, run: RunId, room: u32, member: Member) -> Vec<u8> {
    let mut out = Vec::new();
    dialect.begin(&mut out, JOIN);
    let (room, Member(member)) = (room_name(run, room), member);
    // Writing to a Vec can't fail.
    let _ =
        write!(out, r#""roomId":"{room}","userId":"u{member}","userName":"Member {member}","role":"agent""#);
    dialect.end(&mut out);
    out
}

/// Overwrites `out` with a `send-message` event; nothing in it needs escaping.
pub(crate) fn message_event(out: &mut Vec<u8>, dialect: Dialect, room: u32, mark: Mark) {
    dialect.begin(out, "send-message");
    let Mark { run, sender: Member(sender), number, intended_ns } = mark;
    let run = run.0;
    let _ = write!(out, r#""roomId":"bench-{run:08x}-{room}","message":""#);
    let text_start = out.len();
    let _ = write!(out, "wzq1 {run:08x} {sender:08x} {number:08x} {intended_ns:016x} ");
    out.resize(text_start + TEXT_BYTES, b'x');
    let _ = write!(out, r#"","userId":"u{sender}","userName":"Member {sender}","role":"agent""#);
    dialect.end(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark =
        Mark { run: RunId(0xfeed), sender: Member(77), number: 123_456, intended_ns: 0x0123_4567_89ab_cdef };

    #[test]
    fn a_message_is_json_with_a_text_of_128_bytes_and_its_mark_comes_back() {
        let mut out = Vec::new();
        message_event(&mut out, Dialect::Plain, 9, MARK);
        let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["message"].as_str().unwrap().len(), TEXT_BYTES);
        assert_eq!(event["roomId"], room_name(MARK.run, 9));
        let fields = Fields::new();
        assert_eq!(fields.mark(&out), Some(MARK));
        assert_eq!(fields.room(&out), Some(room_name(MARK.run, 9).as_bytes()));
        assert_eq!(fields.message(&out).map(<[u8]>::len), Some(TEXT_BYTES));
        let join: serde_json::Value =
            serde_json::from_slice(&join_event(Dialect::Plain, MARK.run, 9, MARK.sender)).unwrap();
        assert_eq!((join["userId"].as_str(), join["role"].as_str()), (Some("u77"), Some("agent")));
    }

    #[test]
    fn the_kind_is_found_in_front_behind_and_past_nested_objects() {
        for (json, kind) in [
            (r#"{"type":"new-message","seq":1}"#, Some(Kind::NewMessage)),
            (r#"{"id":"1","type":"message-sent"}"#, Some(Kind::MessageSent)),
            (
                r#"{ "a":[{"type":"x"}], "b":"\"type\":\"no\\", "type" : "joined-room"}"#,
                Some(Kind::JoinedRoom),
            ),
            (r#"{"message":"type","type":"error"}"#, Some(Kind::Error)),
            (r#"{"type":"room-users","users":[]}"#, Some(Kind::Other)),
            (r#"{"users":[{"type":"new-message"}]}"#, None),
            ("nonsense", None),
            ("\"", None),
        ] {
            assert_eq!(Kind::of(json.as_bytes()), kind, "{json}");
        }
        assert_eq!(Kind::of_prefix(br#"{"type":"room-us"#), None);
    }

    #[test]
    fn fields_that_are_absent_or_broken_are_none() {
        let fields = Fields::new();
        assert_eq!(fields.mark(b"wzq1 0000"), None);
        assert_eq!(fields.mark(b"wzq1 0000000g 00000000 00000000 0000000000000000"), None);
        assert_eq!(fields.seq(br#"{"seq":null}"#), None);
        assert_eq!(fields.seq(br#"{"seq":99999999999999999999}"#), None);
        assert_eq!(fields.seq(br#"{"seq":120}"#), Some(120));
        assert_eq!(fields.room(br#"{"roomId":"a"#), None);
    }
}
