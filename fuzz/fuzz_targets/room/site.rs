//! The visitors of one web site, and who they are by what was let out.

use std::collections::{BTreeMap, BTreeSet};

use weeziq_core::ids::{ConnId, DomainId, VisitorId};
use weeziq_core::limits::{VISITOR_IDLE_MS, VISITOR_STORED_EVERY_MS};
use weeziq_core::protocol::command::VisitorsCommand;
use weeziq_core::protocol::event::Event;
use weeziq_core::store::Sql;
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::{Via, Visitors, VisitorsInput};
use weeziq_core::{Context, Output, Policy};

use crate::simulation::store::Store;
use crate::step::Step;

const NAME: &str = "shop.example";

#[derive(Default)]
pub(crate) struct Site {
    visitors: Option<Visitors>,
    /// What each connection has announced: kept beside it, so it outlives the memory of the site.
    claims: BTreeSet<(ConnId, VisitorId)>,
    wakes: BTreeSet<UnixMs>,
    here: BTreeMap<VisitorId, Visit>,
    ever: BTreeSet<VisitorId>,
    /// Somebody says that a visitor leaves; else only time may take one away.
    is_asked_to_go: bool,
}

/// Who speaks for a visitor.
#[derive(Default)]
struct Visit {
    conns: BTreeSet<ConnId>,
    by_request: bool,
    last_at: UnixMs,
}

impl Site {
    pub(crate) fn forget(&mut self) {
        self.visitors = None;
    }

    pub(crate) fn visit(
        &mut self,
        step: &Step,
        is_forgetful: bool,
        now: UnixMs,
        policy: &Policy,
        store: &mut Store,
        log: &mut Vec<String>,
    ) {
        let Some((from, visitor, by_request, command)) = step.visit() else { return };
        let via = if by_request { Via::Request } else { Via::Connection { user_agent: None } };
        if is_forgetful {
            self.forget();
        }
        let is_alive = matches!(command, VisitorsCommand::Join { .. } | VisitorsCommand::Activity { .. });
        if let Some(visit) = self.here.get_mut(&visitor).filter(|_| is_alive) {
            visit.last_at = now;
            visit.conns.extend((!by_request).then_some(step.conn));
        }
        // As hosts note it, and give it back to a site that is built anew.
        if is_alive && !by_request {
            self.claims.insert((step.conn, visitor));
        }
        self.is_asked_to_go = matches!(command, VisitorsCommand::Leave { .. });
        let outputs = self.handle(VisitorsInput::Command { from, via, command }, now, policy, store);
        self.hear(outputs, now, log);
        self.is_asked_to_go = false;
    }

    pub(crate) fn disconnect(
        &mut self,
        conn: ConnId,
        now: UnixMs,
        policy: &Policy,
        store: &mut Store,
        log: &mut Vec<String>,
    ) {
        for (_, visitor) in self.claims.extract_if(.., |claim| claim.0 == conn).collect::<Vec<_>>() {
            self.here.get_mut(&visitor).map(|visit| visit.conns.remove(&conn));
            let outputs = self.handle(VisitorsInput::Disconnected { conn, visitor }, now, policy, store);
            self.hear(outputs, now, log);
        }
    }

    pub(crate) fn pass(
        &mut self,
        is_forgetful: bool,
        until: UnixMs,
        policy: &Policy,
        store: &mut Store,
        log: &mut Vec<String>,
    ) {
        while let Some(at) = self.wakes.first().copied().filter(|at| *at <= until) {
            self.wakes.remove(&at);
            if is_forgetful {
                self.forget();
            }
            let outputs = self.handle(VisitorsInput::Alarm, at, policy, store);
            self.hear(outputs, at, log);
        }
    }

    fn handle(
        &mut self,
        input: VisitorsInput,
        now: UnixMs,
        policy: &Policy,
        store: &mut Store,
    ) -> Vec<Output> {
        let claims = self.claims.iter().cloned();
        let visitors = match &mut self.visitors {
            Some(visitors) => visitors,
            empty => empty.insert(Visitors::open(name(), claims, now, store).expect("reading works")),
        };
        let mut outputs = Vec::new();
        let cx = Context { now, entropy: 1, policy };
        visitors.handle(cx, input, store, &mut outputs).expect("nothing is planned to fail");
        store.commit().expect("nothing is planned to fail");
        outputs
    }

    fn hear(&mut self, outputs: Vec<Output>, now: UnixMs, log: &mut Vec<String>) {
        for output in outputs {
            match output {
                Output::WakeAt(at) => drop(self.wakes.insert(at)),
                Output::Reply { to, event, .. } => self.replied(to, event, now),
                Output::TellObservers { event, .. } => self.observed(&event, now, log),
                _ => {}
            }
        }
    }

    fn replied(&mut self, to: ConnId, event: Event, now: UnixMs) {
        match event {
            Event::VisitorJoinedDomain { visitor_id, active_count, total, .. } => {
                let visit = self.here.entry(visitor_id.clone()).or_default();
                visit.last_at = now;
                if to == ConnId(0) {
                    visit.by_request = true;
                } else {
                    visit.conns.insert(to);
                }
                self.ever.insert(visitor_id);
                assert_eq!((active_count, total), (self.here.len(), self.ever.len() as u64), "who is here");
            }
            Event::VisitorLeftDomain { visitor_id, .. } => {
                self.claims.remove(&(to, visitor_id.clone()));
                self.here.get_mut(&visitor_id).map(|visit| visit.conns.remove(&to));
            }
            Event::DomainStats { active_visitors, total_visitors, visitors, .. } => {
                let listed: BTreeSet<&VisitorId> = visitors.iter().map(|row| &row.id).collect();
                assert!(
                    listed.iter().eq(&self.here.keys().collect::<Vec<_>>()),
                    "statistics list who is here"
                );
                assert_eq!((active_visitors, total_visitors), (listed.len(), self.ever.len() as u64));
            }
            _ => {}
        }
    }

    fn observed(&mut self, event: &Event, now: UnixMs, log: &mut Vec<String>) {
        match event {
            Event::VisitorJoinedDomain { visitor_id, .. } => log.push(format!("joined {visitor_id}")),
            Event::VisitorLeftDomain { visitor_id, active_count, .. } => {
                log.push(format!("left {visitor_id}"));
                // Nobody speaks for them any more, whoever took them away.
                self.claims.retain(|(_, visitor)| visitor != visitor_id);
                let visit = self.here.remove(visitor_id).expect("who leaves was here");
                // Who is read back from rows may seem silent for as long as a sign of life is not stored.
                let is_idle = now.since(visit.last_at) >= VISITOR_IDLE_MS - VISITOR_STORED_EVERY_MS;
                let is_claimed = visit.by_request || !visit.conns.is_empty();
                assert!(!is_claimed || is_idle || self.is_asked_to_go, "{visitor_id} leaves while here");
                assert_eq!(*active_count, self.here.len(), "who is here");
            }
            _ => {}
        }
    }

    /// Exactly those are here for whom something speaks.
    pub(crate) fn check_the_end(&mut self, store: &mut Store) {
        self.here.retain(|_, visit| visit.by_request || !visit.conns.is_empty());
        let mut stored = BTreeSet::new();
        let read = store.query("SELECT name FROM visitor WHERE here <> 0", &[], &mut |row| {
            stored.extend(VisitorId::parse(row.text(0)));
        });
        read.expect("reading works");
        let (stored, here): (Vec<_>, Vec<_>) = (
            stored.iter().map(VisitorId::as_str).collect(),
            self.here.keys().map(VisitorId::as_str).collect(),
        );
        assert_eq!(stored, here, "who is stored as here");
    }
}

fn name() -> DomainId {
    DomainId::parse(NAME).expect("a name")
}
