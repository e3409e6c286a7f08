//! Rooms, told as what was done and what came of it; and any sequence of inputs, held against what must always be.

mod answers;
mod desk;
mod erasure;
mod questions;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Policy;
use crate::access::identity::Identity;
use crate::access::rate::Quota;
use crate::access::token::{Claims, Domains, Role};
use crate::ai::model::{FinishReason, ModelFailure, ModelRequest, Provider, Speaker, Usage};
use crate::ai::models::Models;
use crate::knowledge::Passage;
use crate::limits::{CHUNK_EVERY_MS, MEMBER_GRACE_MS, TYPING_TTL_MS};
use crate::protocol::command::{Command, Request};
use crate::spending::{Allowance, Outcome, Reservation, Spent};
use crate::store::memory::Memory;

/// A room with a clock that the test moves and a store that it may break.
struct World {
    policy: Policy,
    room: Room,
    store: Memory,
    now: UnixMs,
    entropy: u64,
    out: Vec<Output>,
    /// Who speaks next.
    identity: Identity,
}

impl World {
    fn new() -> Self {
        let mut store = Memory::new();
        let room = Room::open(room_id(), [], &mut store).unwrap();
        let models = Models::new(Some("gpt-4o"), true, true);
        let policy = Policy { models, context_messages: 10, ai_per_user: Quota::per_minute(20) };
        Self {
            policy,
            room,
            store,
            now: UnixMs(1_000_000),
            entropy: 0,
            out: Vec::new(),
            identity: Identity::Open,
        }
    }

    fn input(&mut self, input: RoomInput) {
        self.entropy += 1;
        let cx = Context { now: self.now, entropy: self.entropy, policy: &self.policy };
        self.room.handle(cx, input, &mut self.store, &mut self.out).unwrap();
    }

    /// A frame of a client, with the room named for it.
    fn frame(&mut self, conn: u64, json: &str) {
        // Names are required and say nothing here.
        let json = &json.replacen(r#""userId":"#, r#""userName":"name","userId":"#, 1);
        let Ok(request) = Request::parse(json, Some(&room_id())) else { panic!("{json} is refused") };
        let from = Caller {
            conn: ConnId(conn),
            socket: SocketId::from_entropy(conn.into()),
            reply_to: request.reply_to,
            identity: self.identity.clone(),
        };
        match request.command {
            Command::Room(_, command) => self.input(RoomInput::Command { from, command }),
            Command::Ask(_, ask) => self.input(RoomInput::Ask { from, ask, briefing: Box::default() }),
            _ => panic!("{json} is not for a room"),
        }
    }

    fn join(&mut self, conn: u64, user: &str) {
        self.frame(conn, &format!(r#"{{"type":"join-room","userId":"{user}"}}"#));
    }

    fn pass(&mut self, ms: i64) {
        self.now = self.now.plus(ms);
        self.input(RoomInput::Alarm);
    }

    fn reopen(&mut self) {
        let members: Vec<_> =
            self.room.roster.members().iter().map(|(conn, member)| (*conn, member.clone())).collect();
        self.room = Room::open(room_id(), members, &mut self.store).unwrap();
    }

    fn epoch(&mut self) -> String {
        let found = crate::store::log::find_room(&mut self.store, &room_id()).unwrap();
        found.unwrap().epoch.to_string()
    }

    /// What has come of it since the last look: `to conn: event`, `all: event`, `all but conn: event`.
    fn seen(&mut self) -> String {
        let lines = self.out.drain(..).filter_map(|output| match output {
            Output::List(listing) => {
                Some(format!("list {}", serde_json::to_string(&listing.summary).unwrap()))
            }
            Output::Reply { to, event, .. } => Some(format!("to {}: {}", to.0, short(&event))),
            Output::Publish { event, except: None } => Some(format!("all: {}", short(&event))),
            Output::Publish { event, except: Some(conn) } => {
                Some(format!("all but {}: {}", conn.0, short(&event)))
            }
            Output::TellObservers { event, .. } => Some(format!("observers: {}", short(&event))),
            Output::Relay { room, .. } => Some(format!("relay to {room}")),
            Output::AskModel { .. } => Some("ask".into()),
            Output::CancelModel { .. } => Some("cancel".into()),
            Output::Spend(_) | Output::Said { .. } => None,
            Output::Admit { .. } | Output::Dismiss { .. } | Output::WakeAt(_) => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What one room says into another, which is this one here too, as a host carries it.
    fn hand_over(&mut self) {
        let out = std::mem::take(&mut self.out);
        for output in out {
            if let Output::Relay { input, .. } = output {
                self.input(*input);
            }
        }
    }

    fn asked(&mut self) -> Option<(RunId, ModelRequest)> {
        let at = self.out.iter().position(|output| matches!(output, Output::AskModel { .. }))?;
        match self.out.remove(at) {
            Output::AskModel { run, request } => Some((run, request)),
            _ => None,
        }
    }

    fn says(&mut self, run: RunId, text: &str) {
        self.input(RoomInput::Model { run, event: ModelEvent::Delta(text.into()) });
    }

    fn finishes(&mut self, run: RunId) {
        self.input(RoomInput::Model { run, event: ModelEvent::Finished(FinishReason::Stop) });
    }
}

fn room_id() -> RoomId {
    RoomId::parse("room").unwrap()
}

/// An event's type and what matters of it.
fn short(event: &Event) -> String {
    let mut bytes = Vec::new();
    event.encode(None, &mut bytes);
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let kept = [
        "seq",
        "userId",
        "message",
        "isTyping",
        "resumed",
        "duplicate",
        "code",
        "chunk",
        "index",
        "fullResponse",
        "finishReason",
        "hasMore",
    ];
    let mut line = json["type"].as_str().unwrap().to_owned();
    for name in kept {
        match &json[name] {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => line += &format!(" {text}"),
            other => line += &format!(" {name}={other}"),
        }
    }
    for (list, name) in [("users", "userId"), ("messages", "message")] {
        if let Some(items) = json[list].as_array() {
            let names: Vec<_> = items.iter().filter_map(|item| item[name].as_str()).collect();
            line += &format!(" [{}]", names.join(","));
        }
    }
    line
}

#[test]
fn two_members_see_one_order() {
    let mut world = World::new();
    world.join(1, "ann");
    world.now = world.now.plus(1_000);
    world.join(2, "bob");
    assert_eq!(
        world.seen(),
        "to 1: joined-room seq=0 resumed=false\nall but 1: user-joined ann\nall: room-users [ann]\n\
         to 2: joined-room seq=0 resumed=false\nall but 2: user-joined bob\nall: room-users [ann,bob]"
    );
    world.frame(1, r#"{"type":"send-message","userId":"ann","message":"one"}"#);
    world.frame(2, r#"{"type":"send-message","userId":"bob","message":"two"}"#);
    assert_eq!(
        world.seen(),
        "all: new-message seq=1 ann one\nto 1: message-sent seq=1\n\
         all: new-message seq=2 bob two\nto 2: message-sent seq=2"
    );
}

#[test]
fn a_repeated_client_message_id_stores_nothing() {
    let mut world = World::new();
    let send = r#"{"type":"send-message","userId":"ann","message":"hi","clientMessageId":"c"}"#;
    world.frame(1, send);
    world.seen();
    world.reopen();
    world.frame(1, send);
    assert_eq!(world.seen(), "to 1: message-sent seq=1 duplicate=true");
    world.frame(2, &send.replace("ann", "bob"));
    assert_eq!(
        world.seen(),
        "all: new-message seq=2 bob hi\nto 2: message-sent seq=2",
        "the id is the user's own"
    );
}

#[test]
fn resume_is_all_or_nothing() {
    let mut world = World::new();
    for text in ["a", "b", "c"] {
        world.frame(1, &format!(r#"{{"type":"send-message","userId":"ann","message":"{text}"}}"#));
    }
    let epoch = world.room.stored.clone().unwrap().epoch;
    world.seen();
    world.reopen();
    let join = |epoch: &str, last: u64| {
        format!(r#"{{"type":"join-room","userId":"bob","epoch":"{epoch}","lastSeq":{last}}}"#)
    };
    world.frame(2, &join(&epoch, 1));
    assert!(world.seen().starts_with(
        "to 2: joined-room seq=3 resumed=true\nto 2: new-message seq=2 ann b\nto 2: new-message seq=3 ann c\n"
    ));
    world.frame(3, &join(&epoch, 3));
    assert!(world.seen().starts_with("to 3: joined-room seq=3 resumed=true\nall but 3"));
    for (epoch, last) in [("other", 1), (&*epoch, 4)] {
        world.frame(4, &join(epoch, last));
        assert!(world.seen().starts_with(
            "to 4: joined-room seq=3 resumed=false\nto 4: message-history hasMore=false [a,b,c]"
        ));
    }
}

#[test]
fn history_pages_both_ways() {
    let mut world = World::new();
    for text in ["a", "b", "c", "d", "e"] {
        world.frame(1, &format!(r#"{{"type":"send-message","userId":"ann","message":"{text}"}}"#));
    }
    world.seen();
    for (query, expected) in [
        (r#""limit":2"#, "hasMore=true [d,e]"),
        (r#""limit":2,"beforeSeq":4"#, "hasMore=true [b,c]"),
        (r#""beforeSeq":3"#, "hasMore=false [a,b]"),
        (r#""afterSeq":3"#, "hasMore=false [d,e]"),
        (r#""afterSeq":1,"limit":2"#, "hasMore=true [b,c]"),
        (r#""afterSeq":1,"beforeSeq":5"#, "hasMore=false [b,c,d]"),
        (r#""afterSeq":9"#, "hasMore=false []"),
    ] {
        world.frame(1, &format!(r#"{{"type":"fetch-history",{query}}}"#));
        assert_eq!(world.seen(), format!("to 1: message-history {expected}"), "{query}");
    }
}

#[test]
fn who_recovers_hears_what_was_missed_and_nothing_of_a_join() {
    let mut world = World::new();
    world.join(1, "ann");
    world.join(2, "bob");
    world.frame(1, r#"{"type":"send-message","userId":"ann","message":"one"}"#);
    world.input(RoomInput::Disconnected { conn: ConnId(2), how: Farewell::Died });
    world.frame(1, r#"{"type":"send-message","userId":"ann","message":"two"}"#);
    let epoch = world.epoch();
    let back = |world: &mut World, epoch: &str, last_seq| {
        world.seen();
        let from = Caller {
            conn: ConnId(3),
            socket: SocketId::from_entropy(2),
            reply_to: None,
            identity: Identity::Open,
        };
        let stands = Resume { epoch: epoch.into(), last_seq: Seq(last_seq) };
        let user = UserId::parse("bob").unwrap();
        let join =
            Join { user, user_name: "Bob".into(), role: None, domain: None, resume: None, token: None };
        world.input(RoomInput::Recover { from, join, stands });
        world.seen()
    };
    assert_eq!(back(&mut world, &epoch, 1), "to 3: new-message seq=2 ann two\nto 3: room-users [ann,bob]");
    world.frame(3, r#"{"type":"typing-start","userId":"bob"}"#);
    assert_eq!(world.seen(), "all but 3: user-typing bob isTyping=true");
    let afresh = back(&mut world, "another", 1);
    assert!(afresh.starts_with("to 3: joined-room seq=2 resumed=false\nto 3: message-history"), "{afresh}");
}

#[test]
fn who_recovers_with_a_token_for_another_site_stays_outside() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"join-room","userId":"ann","domainId":"shop"}"#);
    world.frame(1, r#"{"type":"send-message","userId":"ann","message":"one"}"#);
    let epoch = world.epoch();
    world.seen();
    for (domain, is_let_in) in [("other", false), ("shop", true)] {
        let claims = Claims {
            subject: UserId::parse("bob").unwrap(),
            name: "Bob".into(),
            role: Role::Visitor,
            domains: Domains::Only([DomainId::parse(domain).unwrap()].into()),
            rooms: None,
            expires_at: UnixMs(i64::MAX),
        };
        let from = Caller {
            conn: ConnId(2),
            socket: SocketId::from_entropy(2),
            reply_to: None,
            identity: Identity::Known(Arc::new(claims)),
        };
        let user = UserId::parse("bob").unwrap();
        let join =
            Join { user, user_name: "Bob".into(), role: None, domain: None, resume: None, token: None };
        let stands = Resume { epoch: epoch.as_str().into(), last_seq: Seq(0) };
        world.input(RoomInput::Recover { from, join, stands });
        let seen = world.seen();
        assert_eq!(seen.contains("one"), is_let_in, "{seen}");
        assert_eq!(seen.starts_with("to 2: error"), !is_let_in, "{seen}");
        assert_eq!(world.room.roster.get(ConnId(2)).is_some(), is_let_in);
    }
}

#[test]
fn nobody_joins_the_conversation_of_somebody_else_by_guessing_its_name() {
    let mut world = World::new();
    let visitor = |name: &str| {
        let subject = UserId::parse(name).unwrap();
        let (name, role, domains) = (name.into(), Role::Visitor, Domains::All);
        let expires_at = UnixMs(i64::MAX);
        Identity::Known(Arc::new(Claims { subject, name, role, domains, rooms: None, expires_at }))
    };
    world.identity = visitor("ann");
    world.frame(1, r#"{"type":"ai-chat","conversationId":"room","message":"my number is 7"}"#);
    for (identity, is_let_in) in
        [(Identity::Anonymous, false), (visitor("bob"), false), (visitor("ann"), true)]
    {
        world.identity = identity;
        world.seen();
        world.join(2, "ann");
        let seen = world.seen();
        assert_eq!(seen.starts_with("to 2: joined-room"), is_let_in, "{seen}");
    }
}

#[test]
fn what_has_no_reply_is_acknowledged_to_those_who_want_that() {
    let mut world = World::new();
    world.join(1, "ann");
    world.seen();
    let mut typing = |conn, reply_to: Option<Box<str>>| {
        let from = Caller {
            conn: ConnId(conn),
            socket: SocketId::from_entropy(1),
            reply_to,
            identity: Identity::Open,
        };
        let command = RoomCommand::Typing { is_typing: true };
        world.input(RoomInput::Command { from, command });
        world.seen()
    };
    let typed = "all but 1: user-typing ann isTyping=true";
    assert_eq!(typing(1, Some("id".into())), typed);
    assert_eq!(typing(1, crate::protocol::ack::mark(Some(7), None)), format!("{typed}\nto 1: done"));
    let refused = typing(2, crate::protocol::ack::mark(Some(8), None));
    assert!(refused.starts_with("to 2: error") && !refused.contains("done"), "{refused}");
}

#[test]
fn a_drop_and_a_quick_return_are_told_to_nobody() {
    let mut world = World::new();
    world.join(1, "ann");
    world.join(2, "bob");
    world.pass(1_000);
    world.seen();
    world.input(RoomInput::Disconnected { conn: ConnId(2), how: Farewell::Died });
    world.pass(MEMBER_GRACE_MS - 1);
    world.join(3, "bob");
    assert_eq!(world.seen(), "to 3: joined-room seq=0 resumed=false\nto 3: room-users [ann,bob]");
    world.pass(MEMBER_GRACE_MS);
    assert_eq!(world.seen(), "");
    world.input(RoomInput::Disconnected { conn: ConnId(3), how: Farewell::Died });
    world.pass(MEMBER_GRACE_MS);
    assert_eq!(world.seen(), "all: user-left bob\nall: room-users [ann]");
}

#[test]
fn typing_ends_by_itself_and_needs_a_join() {
    let mut world = World::new();
    world.frame(9, r#"{"type":"typing-start","userId":"ann"}"#);
    assert_eq!(world.seen(), "to 9: error join-room room first forbidden");
    world.join(1, "ann");
    world.pass(1_000);
    world.seen();
    world.frame(1, r#"{"type":"typing-start","userId":"ann"}"#);
    world.pass(TYPING_TTL_MS - 1);
    assert_eq!(world.seen(), "all but 1: user-typing ann isTyping=true");
    world.pass(1);
    assert_eq!(world.seen(), "all but 1: user-typing ann isTyping=false");
}

#[test]
fn a_failed_write_is_an_error_and_the_rows_stay_whole() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"send-message","userId":"ann","message":"kept"}"#);
    world.seen();
    world.store.broken = true;
    let cx = Context { now: world.now, entropy: 7, policy: &world.policy };
    let Ok(Request { command: Command::Room(_, command), .. }) = Request::parse(
        r#"{"type":"send-message","roomId":"room","userId":"ann","userName":"Ann","message":"lost"}"#,
        None,
    ) else {
        panic!("it parses")
    };
    let from = Caller {
        conn: ConnId(1),
        socket: SocketId::from_entropy(1),
        reply_to: None,
        identity: Identity::Open,
    };
    world.store.control("BEGIN");
    assert!(
        world
            .room
            .handle(cx, RoomInput::Command { from, command }, &mut world.store, &mut world.out)
            .is_err()
    );
    world.store.control("ROLLBACK");
    world.store.broken = false;
    world.seen();
    world.reopen();
    world.frame(1, r#"{"type":"send-message","userId":"ann","message":"next"}"#);
    assert_eq!(world.seen(), "all: new-message seq=2 ann next\nto 1: message-sent seq=2");
}

/// Something that may happen to a room, by small numbers.
#[derive(Clone, Debug)]
enum Step {
    Join(u64, u8),
    Leave(u64),
    Drop(u64, bool),
    Send(u64, u8, Option<u8>),
    Typing(u64, bool),
    Ask(u64),
    Model(u8),
    Pass(i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (conn, user) = (1u64..6, 0u8..4);
    prop_oneof![
        4 => (conn.clone(), user.clone()).prop_map(|(conn, user)| Step::Join(conn, user)),
        2 => conn.clone().prop_map(Step::Leave),
        2 => (conn.clone(), any::<bool>()).prop_map(|(conn, clean)| Step::Drop(conn, clean)),
        8 => (conn.clone(), user, prop::option::of(0u8..4)).prop_map(|(conn, user, id)| Step::Send(conn, user, id)),
        2 => (conn.clone(), any::<bool>()).prop_map(|(conn, on)| Step::Typing(conn, on)),
        2 => conn.prop_map(Step::Ask),
        4 => (0u8..4).prop_map(Step::Model),
        3 => (0i64..12_000).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

/// What an outsider keeps of a room, to hold it against.
#[derive(Default)]
struct Ledger {
    next_seq: u64,
    acked: BTreeMap<(String, String), u64>,
    questions: usize,
    endings: usize,
    chunks: BTreeMap<u64, u64>,
}

impl Ledger {
    fn check(&mut self, out: &[Output], user: Option<&str>) {
        for output in out {
            match output {
                Output::Publish { event: Event::NewMessage(message), .. } => {
                    self.next_seq += 1;
                    assert_eq!(message.seq.0, self.next_seq, "gapless");
                }
                Output::Reply {
                    event: Event::MessageSent { seq, client_message_id: Some(id), duplicate, .. },
                    ..
                } => {
                    let key = (user.unwrap().to_owned(), id.to_string());
                    assert_eq!(self.acked.contains_key(&key), *duplicate);
                    assert_eq!(*self.acked.entry(key).or_insert(seq.0), seq.0, "one ack for one id");
                }
                Output::Reply { to, event: Event::AiStreamChunk { index, .. }, .. } => {
                    let next = self.chunks.entry(to.0).or_default();
                    assert_eq!(u64::from(*index), *next);
                    *next += 1;
                }
                Output::Reply { to, event: Event::AiStreamComplete(_), .. } => {
                    self.chunks.remove(&to.0);
                    self.endings += 1;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn an_evicted_room_still_ends_what_its_members_had_begun() {
    let mut world = World::new();
    (1..=3).for_each(|conn| world.join(conn, &format!("u{conn}")));
    world.frame(1, r#"{"type":"typing-start","userId":"u1"}"#);
    world.input(RoomInput::Disconnected { conn: ConnId(3), how: Farewell::Died });
    world.seen();

    world.reopen();
    world.pass(MEMBER_GRACE_MS);
    assert!(world.seen().contains("all: user-left u3"));
    world.reopen();
    world.pass(TYPING_TTL_MS);
    assert_eq!(world.seen(), "all but 1: user-typing u1 isTyping=false");
    world.reopen();
    world.pass(TYPING_TTL_MS);
    assert_eq!(world.seen(), "", "what has ended does not end again");
}

#[test]
fn who_is_back_after_an_eviction_was_never_away() {
    let mut world = World::new();
    (1..=2).for_each(|conn| world.join(conn, &format!("u{conn}")));
    world.input(RoomInput::Disconnected { conn: ConnId(2), how: Farewell::Died });
    world.reopen();
    world.seen();
    world.join(3, "u2");
    world.pass(MEMBER_GRACE_MS);
    world.reopen();
    world.pass(MEMBER_GRACE_MS);
    let seen = world.seen();
    assert!(!seen.contains("user-joined") && !seen.contains("user-left"), "{seen}");
}

#[test]
fn edits_and_deletions_are_places_in_the_log() {
    let mut world = World::new();
    world.join(1, "ann");
    world.join(2, "bob");
    let sent = |text: &str| format!(r#"{{"type":"send-message","userId":"ann","message":"{text}"}}"#);
    ["one", "two", "three"].iter().for_each(|text| world.frame(1, &sent(text)));
    let epoch = world.epoch();
    world.seen();

    world.frame(1, &format!(r#"{{"type":"edit-message","messageId":"{epoch}-1","message":"uno"}}"#));
    world.frame(1, &format!(r#"{{"type":"delete-message","messageId":"{epoch}-2"}}"#));
    assert_eq!(
        world.seen(),
        "all: message-updated seq=4 uno\nto 1: message-sent seq=4\nall: message-deleted seq=5\nto 1: message-sent seq=5"
    );
    for refused in [
        format!(r#"{{"type":"edit-message","messageId":"{epoch}-3","message":"mine"}}"#),
        format!(r#"{{"type":"delete-message","messageId":"{epoch}-3"}}"#),
    ] {
        world.frame(2, &refused);
        assert_eq!(
            world.seen(),
            "to 2: error only its author, an agent or an admin changes a message forbidden"
        );
    }
    for unknown in ["-2", "-9", "-x", ""] {
        let id = format!("{epoch}{unknown}");
        world.frame(1, &format!(r#"{{"type":"delete-message","messageId":"{id}"}}"#));
        assert!(world.seen().ends_with("not_found"), "{id}");
    }
    world.reopen();
    world.frame(2, r#"{"type":"fetch-history"}"#);
    assert_eq!(world.seen(), "to 2: message-history hasMore=false [uno,three]");

    world.frame(
        3,
        &format!(r#"{{"type":"join-room","userId":"cid","role":"agent","epoch":"{epoch}","lastSeq":1}}"#),
    );
    let seen = world.seen();
    let replayed: Vec<&str> =
        seen.lines().filter(|line| line.contains("message-") || line.contains("new-m")).collect();
    let live = [
        "new-message seq=2 ann two",
        "new-message seq=3 ann three",
        "message-updated seq=4 uno",
        "message-deleted seq=5",
    ];
    assert_eq!(replayed.len(), live.len(), "{seen}");
    assert!(replayed.iter().zip(live).all(|(line, event)| line.ends_with(event)), "{seen}");
    world.frame(3, &format!(r#"{{"type":"delete-message","messageId":"{epoch}-3"}}"#));
    assert!(world.seen().contains("message-deleted seq=6"), "an agent may");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_the_promises_hold(steps in prop::collection::vec(step(), 1..80)) {
        let (mut world, mut ledger, mut run) = (World::new(), Ledger::default(), None);
        let mut asker = None;
        world.policy.ai_per_user = Quota::per_minute(0);
        for step in steps {
            let mut user = None;
            match step {
                Step::Join(conn, user) => world.join(conn, &format!("u{user}")),
                Step::Leave(conn) => world.frame(conn, r#"{"type":"leave-room"}"#),
                Step::Drop(conn, clean) => {
                    let how = if clean { Farewell::Clean } else { Farewell::Died };
                    world.input(RoomInput::Disconnected { conn: ConnId(conn), how });
                    // Whoever is gone is told nothing any more, of an answer that goes on without them.
                    if asker == Some(conn) && ledger.questions > ledger.endings {
                        ledger.questions -= 1;
                        ledger.chunks.remove(&conn);
                        asker = None;
                    }
                }
                Step::Send(conn, by, id) => {
                    let id = id.map_or(String::new(), |id| format!(r#","clientMessageId":"{id}""#));
                    world.frame(conn, &format!(r#"{{"type":"send-message","userId":"u{by}","message":"m"{id}}}"#));
                    user = Some(format!("u{by}"));
                }
                Step::Typing(conn, on) => world.frame(conn, &format!(r#"{{"type":"typing","userId":"u","isTyping":{on}}}"#)),
                Step::Ask(conn) => {
                    let busy = world.room.conversation.as_ref().is_some_and(|c| !c.is_quiet());
                    // One question at a time: the ledger counts chunks by the connection that asked.
                    if !busy {
                        asker = Some(conn);
                        ledger.questions += 1;
                        world.frame(conn, r#"{"type":"ai-stream","message":"?"}"#);
                    }
                }
                Step::Model(what) => if let Some(id) = run {
                    let event = match what {
                        0 => ModelEvent::Finished(FinishReason::Stop),
                        1 => ModelEvent::Failed(ModelFailure::Incomplete),
                        _ => ModelEvent::Delta("text".into()),
                    };
                    world.input(RoomInput::Model { run: id, event });
                },
                Step::Pass(ms) => world.pass(ms),
                // A run lives in memory only, so the room is rebuilt between answers.
                Step::Reopen => if world.room.conversation.as_ref().is_none_or(|c| c.is_quiet()) { world.reopen() },
            }
            run = world.asked().map(|(run, _)| run).or(run);
            ledger.check(&world.out, user.as_deref());
            world.out.clear();
            prop_assert!(ledger.endings <= ledger.questions);
            prop_assert!(world.room.typing.iter().all(|typing| world.room.roster.members().contains_key(&typing.conn)));
        }
        if let Some(id) = run {
            world.finishes(id);
            ledger.check(&world.out, None);
        }
        prop_assert_eq!(ledger.endings, ledger.questions, "every run ends in exactly one terminal event");
        world.pass(60_000);
        let present: std::collections::BTreeSet<_> = world.room.roster.members().values().map(|member| member.user.to_string()).collect();
        let Event::RoomUsers { count, .. } = world.room.users() else { panic!("it is a list") };
        prop_assert_eq!(count, present.len(), "no ghosts once the grace is over");
    }
}
