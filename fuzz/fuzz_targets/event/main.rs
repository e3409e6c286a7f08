//! What clients say: arbitrary text, as the frames of one connection, against a second reading of the contract.
//!
//! Input: a byte of flags (1: the connection has a room of its own; 2: it is one of those that may speak for eight
//! visitors only; the rest: milliseconds between frames), then one frame a line.

#![no_main]

mod answer;
mod fields;
mod oracle;
mod said;

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use weeziq_core::access::rate::Quota;
use weeziq_core::ids::{RoomId, SocketId};
use weeziq_core::limits::{
    EVENTS_BURST, EVENTS_PER_SECOND, REFUSALS_MAX, ROOMS_PER_CONNECTION_MAX, VISITS_PER_CONNECTION_MAX,
    VISITS_PER_DIRECT_CONNECTION_MAX,
};
use weeziq_core::protocol::command::{
    Command, Refusal, Request, RoomCommand, VisitorsCommand, body, reply_to_of,
};
use weeziq_core::protocol::error::ErrorCode;
use weeziq_core::session::{Received, Session};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::whence::Whence;
use weeziq_fuzz::Input;

use oracle::Verdict;

const DEFAULT_ROOM: &str = "default-room";
const EVENTS: Quota = Quota::per_second(EVENTS_PER_SECOND, EVENTS_BURST);
const START: UnixMs = UnixMs(1_000_000);

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let default_room = (flags & 1 != 0).then(|| RoomId::known(DEFAULT_ROOM));
    let mut connection = Connection::new(default_room, flags & 2 != 0);
    // The host has made sure of UTF-8 before a frame comes here.
    for line in String::from_utf8_lossy(input.rest()).split('\n') {
        one_frame(line, connection.default_room.as_ref());
        bodies(line);
        connection.receive(line);
        connection.now = connection.now.plus(i64::from(flags >> 2));
    }
    connection.end();
});

/// Parsing by itself: what is accepted, as what, and what is refused, and why.
fn one_frame(line: &str, default_room: Option<&RoomId>) {
    let verdict = oracle::judge(line, default_room.map(RoomId::as_str));
    match (Request::parse(line, default_room), verdict) {
        (Ok(request), Verdict::Accept { reply_to, told }) => {
            assert_eq!(request.reply_to.as_deref(), reply_to.as_deref(), "the client's id in {line}");
            assert_eq!(said::by(&request.command), told, "{line}");
            answer::carries(&request);
        }
        (Err(refusal), Verdict::Refuse(codes)) => {
            let code = refusal.error.code;
            assert!(codes.contains(&code), "{code:?} is not among {codes:?}: {line}");
            assert_eq!(reply_to_of(line), refusal.reply_to, "the client's id in {line}");
            answer::refuses(&refusal);
        }
        (Ok(_), Verdict::Refuse(codes)) => panic!("accepted, and to be refused as {codes:?}: {line}"),
        (Err(refusal), Verdict::Accept { .. }) => panic!("refused: {:?}: {line}", refusal.error),
    }
}

/// The same fields as bodies of HTTP requests.
fn bodies(line: &str) {
    let refusals = [
        body::ask(line, true).err(),
        body::visitors("visitor-joined-domain", line, &Whence::default()).err(),
        body::visitors("visitor-activity", line, &Whence::default()).err(),
    ];
    for error in refusals.into_iter().flatten() {
        answer::refuses(&Refusal { reply_to: None, error });
    }
}

/// A connection, with what an outsider keeps of it.
struct Connection {
    session: Session,
    default_room: Option<RoomId>,
    now: UnixMs,
    rooms: BTreeSet<String>,
    read: BTreeSet<String>,
    visits: BTreeSet<(String, String)>,
    visits_max: usize,
    passed: i64,
    refused: u32,
}

impl Connection {
    fn new(default_room: Option<RoomId>, is_direct: bool) -> Self {
        let socket = SocketId::from_entropy(7);
        let (session, visits_max) = match &default_room {
            Some(room) if is_direct => (
                Session::revive(socket, room.clone(), false, false, Vec::new()),
                VISITS_PER_DIRECT_CONNECTION_MAX,
            ),
            _ => (Session::new(socket, default_room.clone()), VISITS_PER_CONNECTION_MAX),
        };
        let (rooms, read, visits) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { session, default_room, now: START, rooms, read, visits, visits_max, passed: 0, refused: 0 }
    }

    fn receive(&mut self, line: &str) {
        let parsed = Request::parse(line, self.default_room.as_ref());
        match self.session.receive(self.now, line, EVENTS) {
            Received::Request(request) => {
                self.pass();
                let parsed = parsed.ok().map(|request| said::by(&request.command));
                assert_eq!(Some(said::by(&request.command)), parsed, "a connection changes no command");
                self.keep(&request.command);
            }
            Received::Refused(refusal) if refusal.error.code == ErrorCode::RateLimited => {
                assert!(refusal.error.retry_after_ms.is_some_and(|ms| ms > 0), "says when");
                assert_eq!(refusal.reply_to, reply_to_of(line));
                self.refused += 1;
            }
            Received::Refused(refusal) => {
                self.pass();
                if let Ok(request) = parsed {
                    assert!(self.is_full_for(&request.command), "{:?}: {line}", refusal.error);
                }
                answer::refuses(&refusal);
            }
            Received::Expired(_) => unreachable!("nobody has a token here"),
            Received::Abusive => assert!(self.refused >= REFUSALS_MAX, "after {} refusals", self.refused),
        }
        assert!(self.rooms.iter().all(|room| self.session.is_in(&RoomId::known(room))), "is where it joined");
        assert!(self.rooms.len() <= ROOMS_PER_CONNECTION_MAX && self.visits.len() <= self.visits_max);
    }

    /// The rate lets through what it says, and no more.
    fn pass(&mut self) {
        self.passed += 1;
        let earned = self.now.since(START) * i64::from(EVENTS_PER_SECOND) / 1_000;
        assert!(self.passed <= i64::from(EVENTS_BURST) + earned + 1, "{} events passed", self.passed);
    }

    fn keep(&mut self, command: &Command) {
        match command {
            Command::Room(room, RoomCommand::Join(_)) => drop(self.rooms.insert(room.to_string())),
            Command::Room(room, RoomCommand::Leave) => {
                self.rooms.remove(room.as_str());
                assert!(!self.session.is_in(room), "left");
            }
            Command::Visitors(
                domain,
                VisitorsCommand::Join { visitor, .. } | VisitorsCommand::Activity { visitor, .. },
            ) => {
                self.visits.insert((domain.to_string(), visitor.to_string()));
                assert!(self.session.is_on(domain) && !self.session.observes(), "a visitor does not watch");
            }
            Command::Visitors(domain, VisitorsCommand::Leave { visitor }) => {
                self.visits.remove(&(domain.to_string(), visitor.to_string()));
            }
            Command::Ask(Some(conversation), _)
            | Command::Room(conversation, RoomCommand::ResumeAnswer { .. }) => {
                self.read.insert(conversation.to_string());
            }
            _ => {}
        }
    }

    fn is_full_for(&self, command: &Command) -> bool {
        match command {
            Command::Room(room, RoomCommand::Join(_)) => {
                self.rooms.len() == ROOMS_PER_CONNECTION_MAX && !self.rooms.contains(room.as_str())
            }
            Command::Visitors(..) => self.visits.len() == self.visits_max,
            _ => false,
        }
    }

    /// Its end concerns each place once.
    fn end(mut self) {
        let rooms = self.session.take_rooms();
        let distinct: BTreeSet<String> = rooms.iter().map(RoomId::to_string).collect();
        assert_eq!(rooms.len(), distinct.len(), "each once");
        assert!(distinct.is_superset(&self.rooms), "the rooms it was in: {distinct:?}");
        let elsewhere = distinct.difference(&self.rooms).all(|room| self.read.contains(room));
        assert!(elsewhere, "and the conversations that it read: {distinct:?}");
        let visits = self.session.take_visits();
        let of_names = visits.iter().map(|(domain, visitor)| (domain.to_string(), visitor.to_string()));
        let distinct: BTreeSet<_> = of_names.collect();
        assert_eq!((visits.len(), distinct), (self.visits.len(), self.visits), "the visits it stood for");
    }
}
