//! The domains of a shard, and who is on them: finding, opening and forgetting them.

use std::cmp::Reverse;
use std::collections::HashMap;

use weeziq_core::Output;
use weeziq_core::ids::{ConnId, DomainId, VisitorId};
use weeziq_core::protocol::command::VisitorsCommand;
use weeziq_core::store::{SqlError, visitors};
use weeziq_core::visitors::{Via, Visitors, VisitorsInput};

use super::mailbox::{Kept, Message};
use super::rooms::{Held, IDLE_MS, OUTBOX_RETRY_MS, Parting, Source, Timer};
use super::{Shard, context_of};

pub(super) struct DomainSlot {
    pub(super) id: DomainId,
    pub(super) generation: u32,
    pub(super) visitors: Option<Visitors>,
    /// Who says so that a visitor is here, for rebuilding.
    claims: HashMap<ConnId, Vec<VisitorId>>,
    is_idling: bool,
    pub(super) has_failed: bool,
}

impl Shard {
    pub(super) fn tell_visitors(&mut self, id: DomainId, input: VisitorsInput) {
        self.tell_visitors_kept(id, input, None);
    }

    /// An input that its sender keeps until it is stored here.
    pub(super) fn tell_visitors_kept(&mut self, id: DomainId, input: VisitorsInput, kept: Option<Kept>) {
        let shard = self.shards.of(id.as_str());
        if shard != self.index {
            if kept.is_some() {
                self.look_into_outbox_at(self.now.plus(OUTBOX_RETRY_MS));
            }
            return self.shards.send(shard, Message::Visitors { domain: id, input, kept });
        }
        let slot = self.domain_slot(id.clone());
        match &input {
            VisitorsInput::Command { from, command, .. } => {
                self.pending.callers.push(from.clone());
                if let VisitorsCommand::Leave { visitor } = command {
                    let parting = Parting::Domain(id, from.conn, visitor.clone());
                    self.pending.farewells.push(parting);
                }
            }
            VisitorsInput::Disconnected { conn, visitor } => {
                let parting = Parting::Domain(id, *conn, visitor.clone());
                self.pending.farewells.push(parting);
            }
            VisitorsInput::Listed(_) | VisitorsInput::Unlisted { .. } | VisitorsInput::Alarm => {}
        }
        if let Err(error) = self.handle_visitors(slot, input).and_then(|()| self.has_taken(kept)) {
            self.fail(&error);
        }
        self.isolate();
    }

    /// What rooms of this shard have told of themselves, in the transaction of what they tell of.
    pub(super) fn list_rooms(&mut self) -> Result<(), SqlError> {
        while let Some(listing) = self.listings.pop_front() {
            let slot = self.domain_slot(listing.domain.clone());
            self.handle_visitors(slot, VisitorsInput::Listed(listing))?;
        }
        Ok(())
    }

    fn handle_visitors(&mut self, slot: usize, input: VisitorsInput) -> Result<(), SqlError> {
        let moment = self.context();
        let Some(domain) = self.domains.get_mut(slot) else {
            return Ok(());
        };
        domain.note_claim(&input);
        let visitors = match &mut domain.visitors {
            Some(visitors) => visitors,
            empty => {
                let claims = domain.claims.iter();
                let claims = claims.flat_map(|(conn, visitors)| visitors.iter().map(|v| (*conn, v.clone())));
                empty.insert(Visitors::open(domain.id.clone(), claims, moment.0, &mut self.store)?)
            }
        };
        self.pending.domains.push(slot);
        let mut outputs = Vec::new();
        visitors.handle(
            context_of(&self.environment.policy, moment),
            input,
            &mut self.store,
            &mut outputs,
        )?;
        if !domain.is_idling && visitors.is_idle() {
            domain.is_idling = true;
            let timer = Timer::Domain { slot, generation: domain.generation };
            self.idle.push_back((moment.0.plus(IDLE_MS), timer));
        }
        for output in outputs {
            match output {
                // Due times need no gate, and they are the one output that must know its domain.
                Output::WakeAt(at) => {
                    self.timers.push(Reverse((at, Timer::Domain { slot, generation: domain.generation })));
                }
                output => self.gate.open.push(Held::Said { source: Source::Domain, output }),
            }
        }
        Ok(())
    }

    /// Whether this connection says that it is this visitor.
    pub(super) fn claims(&self, domain: &DomainId, conn: ConnId, visitor: &VisitorId) -> bool {
        let slot = self.domain_slots.get(domain).and_then(|slot| self.domains.get(*slot));
        slot.and_then(|slot| slot.claims.get(&conn)).is_some_and(|claimed| claimed.contains(visitor))
    }

    fn domain_slot(&mut self, id: DomainId) -> usize {
        if let Some(slot) = self.domain_slots.get(&id) {
            return *slot;
        }
        self.next_generation = self.next_generation.wrapping_add(1);
        let slot = self.domains.insert(DomainSlot {
            id: id.clone(),
            generation: self.next_generation,
            visitors: None,
            claims: HashMap::new(),
            is_idling: true,
            has_failed: false,
        });
        let generation = self.next_generation;
        self.idle.push_back((self.now.plus(IDLE_MS), Timer::Domain { slot, generation }));
        self.domain_slots.insert(id, slot);
        slot
    }

    /// Those who were here when the last process ended have the grace to come back, from now on and not from
    /// whenever somebody asks.
    pub(super) fn wake_present_domains(&mut self) -> Result<(), SqlError> {
        for domain in visitors::domains_with_visitors(&mut self.store)? {
            self.tell_visitors(domain, VisitorsInput::Alarm);
        }
        self.store.commit()
    }

    pub(super) fn evict_domain(&mut self, slot: usize, generation: u32) {
        let Some(domain) = self.domains.get_mut(slot).filter(|d| d.generation == generation) else {
            return;
        };
        domain.is_idling = false;
        if domain.visitors.as_ref().is_none_or(Visitors::is_idle) && domain.claims.is_empty() {
            self.domain_slots.remove(&domain.id);
            self.domains.remove(slot);
        }
    }
}

impl DomainSlot {
    fn note_claim(&mut self, input: &VisitorsInput) {
        match input {
            VisitorsInput::Command {
                from,
                via: Via::Connection { .. },
                command: VisitorsCommand::Join { visitor, .. } | VisitorsCommand::Activity { visitor, .. },
            } => {
                let claimed = self.claims.entry(from.conn).or_default();
                if !claimed.contains(visitor) {
                    claimed.push(visitor.clone());
                }
            }
            VisitorsInput::Command { from, command: VisitorsCommand::Leave { visitor }, .. } => {
                self.drop_claim(from.conn, visitor);
            }
            VisitorsInput::Disconnected { conn, visitor } => self.drop_claim(*conn, visitor),
            VisitorsInput::Command { .. }
            | VisitorsInput::Listed(_)
            | VisitorsInput::Unlisted { .. }
            | VisitorsInput::Alarm => {}
        }
    }

    fn drop_claim(&mut self, conn: ConnId, visitor: &VisitorId) {
        if let Some(claimed) = self.claims.get_mut(&conn) {
            claimed.retain(|known| known != visitor);
            if claimed.is_empty() {
                self.claims.remove(&conn);
            }
        }
    }
}
