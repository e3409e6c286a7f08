//! What an outsider keeps of what was let out, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weeziq_core::Output;
use weeziq_core::ai::model::FinishReason;
use weeziq_core::ids::{ConnId, RoomId, UserId};
use weeziq_core::protocol::event::{AiStreamComplete, Event};
use weeziq_core::rooms::Member;
use weeziq_core::store::Sql;

use crate::history::{Log, place};
use crate::simulation::store::Store;
use crate::step::{Step, What};
use crate::telling::json;

type Seats = BTreeMap<ConnId, Arc<Member>>;

#[derive(Default)]
pub(crate) struct Ledger {
    logs: BTreeMap<RoomId, Log>,
    requests: BTreeMap<String, Request>,
    /// Who waits to be told what was missed, and from where on.
    welcome: Option<Welcome>,
    typing: BTreeSet<(RoomId, ConnId)>,
    /// The list of users that each member has heard last.
    lists: BTreeMap<(RoomId, ConnId), BTreeSet<String>>,
}

struct Request {
    step: Step,
    is_open: bool,
    /// Whoever asked has gone; an answer has no need of a reader.
    is_gone: bool,
    /// The answer as it was streamed so far.
    chunks: String,
    chunks_told: u32,
}

struct Welcome {
    conn: ConnId,
    next: u64,
    wants_history: bool,
}

impl Ledger {
    pub(crate) fn epoch(&self, room: &RoomId) -> Option<Arc<str>> {
        self.logs.get(room)?.epoch.clone()
    }

    pub(crate) fn ask(&mut self, step: &Step) {
        let request = Request {
            step: step.clone(),
            is_open: true,
            is_gone: false,
            chunks: String::new(),
            chunks_told: 0,
        };
        self.requests.insert(step.reply_to(), request);
    }

    pub(crate) fn lose(&mut self, conn: ConnId) {
        let of_conn = |request: &&mut Request| request.step.conn == conn;
        self.requests.values_mut().filter(of_conn).for_each(|request| request.is_gone = true);
    }

    /// The host told the asker that nothing was kept.
    pub(crate) fn refuse(&mut self, reply_to: &str) {
        self.close(reply_to, "unavailable");
    }

    pub(crate) fn live_agent_after(&self, room: &RoomId, outputs: &[Output]) -> bool {
        let toggled = outputs.iter().rev().find_map(|output| match output {
            Output::Publish { event: Event::LiveAgentToggled { enabled, .. }, .. } => Some(*enabled),
            _ => None,
        });
        toggled.unwrap_or_else(|| self.logs.get(room).is_some_and(|log| log.live_agent))
    }

    pub(crate) fn hear(&mut self, room: &RoomId, output: &Output, seats: &Seats) {
        match output {
            Output::Publish { event, except } => self.published(room, event, *except, seats),
            Output::Reply { to, reply_to: Some(reply_to), event } => {
                self.replied(room, *to, reply_to, event, seats);
            }
            Output::Reply { to, reply_to: None, event } => self.told(room, *to, event),
            Output::Dismiss { conn } => drop(self.lists.remove(&(room.clone(), *conn))),
            _ => {}
        }
    }

    fn published(&mut self, room: &RoomId, event: &Event, except: Option<ConnId>, seats: &Seats) {
        let log = self.logs.entry(room.clone()).or_default();
        let is_ai = match event {
            Event::AiStreamChunk { .. } | Event::AiStreamComplete(_) => true,
            Event::NewMessage(message) => message.user_id == UserId::ai(),
            _ => false,
        };
        assert!(!is_ai || !log.live_agent, "the AI is heard after people took over: {}", json(event, None));
        if let Event::NewMessage(message) = event {
            let epoch = message.id.rsplit_once('-').map(|(epoch, _)| epoch).unwrap_or_default();
            assert_eq!(**log.epoch.get_or_insert(epoch.into()), *epoch, "one log, one epoch");
        }
        log.write(event);
        match event {
            Event::LiveAgentToggled { user_id, .. } => {
                assert!(seats.values().any(|member| member.user == *user_id && is_agent(member)), "an agent");
            }
            // The AI is no member; everybody is told.
            Event::UserTyping { user_id, .. } if *user_id == UserId::ai() => {}
            Event::UserTyping { is_typing, .. } => {
                let typing = (room.clone(), except.expect("not to who types"));
                assert!(!is_typing || seats.contains_key(&typing.1), "a member types");
                let changed =
                    if *is_typing { self.typing.insert(typing) } else { !self.typing.remove(&typing) };
                assert!(*is_typing || !changed, "who did not type stops");
            }
            Event::RoomUsers { users, .. } => {
                let list: BTreeSet<String> = users.iter().map(|user| user.user_id.to_string()).collect();
                for conn in seats.keys().filter(|conn| Some(**conn) != except) {
                    self.lists.insert((room.clone(), *conn), list.clone());
                }
            }
            _ => {}
        }
    }

    /// What answers an event directly.
    fn replied(&mut self, room: &RoomId, to: ConnId, reply_to: &str, event: &Event, seats: &Seats) {
        let request = self.requests.get_mut(reply_to).expect("a reply to what was asked");
        assert_eq!(request.step.conn, to, "a reply to who asked");
        assert!(request.is_open, "a second answer: {}", json(event, Some(reply_to)));
        let step = request.step.clone();
        let log = self.logs.entry(room.clone()).or_default();
        match (event, &step.what) {
            (Event::AiStreamChunk { chunk, index, .. }, What::Ask { streamed: true, .. }) => {
                assert_eq!(*index, request.chunks_told, "chunks count from 0");
                assert!(!chunk.is_empty());
                request.chunks_told += 1;
                request.chunks.push_str(chunk);
                return;
            }
            (Event::AiStreamComplete(end), What::Ask { streamed: true, .. }) => request.ended(end),
            (Event::AiResponse(_), What::Ask { streamed: false, .. })
            | (Event::LeftRoom { .. }, What::Leave) => {}
            (Event::JoinedRoom { epoch, seq, live_agent, resumed, .. }, What::Join { resume, .. }) => {
                let known = log.epoch.is_some();
                let expected =
                    resume.filter(|(right, last)| known && *right && u64::from(*last) <= log.seq());
                assert_eq!(*resumed, expected.is_some(), "resumed, of {resume:?} at {}", log.seq());
                assert_eq!((seq.0, *live_agent), (log.seq(), log.live_agent), "as the log is");
                assert_eq!(log.epoch.get_or_insert(epoch.clone()), epoch, "one log, one epoch");
                let next = expected.map_or(log.seq(), |(_, last)| last.into()) + 1;
                let wants_history = expected.is_none() && (log.seq() > 0 || resume.is_some());
                self.welcome = Some(Welcome { conn: to, next, wants_history });
            }
            (Event::MessageSent { id, seq, duplicate, client_message_id, .. }, what) => {
                let place = id.rsplit_once('-').and_then(|(_, place)| place.parse().ok());
                match what {
                    What::Send { user, .. } => {
                        let key = client_message_id.as_ref().map(|id| (format!("u{user}"), id.to_string()));
                        let newest = log.seq();
                        let acked = key.as_ref().and_then(|key| log.acked.get(key).copied());
                        let first = (acked.unwrap_or(newest), acked.is_some());
                        assert_eq!((seq.0, *duplicate), first, "the first acknowledgement");
                        log.acked.extend(key.map(|key| (key, seq.0)));
                        assert_eq!(place, Some(seq.0), "an id says where the row is");
                    }
                    _ => {
                        assert_eq!(seq.0, log.seq(), "the change's own place");
                        let said = &log.messages[&place.expect("an id has a place")];
                        let member = &seats[&to];
                        assert!(said.user == member.user || is_agent(member), "changes what is not theirs");
                    }
                }
            }
            (Event::MarkedRead { seq, .. }, What::MarkRead(asked)) => {
                assert_eq!(seq.0, u64::from(*asked).min(log.seq()));
            }
            (Event::MessageHistory { messages, has_more, .. }, What::History { .. }) => {
                log.check_page(&step.query().expect("a history"), messages, *has_more);
            }
            (Event::LiveAgentToggled { enabled, .. }, What::Toggle(asked)) => {
                assert_eq!((*enabled, *enabled), (*asked, log.live_agent), "as it is already");
            }
            (Event::Error { .. }, _) => {}
            _ => panic!("{} answers {step:?}", json(event, Some(reply_to))),
        }
        self.close(reply_to, "an answer");
    }

    /// What a connection hears without having asked by an `id`: the past, after a join.
    fn told(&mut self, room: &RoomId, to: ConnId, event: &Event) {
        if let Event::RoomUsers { users, .. } = event {
            let list = users.iter().map(|user| user.user_id.to_string()).collect();
            self.lists.insert((room.clone(), to), list);
            return;
        }
        let log = self.logs.entry(room.clone()).or_default();
        let welcome = self.welcome.as_mut().filter(|welcome| welcome.conn == to);
        let welcome = welcome.unwrap_or_else(|| panic!("told unasked: {}", json(event, None)));
        match event {
            Event::MessageHistory { messages, has_more, .. } => {
                assert!(std::mem::take(&mut welcome.wants_history), "a history where all was replayed");
                log.check_newest(messages, *has_more);
            }
            event => {
                assert_eq!(place(event), Some(welcome.next), "what was missed, in order");
                assert_eq!(json(event, None), log.at(welcome.next), "as it was told live");
                welcome.next += 1;
            }
        }
    }

    pub(crate) fn turn_ends(&mut self, room: &RoomId) {
        if let Some(welcome) = self.welcome.take() {
            let seq = self.logs.get(room).map_or(0, Log::seq);
            assert_eq!(
                (welcome.next, welcome.wants_history),
                (seq + 1, false),
                "a join tells all that was missed"
            );
        }
    }

    /// The step is over: whatever has a direct answer has had it.
    pub(crate) fn settled(&mut self) {
        self.requests.retain(|reply_to, request| {
            let is_answered_later = matches!(request.step.what, What::Ask { .. });
            let may_be_silent = matches!(
                request.step.what,
                What::Typing(_) | What::Online { .. } | What::CustomerJoined | What::Toggle(_)
            );
            assert!(!request.is_open || is_answered_later || may_be_silent, "{reply_to} is not answered");
            is_answered_later
        });
    }

    fn close(&mut self, reply_to: &str, by: &str) {
        let request = self.requests.get_mut(reply_to).expect("what was asked");
        assert!(std::mem::take(&mut request.is_open), "{by} after the answer to {:?}", request.step);
    }

    pub(crate) fn check_the_end(&mut self, seats: &BTreeMap<RoomId, Seats>, store: &mut Store) {
        let waiting = self
            .requests
            .values()
            .find(|request| request.is_open && !request.is_gone)
            .map(|request| &request.step);
        assert!(waiting.is_none(), "{waiting:?} is never answered");
        assert!(self.typing.is_empty(), "somebody types for ever");
        for (room, seats) in seats {
            let present: BTreeSet<String> = seats.values().map(|member| member.user.to_string()).collect();
            for conn in seats.keys() {
                assert_eq!(self.lists.get(&(room.clone(), *conn)), Some(&present), "room-users at the end");
            }
        }
        self.check_rows(stored_events(store));
    }

    /// What was told is stored, and nothing else.
    fn check_rows(&self, mut rows: BTreeMap<String, Vec<StoredEvent>>) {
        for (room, log) in &self.logs {
            let rows = rows.remove(room.as_str()).unwrap_or_default();
            let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
            assert_eq!(seqs, (1..=log.seq()).collect::<Vec<_>>(), "what was told is stored");
            for row in &rows {
                let said = log.messages.get(&row.seq);
                assert_eq!(said.is_some(), row.is_message);
                let is_same =
                    said.is_none_or(|said| said.user.as_str() == row.user && said.first_text == row.text);
                assert!(is_same, "what is stored at {} is what was told", row.seq);
            }
            for ((user, id), seq) in &log.acked {
                let of_id = |row: &&StoredEvent| row.user == *user && row.id.as_ref() == Some(id);
                let places: Vec<u64> = rows.iter().filter(of_id).map(|row| row.seq).collect();
                assert_eq!(places, [*seq], "acknowledged is stored once, where it was said");
            }
        }
        assert!(rows.is_empty(), "stored, and never told");
    }
}

/// A row of a log.
struct StoredEvent {
    seq: u64,
    is_message: bool,
    user: String,
    /// The client's own.
    id: Option<String>,
    text: String,
}

fn stored_events(store: &mut Store) -> BTreeMap<String, Vec<StoredEvent>> {
    let mut rooms: BTreeMap<String, Vec<StoredEvent>> = BTreeMap::new();
    let statement = "SELECT room.name, seq, kind, user_id, client_message_id, text FROM event
        JOIN room ON room.id = event.room ORDER BY room.name, seq";
    let read = store.query(statement, &[], &mut |row| {
        rooms.entry(row.text(0).into()).or_default().push(StoredEvent {
            seq: row.count(1),
            is_message: row.int(2) == 0,
            user: row.text(3).into(),
            id: row.opt_text(4).map(Into::into),
            text: row.text(5).into(),
        });
    });
    read.expect("reading works");
    rooms
}

impl Request {
    fn ended(&self, end: &AiStreamComplete) {
        let is_whole = self.chunks == *end.full_response;
        // An answer that was lost ends with what was said of it, if that is still known.
        let is_lost = end.answer.finish_reason == FinishReason::Interrupted
            && (end.full_response.is_empty() || end.full_response.starts_with(&self.chunks));
        let is_fallback = self.chunks.is_empty() && end.answer.error;
        assert!(is_whole || is_lost || is_fallback, "{:?} is not {:?}", self.chunks, end.full_response);
    }
}

fn is_agent(member: &Member) -> bool {
    matches!(&*member.role, "agent" | "admin")
}
