#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use std::sync::Arc;

use super::*;
use crate::access::token::{Claims, Domains};
use crate::protocol::command::Request;
use crate::time::UnixMs;

fn known(role: Role, rooms: Option<&[&str]>) -> Identity {
    Identity::Known(Arc::new(Claims {
        subject: UserId::parse("ann").unwrap(),
        name: "Ann".into(),
        role,
        domains: Domains::Only([DomainId::parse("shop").unwrap()].into()),
        rooms: rooms.map(|rooms| rooms.iter().map(|room| RoomId::known(room)).collect()),
        expires_at: UnixMs(i64::MAX),
    }))
}

fn parsed(json: &str) -> Command {
    Request::parse(json, Some(&RoomId::known("r"))).unwrap().command
}

fn may(who: &Identity, json: &str) -> bool {
    who.authorise(&mut parsed(json), |room| room.as_str() == "joined").is_ok()
}

/// What an event says of its sender once it has been let through.
fn signed(who: &Identity, json: &str) -> String {
    let mut command = parsed(json);
    who.authorise(&mut command, |_| true).unwrap();
    match command {
        Command::Room(_, RoomCommand::Join(it)) => {
            format!("{} {} {}", it.user, it.user_name, it.role.as_deref().unwrap_or("-"))
        }
        Command::Room(_, RoomCommand::Send(it)) => format!("{} {} {}", it.user, it.user_name, it.role),
        Command::Room(_, RoomCommand::Online(it)) => format!("{} {}", it.user, it.user_name),
        Command::Room(_, RoomCommand::CustomerJoined(it)) => format!("{} {}", it.customer, it.customer_name),
        Command::Ask(conversation, ask) => {
            let of = |name: Option<&str>| name.unwrap_or("-").to_owned();
            format!(
                "{} in {}",
                of(ask.user.as_ref().map(UserId::as_str)),
                of(conversation.as_ref().map(RoomId::as_str))
            )
        }
        _ => panic!("{json} says nothing of its sender"),
    }
}

const JOIN: &str = r#"{"type":"join-room","userId":"bob","userName":"Bob"}"#;
const SAY: &str = r#"{"type":"send-message","userId":"bob","userName":"Bob","message":"hi"}"#;
const ASK: &str = r#"{"type":"ai-chat","message":"hi","domainId":"shop","userId":"bob"}"#;

#[test]
fn the_name_is_the_tokens() {
    let ann = known(Role::Visitor, None);
    assert_eq!(signed(&ann, JOIN), "ann Ann -");
    assert_eq!(signed(&ann, SAY), "ann Ann user");
    assert_eq!(signed(&ann, r#"{"type":"user-online","userId":"bob","userName":"Bob"}"#), "ann Ann");
    let announced = r#"{"type":"customer-joined-room","customerId":"bob","customerName":"Bob"}"#;
    assert_eq!(signed(&ann, announced), "ann Ann");
    assert_eq!(signed(&known(Role::Agent, None), announced), "bob Bob", "an agent announces others");
    assert_eq!(signed(&known(Role::Agent, None), JOIN), "ann Ann agent");
    assert_eq!(signed(&Identity::Open, JOIN), "bob Bob -");
}

#[test]
fn the_conversation_of_a_name_is_that_of_who_proved_it() {
    assert_eq!(signed(&known(Role::Visitor, None), ASK), "ann in shop-ann");
    let named = r#"{"type":"ai-chat","message":"hi","conversationId":"c","userId":"bob"}"#;
    assert_eq!(signed(&known(Role::Visitor, None), named), "ann in c");
    assert_eq!(signed(&Identity::Anonymous, ASK), "- in -", "which is the connection's own");
    let by_name =
        r#"{"type":"ai-chat","message":"hi","domainId":"shop","userId":"bob","conversationId":"shop-bob"}"#;
    assert_eq!(signed(&Identity::Anonymous, by_name), "- in -");
    assert_eq!(signed(&known(Role::Agent, None), ASK), "ann in shop-bob", "who works there may help");
}

#[test]
fn roles_take_a_token() {
    let with_role =
        |event: &str, role: &str| event.replace("\"userId\"", &format!("\"role\":\"{role}\",\"userId\""));
    for event in [JOIN, SAY] {
        for (role, visitor, agent, admin) in [
            ("user", true, true, true),
            ("customer", true, true, true),
            ("assistant", false, true, true),
            ("agent", false, true, true),
            ("moderator", false, true, true),
            ("admin", false, false, true),
        ] {
            let event = with_role(event, role);
            assert_eq!(may(&Identity::Anonymous, &event), visitor, "{event}");
            assert_eq!(may(&known(Role::Visitor, None), &event), visitor, "{event}");
            assert_eq!(may(&known(Role::Agent, None), &event), agent, "{event}");
            assert_eq!(may(&known(Role::Admin, None), &event), admin, "{event}");
        }
    }
}

#[test]
fn a_token_ends_at_its_domains_and_rooms() {
    let elsewhere = JOIN.replace("\"userId\"", "\"domainId\":\"other\",\"userId\"");
    for role in [Role::Visitor, Role::Agent, Role::Admin] {
        assert!(!may(&known(role, None), &elsewhere));
        assert!(!may(&known(role, None), &ASK.replace("shop", "other")));
        assert!(!may(
            &known(role, None),
            r#"{"type":"visitor-joined-domain","domainId":"other","visitorId":"v"}"#
        ));
        assert!(!may(&known(role, Some(&["another"])), JOIN));
        assert!(may(&known(role, Some(&["r"])), JOIN));
        assert!(may(&known(role, Some(&["another"])), r#"{"type":"leave-room"}"#));
    }
}

#[test]
fn what_is_the_staffs_takes_a_token_of_theirs() {
    for event in [
        r#"{"type":"get-domain-stats","domainId":"shop"}"#,
        r#"{"type":"get-all-domain-stats"}"#,
        r#"{"type":"ai-chat","message":"hi","domainId":"shop","systemPrompt":"obey"}"#,
        r#"{"type":"ai-chat","message":"hi","domainId":"shop","roomId":"not-joined"}"#,
    ] {
        assert!(!may(&Identity::Anonymous, event), "{event}");
        assert!(!may(&known(Role::Visitor, None), event), "{event}");
        assert!(may(&known(Role::Agent, None), event), "{event}");
        assert!(may(&Identity::Open, event), "{event}");
    }
    assert!(!may(&known(Role::Agent, None), r#"{"type":"get-domain-stats","domainId":"other"}"#));
    assert!(may(&Identity::Anonymous, r#"{"type":"ai-chat","message":"hi","roomId":"joined"}"#));
}

#[test]
fn a_token_for_some_rooms_asks_nothing_of_a_whole_site() {
    for event in [r#"{"type":"get-domain-stats","domainId":"shop"}"#, r#"{"type":"get-all-domain-stats"}"#] {
        assert!(!may(&known(Role::Admin, Some(&["r"])), event), "{event}");
    }
}

#[test]
fn only_who_has_no_token_claims_a_name() {
    assert_eq!(Identity::Anonymous.claimed(&parsed(JOIN)).map(UserId::as_str), Some("bob"));
    assert!(Identity::Open.claimed(&parsed(JOIN)).is_none());
    assert!(known(Role::Visitor, None).claimed(&parsed(JOIN)).is_none());
}
