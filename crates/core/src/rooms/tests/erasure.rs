//! What a room forgets for good, and what stays sound behind it.

use super::*;
use crate::access::identity::Identity;
use crate::domains::Retention;
use crate::inbox::{DeskCommand, Listing};
use crate::limits::ROOM_UPDATED_EVERY_MS;
use crate::store::erasure::Removed;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl World {
    fn removed(&mut self, command: DeskCommand) -> Removed {
        let (conn, socket) = (ConnId(9), SocketId::from_entropy(9));
        let from = Caller { conn, socket, reply_to: None, identity: Identity::Open };
        self.out.clear();
        self.input(RoomInput::Desk { from, command });
        let receipt = self.out.iter().find_map(|output| match output {
            Output::Reply { to: ConnId(9), event: Event::Erased { removed, .. }, .. } => {
                Some(removed.clone())
            }
            _ => None,
        });
        receipt.expect("there is a receipt")
    }

    fn says_so(&mut self, conn: u64, text: &str) {
        self.frame(conn, &format!(r#"{{"type":"send-message","userId":"ann","message":"{text}"}}"#));
    }

    fn listing(&mut self) -> Listing {
        self.pass(ROOM_UPDATED_EVERY_MS);
        let mut listings = self.out.drain(..).filter_map(|output| match output {
            Output::List(listing) => Some(*listing),
            _ => None,
        });
        listings.next_back().expect("the list is told")
    }

    fn keep_days(&mut self, days: u32) -> Removed {
        self.removed(DeskCommand::Retain(Retention { messages_days: Some(days), ..Retention::default() }))
    }

    fn resumed(&mut self, conn: u64, epoch: &str, seq: u64) -> bool {
        self.out.clear();
        self.frame(
            conn,
            &format!(r#"{{"type":"join-room","userId":"bob","epoch":"{epoch}","lastSeq":{seq}}}"#),
        );
        let joined = self.out.iter().find_map(|output| match output {
            Output::Reply { event: Event::JoinedRoom { resumed, .. }, .. } => Some(*resumed),
            _ => None,
        });
        joined.expect("a join is answered")
    }
}

#[test]
fn an_erased_room_begins_anew_under_another_epoch_and_its_members_hear_of_it() {
    let mut world = World::new();
    world.join(1, "ann");
    world.says_so(1, "one");
    world.says_so(1, "two");
    let epoch = world.epoch();
    world.out.clear();
    let removed = world.removed(DeskCommand::Erase);
    assert_eq!((removed.of("messages"), removed.of("files")), (2, 0));
    let anew = world.epoch();
    assert_ne!(anew, epoch);
    let told = world.out.iter().any(|output| {
        matches!(output, Output::Publish { event: Event::RoomErased { epoch, seq: Seq(0), .. }, .. } if **epoch == *anew)
    });
    assert!(told);
    world.says_so(1, "three");
    assert!(!world.resumed(2, &epoch, 2), "the old log means nothing");
    assert!(world.resumed(3, &anew, 0));
    world.reopen();
    assert!(world.resumed(4, &anew, 1));
    assert_eq!(world.removed(DeskCommand::Erase).of("messages"), 1);
}

#[test]
fn what_is_being_written_ends_with_the_room() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-stream","conversationId":"room","message":"one?"}"#);
    let (run, _) = world.asked().expect("a model is asked");
    world.frame(1, r#"{"type":"ai-stream","conversationId":"room","message":"two?"}"#);
    world.says(run, "Well");
    let removed = world.removed(DeskCommand::Erase);
    assert_eq!(
        (removed.of("aiAnswers"), removed.of("aiTurns")),
        (2, 1),
        "what it was about to say is stored no more"
    );
    let ends = world.out.iter().filter(|output| {
        matches!(output, Output::Reply { to: ConnId(1), event: Event::AiStreamComplete(_), .. })
    });
    assert_eq!(ends.count(), 2, "each question has its one end");
    assert!(world.out.iter().any(|output| matches!(output, Output::CancelModel { run: it } if *it == run)));
    assert!(world.asked().is_none(), "and none has its turn behind it");
    assert!(world.room.is_vacant());
}

#[test]
fn what_is_older_than_the_site_keeps_goes_and_places_stay() {
    let mut world = World::new();
    world.join(1, "ann");
    for text in ["one", "two", "three"] {
        world.says_so(1, text);
    }
    let epoch = world.epoch();
    assert_eq!(world.keep_days(1), world.keep_days(1), "nothing is old yet");
    world.pass(2 * DAY_MS);
    world.says_so(1, "four");
    assert_eq!(world.keep_days(1).of("messages"), 3);
    assert_eq!(world.keep_days(1).of("messages"), 0, "what is gone is not counted again");
    for reopened in [false, true] {
        if reopened {
            world.reopen();
        }
        assert!(!world.resumed(2, &epoch, 2), "what lies between cannot be told any more");
        assert!(world.resumed(3, &epoch, 3), "whoever had all of that misses nothing");
        assert_eq!(world.epoch(), epoch);
    }
    world.pass(3 * DAY_MS);
    assert_eq!(world.keep_days(1).of("messages"), 1);
    world.reopen();
    world.out.clear();
    world.says_so(1, "five");
    let seq = world.out.iter().find_map(|output| match output {
        Output::Publish { event: Event::NewMessage(message), .. } => Some(message.seq),
        _ => None,
    });
    assert_eq!(seq, Some(Seq(5)), "an emptied log is counted on");
}

#[test]
fn nobody_is_told_any_more_who_wrote_it() {
    let mut world = World::new();
    world.join(1, "ann");
    world.says_so(1, "one");
    let ann = UserId::parse("ann").unwrap();
    assert_eq!(world.removed(DeskCommand::Anonymise(ann.clone())).of("messagesAnonymised"), 1);
    world.out.clear();
    world.frame(2, r#"{"type":"fetch-history"}"#);
    let history = world.seen();
    assert!(!history.contains("ann"), "{history}");
    assert_eq!(world.removed(DeskCommand::Anonymise(ann)).of("messagesAnonymised"), 0);
}

impl World {
    /// Whether the inbox knows it.
    fn is_there(&mut self) -> bool {
        let (conn, socket) = (ConnId(9), SocketId::from_entropy(9));
        let from = Caller { conn, socket, reply_to: None, identity: Identity::Open };
        self.out.clear();
        self.input(RoomInput::Desk { from, command: DeskCommand::Show });
        self.out.iter().any(|output| matches!(output, Output::Reply { event: Event::RoomUpdated { .. }, .. }))
    }

    fn is_listed(&mut self) -> bool {
        self.pass(ROOM_UPDATED_EVERY_MS);
        let listed = self.out.iter().any(|output| matches!(output, Output::List(_)));
        self.out.clear();
        listed
    }
}

#[test]
fn an_erased_room_is_not_there_until_something_happens_in_it_whoever_is_still_in_it() {
    for again in [
        r#"{"type":"send-message","userId":"ann","message":"again"}"#,
        r#"{"type":"request-human","userId":"ann"}"#,
        r#"{"type":"toggle-live-agent","enabled":true}"#,
        r#"{"type":"ai-chat","conversationId":"room","message":"again?"}"#,
    ] {
        let mut world = World::new();
        world.frame(1, r#"{"type":"join-room","userId":"ann","role":"agent","domainId":"shop"}"#);
        world.says_so(1, "one");
        assert!(world.is_there());
        world.removed(DeskCommand::Erase);
        assert!(!world.is_there());
        world.frame(1, r#"{"type":"mark-read","seq":1}"#);
        world.frame(2, r#"{"type":"join-room","userId":"bob"}"#);
        assert!(!world.is_there() && !world.is_listed(), "to read and to come is not to write");
        world.reopen();
        assert!(!world.is_there() && !world.is_listed(), "nor is a restart");
        world.frame(1, r#"{"type":"join-room","userId":"ann","role":"agent"}"#);
        world.frame(1, again);
        assert!(world.is_there(), "{again}");
    }
}

#[test]
fn an_erased_room_does_not_begin_with_what_was_being_written_into_it() {
    let mut world = World::new();
    world.join(2, "ann");
    world.frame(1, r#"{"type":"ai-stream","conversationId":"room","roomId":"room","message":"one?"}"#);
    let (run, _) = world.asked().expect("a model is asked");
    world.hand_over();
    world.says(run, "Well");
    world.removed(DeskCommand::Erase);
    world.hand_over();
    world.input(answer(run));
    assert_eq!(world.room.last_seq, Seq(0));
}

#[test]
fn an_answer_makes_no_room_of_one_that_was_erased() {
    let mut world = World::new();
    world.input(answer(RunId(7)));
    assert_eq!(world.seen(), "");
    assert!(world.room.is_vacant() && world.room.last_seq == Seq(0));
}

#[test]
fn the_list_hears_what_is_gone_and_counts_on() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"join-room","userId":"ann","role":"customer","domainId":"shop"}"#);
    for text in ["one", "two", "three"] {
        world.says_so(1, text);
    }
    let told = world.listing();
    assert_eq!((told.messages, told.summary.customer.is_some()), (3, true));
    world.removed(DeskCommand::Anonymise(UserId::parse("ann").unwrap()));
    let nameless = world.listing();
    assert!(nameless.revision > told.revision, "or the list would take it for old news");
    let last = nameless.summary.last_message.expect("it is still there");
    assert!(last.user_id != told.summary.last_message.unwrap().user_id);
    assert!(nameless.summary.customer.is_none_or(|customer| customer.user_id.as_str() != "ann"));
    world.pass(2 * DAY_MS);
    assert_eq!(world.keep_days(1).of("messages"), 3);
    let emptied = world.listing();
    assert!(emptied.revision > nameless.revision && emptied.summary.last_message.is_none());
    world.reopen();
    world.says_so(1, "four");
    assert_eq!(world.listing().messages, 4, "of all there ever were");
}

#[test]
fn retention_takes_nothing_from_an_answer_that_is_being_written() {
    let mut world = World::new();
    world.join(2, "ann");
    world.says_so(2, "one");
    let epoch = world.epoch();
    world.pass(2 * DAY_MS);
    world.frame(1, r#"{"type":"ai-stream","conversationId":"room","roomId":"room","message":"two?"}"#);
    let (run, _) = world.asked().expect("a model is asked");
    world.hand_over();
    world.says(run, "Well");
    assert_eq!(world.keep_days(1).of("messages"), 1, "what is old goes all the same");
    world.hand_over();
    let last = world.room.last_seq;
    world.input(answer(run));
    assert_eq!(world.room.last_seq, last.next(), "the answer has its place");
    assert!(world.resumed(3, &epoch, last.0), "and whoever was there misses nothing");
    assert_eq!(world.keep_days(1).of("messages"), 0);
}

fn answer(run: RunId) -> RoomInput {
    RoomInput::Post(Post {
        conversation: RoomId::parse("room").unwrap(),
        run,
        purpose: Purpose::Answer,
        id: ClientMessageId::of_run("answer", run),
        user: UserId::ai(),
        user_name: "AI".into(),
        role: "assistant".into(),
        text: "Well".into(),
        socket: SocketId::from_entropy(1),
        sources: None,
    })
}
