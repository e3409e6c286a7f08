//! What a client sends: Engine.IO packets, and the Socket.IO packets inside their messages.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// No packet of the protocol. The session ends, since what follows could not be trusted either.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// An Engine.IO packet that a client may send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EnginePacket<'a> {
    Close,
    /// Asked over a WebSocket that offers itself to a polling session.
    Probe,
    Pong,
    Message(&'a str),
    /// A binary message in base64, which polling carries among the text.
    Binary,
    Upgrade,
    Noop,
}

impl<'a> EnginePacket<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        match text.split_at_checked(1) {
            Some(("4", message)) => Ok(Self::Message(message)),
            Some(("b", _)) => Ok(Self::Binary),
            Some(("3", "" | "probe")) => Ok(Self::Pong),
            Some(("1", "")) => Ok(Self::Close),
            Some(("2", "probe")) => Ok(Self::Probe),
            Some(("5", "")) => Ok(Self::Upgrade),
            Some(("6", "")) => Ok(Self::Noop),
            // Only the server opens, and since revision 4 only the server pings.
            _ => Err(Malformed),
        }
    }
}

/// A Socket.IO packet that a client may send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// `/` if the packet names none.
    pub(crate) namespace: &'a str,
    pub(crate) body: Body<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// With the client's `auth` as JSON, if it sent any.
    Connect(Option<&'a str>),
    Disconnect,
    Event {
        ack: Option<u64>,
        /// A JSON list: the event's name and its arguments.
        args: &'a str,
    },
    /// Of something that was never asked for: no event of ours wants an acknowledgement.
    Ack,
    /// An event whose arguments follow as so many binary messages.
    BinaryEvent {
        ack: Option<u64>,
        attachments: u32,
    },
}

impl<'a> Packet<'a> {
    pub(crate) fn parse(message: &'a str) -> Result<Self, Malformed> {
        let (kind, rest) = message.split_at_checked(1).ok_or(Malformed)?;
        let (attachments, rest) = match kind {
            "5" | "6" => {
                let (count, rest) = rest.split_once('-').ok_or(Malformed)?;
                (count.parse().map_err(|_| Malformed)?, rest)
            }
            _ => (0, rest),
        };
        let (namespace, rest) = namespace(rest);
        let (ack, data) = ack_id(rest)?;
        let body = match kind {
            "0" if ack.is_none() => Body::Connect(connect_data(data)?),
            "1" if ack.is_none() && data.is_empty() => Body::Disconnect,
            "2" if data.starts_with('[') => Body::Event { ack, args: data },
            "3" if ack.is_some() && data.starts_with('[') => Body::Ack,
            "5" if data.starts_with('[') => Body::BinaryEvent { ack, attachments },
            "6" if ack.is_some() => Body::BinaryEvent { ack: None, attachments },
            _ => return Err(Malformed),
        };
        Ok(Self { namespace, body })
    }
}

/// `/name,rest`; the comma may be left out where nothing follows.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    let (named, rest) = text.split_once(',').unwrap_or((text, ""));
    // A query behind the name is not part of it.
    (named.split_once('?').map_or(named, |(name, _)| name), rest)
}

fn ack_id(text: &str) -> Result<(Option<u64>, &str), Malformed> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = text.split_at_checked(digits).ok_or(Malformed)?;
    if id.is_empty() {
        return Ok((None, rest));
    }
    id.parse().map(|id| (Some(id), rest)).map_err(|_| Malformed)
}

fn connect_data(data: &str) -> Result<Option<&str>, Malformed> {
    match data.as_bytes().first() {
        None => Ok(None),
        Some(b'{') if serde_json::from_str::<IgnoredAny>(data).is_ok() => Ok(Some(data)),
        Some(_) => Err(Malformed),
    }
}

/// An event as its packet has it. Arguments behind the first are ignored, as unknown fields are.
#[derive(Debug)]
pub(crate) struct Args<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) payload: Option<&'a RawValue>,
}

impl<'a> Args<'a> {
    pub(crate) fn parse(args: &'a str) -> Result<Self, Malformed> {
        serde_json::from_str(args).map_err(|_| Malformed)
    }

    /// The first argument. An event without any, or with `null`, has an empty one.
    pub(crate) fn payload(&self) -> &'a str {
        self.payload.map(RawValue::get).filter(|payload| *payload != "null").unwrap_or("{}")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Args<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ArgsVisitor)
    }
}

struct ArgsVisitor;

impl<'de> Visitor<'de> for ArgsVisitor {
    type Value = Args<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list that begins with the name of an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let name = seq.next_element::<Name<'de>>()?.ok_or_else(|| A::Error::custom("no name"))?;
        let payload = seq.next_element()?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Args { name: name.0, payload })
    }
}

/// A name is a string; the protocol allows numbers too, which name nothing here.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        match raw.as_bytes().first() {
            Some(b'"') => {
                serde_json::from_str::<Text<'de>>(raw).map(|text| Self(text.0)).map_err(D::Error::custom)
            }
            Some(b'0'..=b'9' | b'-') => Ok(Self(Cow::Borrowed(raw))),
            _ => Err(D::Error::custom("the name of an event is a string")),
        }
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(message: &str) -> Result<(&str, Body<'_>), Malformed> {
        Packet::parse(message).map(|packet| (packet.namespace, packet.body))
    }

    #[test]
    fn engine_packets_are_told_apart() {
        use EnginePacket::*;
        for (text, packet) in [
            ("1", Close),
            ("2probe", Probe),
            ("3", Pong),
            ("40", Message("0")),
            ("4", Message("")),
            ("bAQID", Binary),
            ("5", Upgrade),
            ("6", Noop),
        ] {
            assert_eq!(EnginePacket::parse(text), Ok(packet), "{text}");
        }
        for text in ["", "0", "0{}", "2", "2hello", "7", "abc", "11", "5x", "é"] {
            assert_eq!(EnginePacket::parse(text), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn socket_packets_are_told_apart() {
        let event = |ack, args| Ok(("/", Body::Event { ack, args }));
        assert_eq!(parsed("0"), Ok(("/", Body::Connect(None))));
        assert_eq!(parsed(r#"0{"token":"t"}"#), Ok(("/", Body::Connect(Some(r#"{"token":"t"}"#)))));
        assert_eq!(parsed("0/admin"), Ok(("/admin", Body::Connect(None))));
        assert_eq!(parsed("0/admin?a=b,{}"), Ok(("/admin", Body::Connect(Some("{}")))));
        assert_eq!(parsed("1"), Ok(("/", Body::Disconnect)));
        assert_eq!(parsed(r#"2["ping"]"#), event(None, r#"["ping"]"#));
        assert_eq!(parsed(r#"212["ping",{}]"#), event(Some(12), r#"["ping",{}]"#));
        assert_eq!(parsed(r#"2/a,7["x"]"#).map(|(namespace, _)| namespace), Ok("/a"));
        assert_eq!(parsed("30[]"), Ok(("/", Body::Ack)));
        let binary = Body::BinaryEvent { ack: Some(3), attachments: 2 };
        assert_eq!(parsed(r#"52-3["x",{"_placeholder":true,"num":0}]"#), Ok(("/", binary)));
        for refused in
            ["", "abc", "2", "2{}", "3[]", "0[]", "0{", "1x", "5[]", "5-[]", "9", "299999999999999999999[]"]
        {
            assert_eq!(parsed(refused), Err(Malformed), "{refused:?}");
        }
    }

    #[test]
    fn events_have_a_name_and_a_payload() {
        for (args, name, payload) in [
            (r#"["ping"]"#, "ping", "{}"),
            (r#"["ping",null]"#, "ping", "{}"),
            (r#"[ "a\"b" , {"x":1} , 2, [3] ]"#, "a\"b", r#"{"x":1}"#),
            (r#"[7,"x"]"#, "7", "\"x\""),
        ] {
            let parsed = Args::parse(args).expect(args);
            assert_eq!((&*parsed.name, parsed.payload()), (name, payload));
        }
        for refused in ["[]", "[{}]", "[null]", "[\"a\"", "{}", "[\"a\",]", "[\"\\ud800\"]"] {
            assert!(Args::parse(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        /// Whatever comes, it is read or refused.
        #[test]
        fn nothing_panics(text in "[0-6]?\\PC{0,40}") {
            if let Ok(EnginePacket::Message(message)) = EnginePacket::parse(&text)
                && let Ok(Packet { body: Body::Event { args, .. }, .. }) = Packet::parse(message)
            {
                let _ = Args::parse(args);
            }
            let _ = Packet::parse(&text);
        }

        #[test]
        fn what_was_written_is_read(name in "\\PC{1,20}", ack in proptest::option::of(any::<u64>()), value in "\\PC{0,20}") {
            let payload = serde_json::json!({ "value": value }).to_string();
            let shown = ack.map(|ack| ack.to_string()).unwrap_or_default();
            let message = format!("2{shown}[{},{payload}]", serde_json::json!(name));
            let packet = Packet::parse(&message).expect("it is a packet");
            let Body::Event { ack: read, args } = packet.body else { panic!("it is an event") };
            let args = Args::parse(args).expect("they are arguments");
            prop_assert_eq!((read, &*args.name, args.payload()), (ack, name.as_str(), payload.as_str()));
        }
    }
}
