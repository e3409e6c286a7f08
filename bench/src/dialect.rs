//! Two ways to say the same events: WeeziQ's own frames, and those of Socket.IO 4 (Engine.IO 4 over WebSocket), so
//! that a Socket.IO server is measured by the same generator and judged by the same ledger.
//!
//! In Socket.IO a text frame begins with the kind of its packet: `0` opens, `2` and `3` are ping and pong, `40` connects
//! to the namespace, `42[name,{…}]` is an event (a number before the bracket asks for an acknowledgement), `43n[…]` is
//! that acknowledgement.

use crate::wire::Kind;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// One JSON object a frame; `type` names the event.
    #[default]
    Plain,
    SocketIo,
}

impl Dialect {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "plain" => Some(Self::Plain),
            "socketio" => Some(Self::SocketIo),
            _ => None,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Plain => "/ws",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// Whether the client may speak as soon as the upgrade is answered; Engine.IO's server opens first.
    pub(crate) fn client_speaks_first(self) -> bool {
        self == Self::Plain
    }

    /// What the frame is about; `None` for what this dialect does not know.
    pub(crate) fn kind(self, payload: &[u8]) -> Option<Kind> {
        match self {
            Self::Plain => Kind::of(payload),
            Self::SocketIo => kind_of_packet(payload),
        }
    }

    /// What has to be said at once to such a frame, before and beside all events.
    pub(crate) fn reply_to(self, kind: Option<Kind>) -> Option<&'static [u8]> {
        match kind {
            Some(Kind::Opened) => Some(b"40"),
            Some(Kind::Ping) => Some(b"3"),
            _ => None,
        }
    }

    /// Overwrites `out` with the beginning of an event, up to where its fields follow.
    pub(crate) fn begin(self, out: &mut Vec<u8>, event: &str) {
        out.clear();
        let (before, after): (&[u8], &[u8]) = match (self, event) {
            (Self::Plain, _) => (b"{\"type\":\"", b"\","),
            (Self::SocketIo, JOIN) => (b"420[\"", b"\",{"),
            // One number for all: acknowledgements of a connection come in order, and the server only echoes it.
            (Self::SocketIo, _) => (b"421[\"", b"\",{"),
        };
        out.extend_from_slice(before);
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(after);
    }

    pub(crate) fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self == Self::Plain { b"}" } else { b"}]" });
    }
}

pub(crate) const JOIN: &str = "join-room";

fn kind_of_packet(payload: &[u8]) -> Option<Kind> {
    let (packet, rest) = payload.split_first()?;
    match (packet, rest.split_first()) {
        (b'0', _) => Some(Kind::Opened),
        (b'2', None) => Some(Kind::Ping),
        (b'4', Some((b'0', _))) => Some(Kind::Connected),
        (b'4', Some((b'1' | b'4', _))) => Some(Kind::Error),
        (b'4', Some((b'2', event))) => Some(kind_of_event(event)),
        (b'4', Some((b'3', ack))) => Some(kind_of_ack(ack)),
        _ => None,
    }
}

fn kind_of_event(event: &[u8]) -> Kind {
    if event.starts_with(b"[\"new-message\",") {
        Kind::NewMessage
    } else if event.starts_with(b"[\"error\",") {
        Kind::Error
    } else {
        Kind::Other
    }
}

/// The peer's acknowledgements begin with whether it did what was asked.
fn kind_of_ack(ack: &[u8]) -> Kind {
    let digits = ack.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, body) = ack.split_at(digits);
    match (body.starts_with(b"[{\"success\":true"), id) {
        (false, _) => Kind::Error,
        (true, b"0") => Kind::JoinedRoom,
        (true, _) => Kind::MessageSent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_socket_io_are_known_by_their_first_bytes() {
        for (packet, kind) in [
            (r#"0{"sid":"a","pingInterval":25000}"#, Some(Kind::Opened)),
            ("2", Some(Kind::Ping)),
            (r#"40{"sid":"b"}"#, Some(Kind::Connected)),
            (r#"44{"message":"no"}"#, Some(Kind::Error)),
            ("41", Some(Kind::Error)),
            (r#"42["new-message",{"seq":1}]"#, Some(Kind::NewMessage)),
            (r#"42["room-users",{}]"#, Some(Kind::Other)),
            (r#"430[{"success":true,"seq":0}]"#, Some(Kind::JoinedRoom)),
            (r#"431[{"success":true,"seq":7}]"#, Some(Kind::MessageSent)),
            (r#"431[{"success":false}]"#, Some(Kind::Error)),
            ("6", None),
            ("", None),
        ] {
            assert_eq!(Dialect::SocketIo.kind(packet.as_bytes()), kind, "{packet}");
        }
        assert_eq!(Dialect::SocketIo.reply_to(Some(Kind::Opened)), Some(&b"40"[..]));
        assert_eq!(Dialect::SocketIo.reply_to(Some(Kind::Ping)), Some(&b"3"[..]));
    }

    #[test]
    fn an_event_is_framed_as_each_dialect_has_it() {
        for (dialect, event, expected) in [
            (Dialect::Plain, JOIN, r#"{"type":"join-room","a":1}"#),
            (Dialect::SocketIo, JOIN, r#"420["join-room",{"a":1}]"#),
            (Dialect::SocketIo, "send-message", r#"421["send-message",{"a":1}]"#),
        ] {
            let mut out = b"old".to_vec();
            dialect.begin(&mut out, event);
            out.extend_from_slice(b"\"a\":1");
            dialect.end(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
