//! What a client hears. Everything is written as WebSocket frames, whatever the transport: so one copy serves all
//! members of a room, and a session that moves from polling to WebSocket takes its queue along as it stands.

use std::io::Write;

use serde::Serialize;
use weeziq_core::limits::{FRAME_BYTES_MAX, PING_EVERY_MS, PONG_WITHIN_MS};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::event::Event;

use crate::websocket::frame::{packets, write_text};

pub(crate) const OPEN: &str = "0";
pub(crate) const CLOSE: &str = "1";
pub(crate) const PING: &str = "2";
pub(crate) const PROBED: &str = "3probe";
pub(crate) const NOOP: &str = "6";
/// The namespace is closed to the client, which does not come back by itself.
pub(crate) const DISCONNECT: &str = "41";

pub(crate) fn write_packet(packet: &str, into: &mut Vec<u8>) {
    write_text(packet.as_bytes(), into);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Handshake<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    ping_interval: i64,
    ping_timeout: i64,
    max_payload: usize,
}

/// The packet that opens a session.
pub(crate) fn open(sid: &str, upgrades: &[&str]) -> String {
    let handshake = Handshake {
        sid,
        upgrades,
        ping_interval: PING_EVERY_MS,
        ping_timeout: PONG_WITHIN_MS,
        max_payload: FRAME_BYTES_MAX,
    };
    format!("{OPEN}{}", json(&handshake))
}

#[derive(Serialize)]
struct Connected<'a> {
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a str>,
}

pub(crate) fn connected(sid: &str, pid: Option<&str>) -> String {
    format!("40{}", json(&Connected { sid, pid }))
}

#[derive(Serialize)]
struct Refused<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<RefusedFor>,
}

/// What a program reads of it: `error.data.code` of the client.
#[derive(Serialize)]
struct RefusedFor {
    code: ErrorCode,
}

pub(crate) fn connect_error(namespace: &str, message: &str) -> String {
    let shown = if namespace == "/" { String::new() } else { format!("{namespace},") };
    format!("44{shown}{}", json(&Refused { message, data: None }))
}

/// For a client that may not be in the namespace as who it says it is.
pub(crate) fn connect_refused(error: &ClientError) -> String {
    let data = Some(RefusedFor { code: error.code });
    format!("44{}", json(&Refused { message: &error.message, data }))
}

fn json(value: &impl Serialize) -> String {
    // No key of ours is anything but a string, so that this cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// Appends what answers somebody: the event with the offset that it leaves its receiver at, and its acknowledgement if it was asked for. An answer that is written bit
/// by bit is acknowledged with its end.
pub(crate) fn write_reply(
    told: &Event,
    reply_to: Option<&str>,
    offset: Option<&str>,
    into: &mut Vec<u8>,
    (json, scratch): (&mut Vec<u8>, &mut Vec<u8>),
) {
    let (ack_id, id) = weeziq_core::protocol::ack::split(reply_to);
    told.encode(id, json);
    if !matches!(told, Event::Done { .. }) {
        event(json, offset, into, scratch);
    }
    if let Some(ack_id) = ack_id.filter(|_| !matches!(told, Event::AiStreamChunk { .. })) {
        ack(ack_id, json, into, scratch);
    }
}

/// Appends a frame of `/ws` as those hear it who speak Socket.IO.
pub(crate) fn translate(frame: &[u8], into: &mut Vec<u8>) {
    for json in packets(frame).flatten() {
        event(json.as_bytes(), None, into, &mut Vec::new());
    }
}

/// Appends an event, given as the JSON object that it is over `/ws`. `offset` says where a client stands that has it.
pub(crate) fn event(json: &[u8], offset: Option<&str>, into: &mut Vec<u8>, scratch: &mut Vec<u8>) {
    let (name, fields) = parts(json);
    scratch.clear();
    scratch.extend_from_slice(b"42[\"");
    scratch.extend_from_slice(name);
    scratch.extend_from_slice(b"\",{");
    scratch.extend_from_slice(fields);
    if let Some(offset) = offset {
        scratch.extend_from_slice(b",\"");
        scratch.extend_from_slice(offset.as_bytes());
        scratch.push(b'"');
    }
    scratch.push(b']');
    write_text(scratch, into);
}

/// Appends the acknowledgement of an event: the same object without `type`.
pub(crate) fn ack(id: u64, json: &[u8], into: &mut Vec<u8>, scratch: &mut Vec<u8>) {
    let (_, fields) = parts(json);
    scratch.clear();
    // Writing to memory cannot fail.
    let _ = write!(scratch, "43{id}[{{");
    scratch.extend_from_slice(fields);
    scratch.push(b']');
    write_text(scratch, into);
}

/// An event's name, and its fields up to and with the closing brace. `type` comes first in every event.
fn parts(json: &[u8]) -> (&[u8], &[u8]) {
    let named = json.strip_prefix(b"{\"type\":\"").unwrap_or_default();
    let end = named.iter().position(|byte| *byte == b'"').unwrap_or_default();
    let (name, rest) = named.split_at_checked(end).unwrap_or_default();
    let rest = rest.strip_prefix(b"\"").unwrap_or_default();
    debug_assert!(!name.is_empty(), "every event has a type");
    (name, rest.strip_prefix(b",").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> String {
        let (mut frame, mut scratch) = (Vec::new(), Vec::new());
        write(&mut frame, &mut scratch);
        String::from_utf8(frame.split_off(2)).expect("short frames of text")
    }

    #[test]
    fn an_event_loses_its_type_and_keeps_the_rest() {
        let json = br#"{"type":"user-typing","roomId":"r","isTyping":true}"#;
        let expected = r#"42["user-typing",{"roomId":"r","isTyping":true}]"#;
        assert_eq!(text(|into, scratch| event(json, None, into, scratch)), expected);
        let offset = r#"42["pong",{},"abc-7"]"#;
        assert_eq!(text(|into, scratch| event(br#"{"type":"pong"}"#, Some("abc-7"), into, scratch)), offset);
        assert_eq!(
            text(|into, scratch| ack(3, json, into, scratch)),
            r#"433[{"roomId":"r","isTyping":true}]"#
        );
    }

    #[test]
    fn handshakes_look_as_clients_expect() {
        let opened = r#"0{"sid":"s","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}"#;
        assert_eq!(open("s", &["websocket"]), opened);
        assert_eq!(connected("s", None), r#"40{"sid":"s"}"#);
        assert_eq!(
            connect_error("/random", "Invalid namespace"),
            r#"44/random,{"message":"Invalid namespace"}"#
        );
        assert_eq!(connect_error("/", "no"), r#"44{"message":"no"}"#);
    }
}
