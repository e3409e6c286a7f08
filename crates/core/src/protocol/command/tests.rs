use proptest::prelude::*;

use super::*;
use crate::protocol::error::ErrorCode::{self, InvalidJson, InvalidRequest, TooLarge, UnknownType};

fn refused(json: &str) -> (ErrorCode, String) {
    match Request::parse(json, None) {
        Err(refusal) => (refusal.error.code, refusal.error.message.into_owned()),
        Ok(_) => panic!("{json} should be refused"),
    }
}

#[test]
fn what_strict_readers_refuse_reaches_nobody() {
    let deep = |levels| ["[".repeat(levels), "]".repeat(levels)].concat();
    let sent = |attachments: &str| {
        format!(
            r#"{{"type":"send-message","roomId":"r","userId":"u","userName":"U","message":"m","attachments":{attachments}}}"#
        )
    };
    for attachments in [deep(65), deep(8_000), "[1e999]".into(), r#"["\ud800"]"#.into()] {
        let (code, message) = refused(&sent(&attachments));
        assert_eq!(code, InvalidRequest, "{attachments}");
        assert!(message.contains("attachments"), "{message}");
    }
    for attachments in [deep(64), r#"[{"url":"/a","size":1e3,"name":"\ud83d\ude00"}]"#.into()] {
        assert!(Request::parse(&sent(&attachments), None).is_ok(), "{attachments}");
    }
}

#[test]
fn a_refusal_names_the_code_and_the_field() {
    let long = "x".repeat(129);
    for (json, code, field) in [
        ("", InvalidJson, "object"),
        ("[]", InvalidJson, "object"),
        ("\"join-room\"", InvalidJson, "object"),
        ("{\"type\":", InvalidJson, "JSON"),
        ("{} {}", InvalidJson, "JSON"),
        ("{}", InvalidRequest, "type"),
        (r#"{"type":7}"#, InvalidRequest, "type"),
        (r#"{"type":"dance"}"#, UnknownType, "dance"),
        (r#"{"type":"join-room"}"#, InvalidRequest, "roomId"),
        (r#"{"type":"join-room","roomId":"r"}"#, InvalidRequest, "userId"),
        (r#"{"type":"join-room","roomId":5,"userId":"u"}"#, InvalidRequest, "roomId"),
        (r#"{"type":"join-room","roomId":"a\nb","userId":"u"}"#, InvalidRequest, "roomId"),
        (&format!(r#"{{"type":"join-room","roomId":"{long}","userId":"u"}}"#), InvalidRequest, "roomId"),
        (
            r#"{"type":"join-room","roomId":"r","userId":"u","userName":"U","lastSeq":-1}"#,
            InvalidRequest,
            "lastSeq",
        ),
        (
            r#"{"type":"join-room","roomId":"r","userId":"u","userName":"U","customerData":[]}"#,
            InvalidRequest,
            "customerData",
        ),
        (r#"{"type":"send-message","roomId":"r","userId":"u"}"#, InvalidRequest, "message"),
        (
            r#"{"type":"send-message","roomId":"r","userId":"u","userName":"U","message":""}"#,
            InvalidRequest,
            "message",
        ),
        (
            r#"{"type":"send-message","roomId":"r","userId":"u","userName":"U","message":{}}"#,
            InvalidRequest,
            "message",
        ),
        (r#"{"type":"typing","roomId":"r","userId":"u","isTyping":"yes"}"#, InvalidRequest, "isTyping"),
        (r#"{"type":"fetch-history","roomId":"r","limit":0}"#, InvalidRequest, "limit"),
        (r#"{"type":"mark-read","roomId":"r","seq":1.5}"#, InvalidRequest, "seq"),
        (r#"{"type":"ai-chat"}"#, InvalidRequest, "message"),
        (r#"{"type":"visitor-joined-domain","visitorId":"v"}"#, InvalidRequest, "domainId"),
        (r#"{"type":"visitor-joined-domain","domainId":"d"}"#, InvalidRequest, "visitorId"),
        (r#"{"type":"ping","type":"ping"}"#, InvalidRequest, "type"),
    ] {
        let (got, message) = refused(json);
        assert_eq!(got, code, "{json}: {message}");
        assert!(message.contains(field), "{json}: {message}");
    }
}

#[test]
fn too_much_is_too_large() {
    let text = "x".repeat(16 * 1024);
    let send = |text: &str| {
        format!(r#"{{"type":"send-message","roomId":"r","userId":"u","userName":"U","message":"{text}"}}"#)
    };
    assert!(Request::parse(&send(&text), None).is_ok());
    assert_eq!(refused(&send(&format!("{text}x"))).0, TooLarge);
    let data = "x".repeat(4 * 1024);
    let visit = format!(
        r#"{{"type":"visitor-joined-domain","domainId":"d","visitorId":"v","visitorData":{{"a":"{data}"}}}}"#
    );
    assert_eq!(refused(&visit).0, TooLarge);
}

#[test]
fn a_refusal_bears_the_clients_id() {
    let refusal = Request::parse(r#"{"type":"dance","id":"7"}"#, None).err();
    assert_eq!(refusal.and_then(|refusal| refusal.reply_to).as_deref(), Some("7"));
}

#[test]
fn the_conversation_is_named_or_the_visitors_own() {
    let conversation = |rest: &str| {
        let json = format!(r#"{{"type":"ai-chat","message":"hi"{rest}}}"#);
        match Request::parse(&json, None).map(|request| request.command) {
            Ok(Command::Ask(conversation, _)) => conversation.map(|id| id.to_string()),
            _ => panic!("{json} is a question"),
        }
    };
    assert_eq!(conversation(r#","domainId":"d","userId":"u""#).as_deref(), Some("d-u"));
    assert_eq!(conversation(r#","domainId":"d","userId":"u","conversationId":"c""#).as_deref(), Some("c"));
    assert_eq!(conversation(r#","domainId":"d""#), None);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,200}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

const KINDS: &[&str] = &[
    "ping",
    "join-room",
    "leave-room",
    "send-message",
    "typing-start",
    "typing",
    "user-online",
    "customer-joined-room",
    "mark-read",
    "fetch-history",
    "ai-chat",
    "ai-stream",
    "visitor-joined-domain",
    "visitor-left-domain",
    "visitor-activity",
    "get-domain-stats",
    "get-all-domain-stats",
];
const NAMES: &[&str] = &[
    "roomId",
    "userId",
    "userName",
    "role",
    "domainId",
    "message",
    "clientMessageId",
    "epoch",
    "lastSeq",
    "seq",
    "limit",
    "isTyping",
    "visitorId",
    "visitorData",
    "customerId",
    "attachments",
    "model",
    "id",
    "conversationId",
];

proptest! {
    #[test]
    fn nothing_panics_the_parser(text in ".{0,300}") {
        let _ = Request::parse(&text, None);
    }

    #[test]
    fn what_is_accepted_keeps_every_limit(
        kind in prop::sample::select(KINDS),
        fields in prop::collection::btree_map(prop::sample::select(NAMES), json(), 0..NAMES.len()),
    ) {
        let mut object: serde_json::Map<_, _> = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        object.insert("type".into(), kind.into());
        let text = serde_json::Value::Object(object).to_string();
        if let Ok(request) = Request::parse(&text, None) {
            prop_assert!(request.reply_to.as_ref().is_none_or(|id| id.chars().count() <= 64));
            if let Command::Room(room, command) = &request.command {
                let name = room.as_str();
                prop_assert!(!name.is_empty() && name.chars().count() <= 128 && !name.chars().any(char::is_control));
                if let RoomCommand::Send(send) = command {
                    prop_assert!(send.text.len() <= 16 * 1024 && send.role.chars().count() <= 256);
                }
            }
        }
    }
}
