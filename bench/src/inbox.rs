//! What has arrived: every frame of every connection ends here, is checked, timed and counted.

use std::collections::VecDeque;

use crate::answers::Answers;
use crate::histogram::Histogram;
use crate::ledger::{Entry, Errors, Ledger};
use crate::wire::{self, Fields, Kind, Member, RunId};

/// What one member has got back for his sends.
#[derive(Clone, Default)]
struct Sender {
    /// When the sends without an ack were due; acks of one connection come in order.
    awaiting_ack: VecDeque<u64>,
    sent: u64,
    acked: u64,
    /// His own messages that came back to him.
    echoed: u64,
}

pub(crate) struct Inbox {
    run: RunId,
    fields: Fields,
    ledger: Ledger,
    senders: Vec<Sender>,
    unacked: u64,
    errors: Errors,
    first_trouble: Option<String>,
    pub(crate) joined: u32,
    /// From the connect to the answer to the join.
    pub(crate) join_time: Histogram,
    pub(crate) answers: Answers,
    /// Everything read, skipped frames included: the measure of silence.
    pub(crate) bytes: u64,
    pub(crate) deliveries: u64,
    pub(crate) latency: Histogram,
    /// Of each message, until the last member of its room had it.
    pub(crate) last_member: Histogram,
    pub(crate) ack_latency: Histogram,
    pub(crate) last_delivery_ns: u64,
}

impl Inbox {
    pub(crate) fn new(run: RunId, rooms: u32, members_per_room: u32) -> Self {
        Self {
            run,
            fields: Fields::new(),
            ledger: Ledger::new(rooms, members_per_room),
            senders: vec![Sender::default(); (rooms * members_per_room) as usize],
            unacked: 0,
            errors: Errors::default(),
            first_trouble: None,
            joined: 0,
            join_time: Histogram::new(),
            answers: Answers::default(),
            bytes: 0,
            deliveries: 0,
            latency: Histogram::new(),
            last_member: Histogram::new(),
            ack_latency: Histogram::new(),
            last_delivery_ns: 0,
        }
    }

    pub(crate) fn room_of(&self, member: Member) -> u32 {
        self.ledger.room_of(member)
    }

    pub(crate) fn room_name_of(&self, member: Member) -> String {
        wire::room_name(self.run, self.room_of(member))
    }

    pub(crate) fn sent(&mut self, sender: Member, intended_ns: u64) -> Entry {
        if let Some(sender) = self.senders.get_mut(sender.0 as usize) {
            sender.awaiting_ack.push_back(intended_ns);
            sender.sent += 1;
            self.unacked += 1;
        }
        self.ledger.sent(sender)
    }

    /// Messages of a member that lack either their ack or their own delivery.
    pub(crate) fn in_flight(&self, member: Member) -> u64 {
        let Some(sender) = self.senders.get(member.0 as usize) else {
            return 0;
        };
        sender.sent.saturating_sub(sender.acked.min(sender.echoed))
    }

    pub(crate) fn event(&mut self, receiver: Member, kind: Option<Kind>, payload: &[u8], now_ns: u64) {
        match kind {
            Some(Kind::NewMessage) => self.new_message(receiver, payload, now_ns),
            Some(Kind::MessageSent) => self.message_sent(receiver, now_ns),
            Some(Kind::JoinedRoom) => self.joined += 1,
            Some(Kind::AiChunk) => self.answers.chunk(receiver, payload, now_ns),
            Some(Kind::AiComplete) => {
                if let Some(trouble) = self.answers.complete(receiver, payload, now_ns) {
                    self.trouble(|| format!("member {}: {trouble}", receiver.0));
                }
            }
            Some(Kind::Error) => {
                self.errors.refused += 1;
                let text = String::from_utf8_lossy(payload.get(..payload.len().min(200)).unwrap_or_default());
                self.trouble(|| format!("member {} got {text}", receiver.0));
            }
            Some(Kind::Other | Kind::Opened | Kind::Connected | Kind::Ping) => {}
            None => self.broken(receiver, "an event has no type"),
        }
    }

    fn new_message(&mut self, receiver: Member, payload: &[u8], now_ns: u64) {
        self.deliveries += 1;
        self.last_delivery_ns = now_ns;
        let Some(mark) = self.fields.mark(payload).filter(|mark| mark.run == self.run) else {
            return self.ledger.foreign();
        };
        let entry = Entry { sender: mark.sender, number: mark.number };
        let sight = self.ledger.delivered(receiver, entry, self.fields.seq(payload));
        if sight.is_first {
            let room = wire::room_name(self.run, self.ledger.room_of(mark.sender));
            if self.fields.room(payload) != Some(room.as_bytes()) {
                self.ledger.misrouted();
            }
        }
        self.latency.record(now_ns.saturating_sub(mark.intended_ns));
        if sight.is_last {
            self.last_member.record(now_ns.saturating_sub(mark.intended_ns));
        }
        if receiver == mark.sender
            && let Some(sender) = self.senders.get_mut(receiver.0 as usize)
        {
            sender.echoed += 1;
        }
    }

    fn message_sent(&mut self, receiver: Member, now_ns: u64) {
        let Some(sender) = self.senders.get_mut(receiver.0 as usize) else {
            return;
        };
        sender.acked += 1;
        match sender.awaiting_ack.pop_front() {
            Some(due_ns) => {
                self.unacked -= 1;
                self.ack_latency.record(now_ns.saturating_sub(due_ns));
            }
            None => self.errors.overacked += 1,
        }
    }

    /// The server ended the connection, or it can't be read on.
    pub(crate) fn broken(&mut self, member: Member, why: &str) {
        self.errors.disconnected += 1;
        self.trouble(|| format!("member {}: {why}", member.0));
    }

    fn trouble(&mut self, text: impl FnOnce() -> String) {
        if self.first_trouble.is_none() {
            self.first_trouble = Some(text());
        }
    }

    pub(crate) fn first_trouble(&self) -> Option<&str> {
        self.first_trouble.as_deref()
    }

    pub(crate) fn disconnected(&self) -> u64 {
        self.errors.disconnected
    }

    /// Deliveries and acks that are still owed.
    pub(crate) fn outstanding(&self) -> u64 {
        self.ledger.outstanding() + self.unacked
    }

    pub(crate) fn errors(&self) -> Errors {
        let Errors { overacked, refused, disconnected, .. } = self.errors;
        let here = Errors { unacked: self.unacked, overacked, refused, disconnected, ..Errors::default() };
        here.plus(self.ledger.errors()).plus(self.answers.errors())
    }

    /// Forgets the warm-up's figures, not its errors.
    pub(crate) fn start_measuring(&mut self) {
        self.deliveries = 0;
        self.latency.clear();
        self.last_member.clear();
        self.ack_latency.clear();
    }
}
