//! A host as the core meets one: a turn is an input, a transaction, and what it lets out once that is stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use weeziq_core::access::rate::Quota;
use weeziq_core::ai::models::Models;
use weeziq_core::ids::{ConnId, RoomId, RunId};
use weeziq_core::rooms::{Farewell, Member, Post, Room, RoomInput, Spoken};
use weeziq_core::store::{Sql, SqlError, Value, outbox};
use weeziq_core::time::UnixMs;
use weeziq_core::{Context, Output, Policy};
use weeziq_fuzz::Input;

use crate::ledger::Ledger;
use crate::shelf;
use crate::simulation::store::Store;
use crate::site::Site;
use crate::step::{Step, What};
use crate::telling;

/// Which turn of a step fails, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    in_turns: Option<u8>,
    /// The write that many writes from its beginning, else its commit.
    write: Option<u32>,
}

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) site: Site,
    store: Store,
    policy: Policy,
    now: UnixMs,
    entropy: u64,
    flavour: Flavour,
    rooms: BTreeMap<RoomId, Room>,
    seats: BTreeMap<RoomId, BTreeMap<ConnId, Arc<Member>>>,
    due: VecDeque<Due>,
    wakes: BTreeSet<(UnixMs, RoomId)>,
    /// Rooms that are to be looked at again soon, since their memory is gone: a host may not leave that to chance.
    lost: BTreeSet<RoomId>,
    /// Whose askers know that their answers are lost, before the rooms do.
    told: BTreeMap<RoomId, Vec<Spoken>>,
    runs: Vec<(RoomId, RunId)>,
    log: Vec<String>,
}

/// Which host is played.
#[derive(Clone, Copy)]
pub(crate) struct Flavour {
    /// Questions are counted.
    pub(crate) has_quota: bool,
    /// As the native host does after a failed commit.
    pub(crate) tells_owed: bool,
    /// Rooms are built anew for each input.
    pub(crate) is_forgetful: bool,
}

/// An input that waits for its turn.
struct Due {
    room: RoomId,
    input: RoomInput,
    /// The row of the outbox that it comes from.
    kept: Option<i64>,
}

impl Fault {
    /// Most steps have none.
    pub(crate) fn read(input: &mut Input<'_>) -> Self {
        let byte = input.byte();
        let write = u32::from(byte >> 3 & 7);
        match byte {
            0xC0.. => Self { in_turns: Some(byte & 7), write: (write < 7).then_some(write) },
            _ => Self::default(),
        }
    }

    pub(crate) fn commit() -> Self {
        Self { in_turns: Some(0), write: None }
    }

    /// What is to be of the next turn.
    pub(crate) fn next(&mut self) -> Self {
        let next = *self;
        self.in_turns = self.in_turns.and_then(|turns| turns.checked_sub(1));
        next
    }

    pub(crate) fn is_now(self) -> bool {
        self.in_turns == Some(0)
    }
}

impl World {
    pub(crate) fn new(flavour: Flavour) -> Self {
        let models = Models::new(Some("gpt-x"), true, true);
        let ai_per_user = Quota::per_minute(if flavour.has_quota { 20 } else { 0 });
        Self {
            ledger: Ledger::default(),
            site: Site::default(),
            store: shelf::take(),
            policy: Policy { models, context_messages: 10, ai_per_user },
            now: UnixMs(1_000_000),
            entropy: 0,
            flavour,
            rooms: BTreeMap::new(),
            seats: BTreeMap::new(),
            due: VecDeque::new(),
            wakes: BTreeSet::new(),
            lost: BTreeSet::new(),
            told: BTreeMap::new(),
            runs: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Puts the inputs of a step into the queue.
    pub(crate) fn begin(&mut self, step: &Step) {
        let room = step.room();
        match &step.what {
            What::Model { ago, event } => {
                let run = self.runs.iter().rev().nth((*ago).into()).cloned();
                let input = run.map(|(room, run)| (room, RoomInput::Model { run, event: event.clone() }));
                self.due.extend(input.map(|(room, input)| Due { room, input, kept: None }));
            }
            What::Disconnect(how) => self.disconnect(step.conn, *how),
            What::Evict => {
                self.rooms.remove(&room);
                self.lost.insert(room);
            }
            What::Pass(_) | What::Visit { .. } => {}
            _ => {
                if let Some(input) = step.room_input(self) {
                    self.ledger.ask(step);
                    self.due.push_back(Due { room, input, kept: None });
                }
            }
        }
    }

    /// What is no turn of a room.
    pub(crate) fn finish(&mut self, step: &Step) {
        match &step.what {
            What::Pass(ms) => self.pass(*ms),
            What::Evict => self.site.forget(),
            What::Disconnect(_) => {
                let now = self.now;
                self.site.disconnect(step.conn, now, &self.policy, &mut self.store, &mut self.log);
            }
            What::Visit { .. } => {
                let now = self.now;
                self.site.visit(
                    step,
                    self.flavour.is_forgetful,
                    now,
                    &self.policy,
                    &mut self.store,
                    &mut self.log,
                );
            }
            _ => {}
        }
        self.ledger.settled();
    }

    fn disconnect(&mut self, conn: ConnId, how: Farewell) {
        self.ledger.lose(conn);
        for (room, seats) in &self.seats {
            if seats.contains_key(&conn) {
                let input = RoomInput::Disconnected { conn, how };
                self.due.push_back(Due { room: room.clone(), input, kept: None });
            }
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// One input and what it lets out. None: nothing is due. True: it failed.
    pub(crate) fn turn(&mut self, fault: Fault) -> Option<bool> {
        let Due { room, input, kept } = self.due.pop_front()?;
        if self.flavour.is_forgetful {
            self.forget_rooms();
        }
        let again = said_again(&room, &input, kept);
        let caller = match &input {
            RoomInput::Command { from, .. } | RoomInput::Ask { from, .. } => from.reply_to.clone(),
            _ => None,
        };
        self.store.fails_in = fault.write.filter(|_| fault.is_now());
        let handled = self.handle(&room, input, kept);
        self.store.heal();
        match handled {
            Ok(outputs) if !fault.is_now() || fault.write.is_some() => {
                self.store.commit().expect("a commit that is not to fail");
                self.told.remove(&room);
                self.carry_out(&room, outputs);
                Some(false)
            }
            Err(error) if !fault.is_now() => panic!("a turn fails by itself: {error}"),
            _ => {
                self.store.rollback();
                let spoken = self.rooms.remove(&room).map_or_else(Vec::new, Room::into_spoken);
                self.due.extend(again);
                caller.into_iter().for_each(|reply_to| self.ledger.refuse(&reply_to));
                if self.flavour.tells_owed {
                    self.tell_owed(&room, &spoken);
                }
                self.lost.insert(room);
                Some(true)
            }
        }
    }

    /// Who waits for an answer that is lost hears so at once, though that cannot be stored yet.
    fn tell_owed(&mut self, id: &RoomId, spoken: &[Spoken]) {
        let seats = self.seats.get(id).into_iter().flatten().map(as_kept);
        let room = Room::open(id.clone(), seats, &mut self.store).expect("reading works");
        for (spoken, outputs) in room.owed(spoken, &mut self.store, self.now).expect("reading works") {
            let told = self.told.entry(id.clone()).or_default();
            if told.iter().all(|told| told.run != spoken.run) {
                told.push(spoken);
                for output in &outputs {
                    self.ledger.hear(id, output, &BTreeMap::new());
                    self.log.extend(telling::of(id, output));
                }
            }
        }
    }

    /// A turn of its own, with all that comes of it.
    pub(crate) fn tell(&mut self, room: &RoomId, input: impl FnOnce(&mut Self) -> RoomInput) {
        let input = input(self);
        self.due.push_back(Due { room: room.clone(), input, kept: None });
        while self.turn(Fault::default()).is_some() {}
    }

    /// All but the rooms whose answers are being written, which live in memory only.
    fn forget_rooms(&mut self) {
        let mut writing = BTreeSet::new();
        let statement = "SELECT name FROM room WHERE id IN (SELECT room FROM run WHERE state = 0)";
        let read = self.store.query(statement, &[], &mut |row| writing.extend([row.text(0).to_owned()]));
        read.expect("reading works");
        self.rooms.retain(|id, _| writing.contains(id.as_str()));
    }

    fn handle(&mut self, id: &RoomId, input: RoomInput, kept: Option<i64>) -> Result<Vec<Output>, SqlError> {
        // The twins may be woken a different number of times, and must give the same names all the same.
        self.entropy += u64::from(!matches!(input, RoomInput::Alarm));
        let cx = Context { now: self.now, entropy: self.entropy, policy: &self.policy };
        let mut outputs = Vec::new();
        if !self.rooms.contains_key(id) {
            let seats = self.seats.get(id).into_iter().flatten().map(as_kept);
            let mut room = Room::open(id.clone(), seats, &mut self.store)?;
            let awoken = Context { entropy: 0, ..cx };
            let told = self.told.get(id).cloned().unwrap_or_default();
            room.handle(awoken, RoomInput::Awoken { told }, &mut self.store, &mut outputs)?;
            self.rooms.insert(id.clone(), room);
        }
        if let Some(room) = self.rooms.get_mut(id) {
            room.handle(cx, input, &mut self.store, &mut outputs)?;
            assert_eq!(room.has_live_agent(), self.ledger.live_agent_after(id, &outputs), "who is in charge");
        }
        kept.map_or(Ok(()), |row| outbox::remove(&mut self.store, row))?;
        Ok(outputs)
    }

    fn carry_out(&mut self, id: &RoomId, outputs: Vec<Output>) {
        let seats = self.seats.entry(id.clone()).or_default();
        for output in outputs {
            self.ledger.hear(id, &output, seats);
            self.log.extend(telling::of(id, &output));
            match output {
                Output::Admit { conn, member } => drop(seats.insert(conn, member)),
                Output::Dismiss { conn } => drop(seats.remove(&conn)),
                Output::WakeAt(at) => drop(self.wakes.insert((at, id.clone()))),
                Output::AskModel { run, .. } => self.runs.push((id.clone(), run)),
                Output::Relay { room, input, kept } => self.due.push_back(Due { room, input: *input, kept }),
                Output::List(_)
                | Output::Said { .. }
                | Output::Reply { .. }
                | Output::Publish { .. }
                | Output::TellObservers { .. }
                | Output::CancelModel { .. }
                | Output::Spend(_) => {}
            }
        }
        self.ledger.turn_ends(id);
    }

    pub(crate) fn pass(&mut self, ms: i64) {
        let until = self.now.plus(ms);
        for room in std::mem::take(&mut self.lost) {
            self.tell(&room, |_| RoomInput::Alarm);
        }
        while let Some((at, room)) = self.wakes.pop_first() {
            if at > until {
                self.wakes.insert((at, room));
                break;
            }
            self.now = self.now.max(at);
            self.tell(&room, |_| RoomInput::Alarm);
        }
        self.now = until;
        self.site.pass(self.flavour.is_forgetful, until, &self.policy, &mut self.store, &mut self.log);
    }

    /// What was let out since the last look; in which order within a step counts for nobody.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        let mut log = std::mem::take(&mut self.log);
        log.sort_unstable();
        log
    }

    /// The newest answer that may still be written.
    pub(crate) fn last_run(&mut self) -> Option<(RoomId, RunId)> {
        self.runs.pop()
    }

    /// The end of it.
    pub(crate) fn close(self) {
        shelf::put_back(self.store);
    }

    pub(crate) fn check_the_end(&mut self) {
        self.ledger.check_the_end(&self.seats, &mut self.store);
        self.site.check_the_end(&mut self.store);
    }

    /// All that is stored, save what only one of the twins may know.
    pub(crate) fn rows(&mut self) -> Vec<String> {
        const TABLES: [&str; 7] = [
            "SELECT id, name, epoch, live_agent, created_at, asked_us, '', '' FROM room ORDER BY id",
            "SELECT room, seq, kind, at, user_id, client_message_id, text, target_seq FROM event ORDER BY room, seq",
            "SELECT room, user_id, seq, at, '', '', '', '' FROM read_mark ORDER BY room, user_id",
            "SELECT room, speaker, text, at, '', '', '', '' FROM turn ORDER BY id",
            "SELECT room, state, finish_reason, input_tokens, output_tokens, started_at, ended_at, asked FROM run ORDER BY id",
            "SELECT room, member, until, '', '', '', '', '' FROM departed ORDER BY room, member, until",
            "SELECT name, here, first_at, joined_at, leave_at, domain, '', '' FROM visitor ORDER BY name",
        ];
        let mut rows = Vec::new();
        for table in TABLES {
            let read = self.store.query(table, &[], &mut |row| {
                let columns: Vec<String> = (0..8).map(|column| shown(row.value(column))).collect();
                rows.push(columns.join(" | "));
            });
            read.expect("reading works");
        }
        rows
    }
}

/// What a host says once more after a turn that failed, because nobody else would.
fn said_again(room: &RoomId, input: &RoomInput, kept: Option<i64>) -> Option<Due> {
    let input = match input {
        RoomInput::Disconnected { conn, how } => RoomInput::Disconnected { conn: *conn, how: *how },
        RoomInput::Post(post) => {
            let json = serde_json::to_string(post).expect("a post is JSON");
            RoomInput::Post(serde_json::from_str::<Post>(&json).expect("of a post"))
        }
        _ => return None,
    };
    Some(Due { room: room.clone(), input, kept })
}

/// A member as it comes back from beside its connection: as JSON.
fn as_kept((conn, member): (&ConnId, &Arc<Member>)) -> (ConnId, Arc<Member>) {
    let json = serde_json::to_string(&**member).expect("a member is JSON");
    (*conn, Arc::new(serde_json::from_str(&json).expect("of a member")))
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Int(int) => int.to_string(),
        Value::Text(text) => text.into(),
    }
}
