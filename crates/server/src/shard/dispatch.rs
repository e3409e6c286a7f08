//! Where each command goes, and when: whoever asks for much waits for a turn that has room for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weeziq_core::ids::{DomainId, RoomId};
use weeziq_core::protocol::command::{Ask, Command, Join, Request, RoomCommand, VisitorsCommand};
use weeziq_core::protocol::event::{DomainSummary, Event};
use weeziq_core::rooms::RoomInput;
use weeziq_core::rooms::message::Message as RoomMessage;
use weeziq_core::store::visitors::all_domains;
use weeziq_core::visitors::{Via, VisitorsInput};
use weeziq_core::{Caller, Output};

use super::conn::Link;
use super::mailbox::{Gathering, Message};
use super::rooms::{Held, Source};
use super::{ASKED_BYTES_MAX, LARGE_PER_TURN, Shard};
use crate::domains::Question;
use crate::metrics::count;

impl Shard {
    pub(super) fn dispatch(&mut self, slot: usize, request: Request) {
        if has_large_reply(&request.command)
            && let Some(socket) = self.socket(slot)
        {
            socket.await_reply();
            if (self.is_laden || self.large_in_turn >= LARGE_PER_TURN || !self.deferred.is_empty())
                && let Some(id) = self.id_of(slot)
            {
                return self.deferred.push_back((id, request));
            }
        }
        self.dispatch_now(slot, request);
    }

    /// As many of those who wait for large replies as this turn can have, in the order in which they asked.
    pub(super) fn take_deferred(&mut self) {
        self.large_in_turn = 0;
        if self.asked_bytes + self.asked_bytes_since > ASKED_BYTES_MAX {
            let asked = self.conns.iter().filter_map(|(_, conn)| match &conn.link {
                Link::Socket(socket) => Some(socket.asked_bytes()),
                _ => None,
            });
            self.asked_bytes = asked.sum();
            self.asked_bytes_since = 0;
        }
        self.is_laden = self.asked_bytes > ASKED_BYTES_MAX;
        let most = if self.is_laden { 1 } else { LARGE_PER_TURN };
        while self.large_in_turn < most
            && let Some((id, request)) = self.deferred.pop_front()
        {
            if let Some(slot) = self.local(id) {
                self.dispatch_now(slot, request);
            }
        }
        while self.large_in_turn < most
            && let Some(asked) = self.recalled.pop_front()
        {
            self.decide(&asked);
        }
    }

    fn dispatch_now(&mut self, slot: usize, request: Request) {
        self.large_in_turn += usize::from(has_large_reply(&request.command));
        count(|counters| counters.events.one(request.command.kind()));
        if let Command::Room(_, RoomCommand::Join(Join { resume: Some(_), .. })) = &request.command
            && let Some(socket) = self.socket(slot)
        {
            socket.is_resuming = true;
        }
        let Some((id, conn)) = self.id_of(slot).zip(self.conns.get(slot)) else {
            return;
        };
        if !conn.session.observes() {
            self.observers.remove(&slot);
        }
        let identity = conn.session.identity().clone();
        let caller = Caller { conn: id, socket: conn.session.socket, reply_to: request.reply_to, identity };
        match request.command {
            Command::Ping => self.answer(caller, Event::Pong),
            Command::Room(room, command) => {
                if conn.engine.is_some() {
                    self.note_membership(slot, &room, &command);
                }
                self.tell_room(room, RoomInput::Command { from: caller, command });
            }
            Command::Search(query) => self.search(caller, &query),
            Command::Desk(room, command) => {
                self.tell_room(room, RoomInput::Desk { from: caller, command });
            }
            Command::Visitors(domain, command) => {
                let via = match &conn.link {
                    Link::Socket(_) => Via::Connection { user_agent: conn.user_agent.clone() },
                    _ => Via::Request,
                };
                self.tell_visitors(domain, VisitorsInput::Command { from: caller, via, command });
            }
            Command::AllDomainStats => self.gather(caller),
            Command::Ask(conversation, ask) => self.take_question(slot, caller, conversation, ask),
        }
    }

    /// Requests over HTTP have met the limit of their address at the door.
    fn take_question(&mut self, slot: usize, caller: Caller, conversation: Option<RoomId>, ask: Ask) {
        let address = self.conns.get(slot).and_then(|conn| conn.address);
        // What came over HTTP has met the limits at its route.
        let admitted = match address {
            Some(_) => self.environment.admit_question(&caller.identity, address, self.now),
            None => Ok(()),
        };
        if let Err(error) = admitted {
            let event = Event::error(&error, self.now);
            return self.answer(caller, event);
        }
        let conversation =
            conversation.unwrap_or_else(|| RoomId::of_visitor("connection", caller.socket.as_str()));
        self.ask(conversation, caller, ask);
    }

    fn ask(&mut self, conversation: RoomId, from: Caller, ask: Ask) {
        let settings = self.environment.domains.of(ask.domain.as_ref());
        if !ask.is_unasked() || settings.ai.auto_reply {
            self.locate(Box::new(Question { conversation, from, ask, page: None }));
        }
    }

    /// A customer has said something where the AI may answer by itself.
    pub(super) fn answer_said(&mut self, domain: DomainId, message: &RoomMessage) {
        let from = Caller::unasked(message);
        self.ask(message.room_id.clone(), from, Ask::unasked(domain, message));
    }

    fn gather(&mut self, caller: Caller) {
        let gathering = Arc::new(Gathering::new(caller, self.shards.count()));
        for shard in (0..self.shards.count()).filter(|shard| *shard != self.index) {
            self.shards.send(shard, Message::Summarise(gathering.clone()));
        }
        self.summarise(&gathering);
    }

    pub(super) fn summarise(&mut self, gathering: &Gathering) {
        let mut summaries = BTreeMap::new();
        match all_domains(&mut self.store) {
            Ok(rows) => summaries.extend(rows.into_iter().map(|(domain, total_visitors, last_updated)| {
                let row = DomainSummary { active_visitors: 0, total_visitors, last_updated };
                (domain, row)
            })),
            Err(error) => self.fail(&error),
        }
        summaries.extend(self.present_domains());
        if let Some(event) = gathering.add(summaries, self.now) {
            self.answer(gathering.caller.clone(), event);
        }
    }

    fn present_domains(&self) -> impl Iterator<Item = (DomainId, DomainSummary)> {
        let present = self.domains.iter().filter_map(|(_, slot)| slot.visitors.as_ref());
        let summaries = present.map(|visitors| (visitors.id().clone(), visitors.summary()));
        // To be asked about makes no site of a name.
        summaries.filter(|(_, summary)| summary.total_visitors > 0)
    }

    /// Through the gate, as everything, so that replies come in the order of their causes.
    pub(super) fn answer(&mut self, to: Caller, event: Event) {
        let output = Output::Reply { to: to.conn, reply_to: to.reply_to, event };
        self.gate.open.push(Held::Said { source: Source::Host, output });
    }
}

/// What may be answered with a thousand messages or rows.
fn has_large_reply(command: &Command) -> bool {
    matches!(
        command,
        Command::Room(_, RoomCommand::Join(_) | RoomCommand::FetchHistory(_))
            | Command::Visitors(_, VisitorsCommand::Stats | VisitorsCommand::Rooms(_))
            | Command::AllDomainStats
    )
}
