//! Where a conversation stands, and what the list of its site hears of that.

use super::*;
use crate::access::identity::Identity;
use crate::inbox::{DeskCommand, Listing, Person, Rating, State};
use crate::limits::ROOM_UPDATED_EVERY_MS;
use crate::store::outbox;

impl World {
    /// A customer of a site who has written, and what the list heard of it.
    fn of_site() -> Self {
        let mut world = Self::new();
        world.frame(1, r#"{"type":"join-room","userId":"cleo","role":"customer","domainId":"shop"}"#);
        world.says_as("cleo", "customer", "hello");
        world
    }

    fn says_as(&mut self, user: &str, role: &str, text: &str) {
        self.frame(
            1,
            &format!(r#"{{"type":"send-message","userId":"{user}","role":"{role}","message":"{text}"}}"#),
        );
    }

    fn desk(&mut self, command: DeskCommand) {
        let (conn, socket) = (ConnId(9), SocketId::from_entropy(9));
        let from = Caller { conn, socket, reply_to: None, identity: Identity::Open };
        self.input(RoomInput::Desk { from, command });
    }

    fn assign(&mut self, user: &str) {
        self.desk(DeskCommand::Assign(Some(person(user))));
    }

    fn listings(&mut self) -> Vec<Listing> {
        let out = self.out.drain(..);
        out.filter_map(|output| if let Output::List(listing) = output { Some(*listing) } else { None })
            .collect()
    }

    /// What is told once nothing holds it back any more.
    fn settled(&mut self) -> Listing {
        self.pass(ROOM_UPDATED_EVERY_MS);
        self.listings().pop().expect("the list is told")
    }

    fn kept(&mut self) -> usize {
        outbox::all(&mut self.store).unwrap().len()
    }
}

fn person(user: &str) -> Person {
    Person { user_id: UserId::parse(user).unwrap(), user_name: user.into() }
}

#[test]
fn a_room_of_no_site_tells_nobody_and_keeps_nothing() {
    let mut world = World::new();
    world.join(1, "ann");
    world.says_as("ann", "user", "hello");
    world.pass(ROOM_UPDATED_EVERY_MS);
    assert!(world.listings().is_empty());
    assert_eq!(world.kept(), 0);
}

#[test]
fn a_site_hears_of_a_room_when_something_was_said_in_it() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"join-room","userId":"cleo","domainId":"shop"}"#);
    assert!(world.listings().is_empty());
    world.says_as("cleo", "customer", "hello");
    let listings = world.listings();
    let [listing] = &listings[..] else { panic!("one telling, at once") };
    assert_eq!((listing.domain.as_str(), listing.messages, listing.summary.seq), ("shop", 1, Seq(1)));
    assert_eq!(listing.summary.customer.as_ref().map(|it| it.user_id.as_str()), Some("cleo"));
}

#[test]
fn a_busy_room_tells_once_a_second_and_the_last_of_it_for_certain() {
    let mut world = World::of_site();
    world.listings();
    for n in 0..100 {
        world.says_as("cleo", "customer", &format!("{n}"));
        world.now = world.now.plus(9);
    }
    assert!(world.listings().is_empty());
    assert_eq!(world.kept(), 1, "one row stands for all that was put off");
    let listing = world.settled();
    assert_eq!((listing.summary.seq, listing.messages), (Seq(101), 101));
    assert_eq!(world.kept(), 0);
    world.pass(ROOM_UPDATED_EVERY_MS);
    assert!(world.listings().is_empty());
}

#[test]
fn what_was_put_off_is_told_by_whoever_wakes_after_a_crash() {
    let mut world = World::of_site();
    world.says_as("cleo", "customer", "the last word");
    world.listings();
    world.reopen();
    let kept = outbox::all(&mut world.store).unwrap();
    let [outbox::Kept { row, word: outbox::Word::Relist(room) }] = &kept[..] else {
        panic!("the room itself")
    };
    assert_eq!(room, &room_id());
    world.input(RoomInput::List);
    outbox::remove(&mut world.store, *row).unwrap();
    let listings = world.listings();
    assert_eq!(listings.first().map(|listing| listing.summary.seq), Some(Seq(2)));
    world.input(RoomInput::List);
    assert!(world.listings().is_empty(), "said once");
}

#[test]
fn a_room_that_is_woken_by_its_row_while_it_puts_off_still_tells() {
    let mut world = World::of_site();
    world.says_as("cleo", "customer", "more");
    world.listings();
    let rows: Vec<i64> = outbox::all(&mut world.store).unwrap().into_iter().map(|kept| kept.row).collect();
    world.input(RoomInput::List);
    for row in rows {
        outbox::remove(&mut world.store, row).unwrap();
    }
    assert_eq!(world.kept(), 1, "it is not told yet, so it is kept anew");
    assert_eq!(world.settled().summary.seq, Seq(2));
    assert_eq!(world.kept(), 0);
}

#[test]
fn from_waiting_to_live_to_closed_and_back() {
    let mut world = World::of_site();
    let mut states = Vec::new();
    let mut note = |world: &mut World| {
        states.push(world.settled().summary.state);
    };
    note_first(&mut world);
    world.input(RoomInput::AskedForPeople { customer: Some(person("cleo")) });
    note(&mut world);
    world.assign("ann");
    note(&mut world);
    world.says_as("ann", "agent", "here I am");
    note(&mut world);
    world.desk(DeskCommand::Close);
    note(&mut world);
    world.says_as("ann", "agent", "a note behind it");
    note(&mut world);
    world.says_as("cleo", "customer", "still there?");
    note(&mut world);
    world.says_as("ann", "agent", "yes");
    note(&mut world);
    assert_eq!(
        states,
        [State::Waiting, State::Waiting, State::Live, State::Closed, State::Closed, State::Open, State::Live]
    );
}

fn note_first(world: &mut World) {
    assert_eq!(world.listings().pop().map(|listing| listing.summary.state), Some(State::Open));
}

#[test]
fn whoever_is_served_waits_for_nobody() {
    let mut world = World::of_site();
    world.frame(2, r#"{"type":"join-room","userId":"ann","role":"agent"}"#);
    world.frame(2, r#"{"type":"toggle-live-agent","enabled":true}"#);
    world.input(RoomInput::AskedForPeople { customer: None });
    let summary = world.settled().summary;
    assert_eq!((summary.state, summary.waiting_since), (State::Live, None));
    world.desk(DeskCommand::Close);
    assert!(!world.room.has_live_agent(), "who closes hands back");
    assert_eq!(world.settled().summary.state, State::Closed);
}

#[test]
fn a_standing_survives_its_memory() {
    let mut world = World::of_site();
    world.assign("ann");
    world.desk(DeskCommand::Rate(Rating { score: 4, comment: Some("fine".into()) }));
    let before = world.settled();
    world.reopen();
    world.input(RoomInput::List);
    let after = world.listings().pop().expect("it wakes and tells");
    assert_eq!(serde_json::to_string(&after.summary).ok(), serde_json::to_string(&before.summary).ok());
    assert_eq!((after.revision, after.messages), (before.revision, before.messages));
}

#[test]
fn revisions_grow_with_whatever_changes() {
    let mut world = World::of_site();
    let mut revisions = vec![world.listings().pop().map_or(0, |listing| listing.revision)];
    world.assign("ann");
    revisions.push(world.settled().revision);
    world.frame(1, r#"{"type":"send-message","userId":"cleo","role":"customer","message":"two"}"#);
    revisions.push(world.settled().revision);
    let id = format!("{}-2", world.epoch());
    world.frame(1, &format!(r#"{{"type":"delete-message","messageId":"{id}"}}"#));
    let last = world.settled();
    assert_eq!(last.summary.last_message.map(|message| message.message), Some("hello".into()));
    revisions.push(last.revision);
    world.desk(DeskCommand::Assign(None));
    revisions.push(world.settled().revision);
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

#[test]
fn whoever_writes_has_read_and_nobody_else() {
    let mut world = World::of_site();
    world.says_as("cleo", "customer", "two");
    world.frame(2, r#"{"type":"join-room","userId":"ann","role":"agent"}"#);
    world.frame(2, r#"{"type":"mark-read","seq":1}"#);
    let reads = |listing: Listing| -> Vec<(String, u64)> {
        listing.reads.into_iter().map(|(user, count)| (user.to_string(), count)).collect()
    };
    assert_eq!(reads(world.settled()), [("ann".to_owned(), 1)]);
    world.says_as("ben", "agent", "three");
    assert_eq!(reads(world.settled()), [("ben".to_owned(), 3)]);
    world.frame(1, r#"{"type":"mark-read","seq":3}"#);
    world.pass(ROOM_UPDATED_EVERY_MS);
    assert!(world.listings().is_empty(), "a customer's mark is nobody's business here");
}

#[test]
fn a_long_room_is_not_counted_from_its_beginning_twice() {
    let mut world = World::of_site();
    for n in 0..300 {
        world.says_as("cleo", "customer", &format!("{n}"));
    }
    world.settled();
    for _ in 0..2 {
        world.reopen();
        world.input(RoomInput::List);
        assert_eq!(world.listings().pop().map(|listing| listing.messages), Some(301));
    }
    assert_eq!(world.room.desk.as_ref().map(|desk| desk.counted_to), Some(Seq(301)));
}
