//! Visitors as a site sees them; and any sequence of inputs, held against a count kept by hand.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Policy;
use crate::access::rate::Quota;
use crate::ai::models::Models;
use crate::ids::SocketId;
use crate::store::memory::Memory;

struct World {
    policy: Policy,
    visitors: Visitors,
    store: Memory,
    now: UnixMs,
    out: Vec<Output>,
}

impl World {
    fn new() -> Self {
        let models = Models { default: "gpt-4o".into(), openai: true, google: true };
        let policy = Policy { models, context_messages: 10, ai_per_user: Quota::per_minute(20) };
        let (mut store, now) = (Memory::new(), UnixMs(1_000_000));
        let visitors = Visitors::open(site(), [], now, &mut store).unwrap();
        Self { policy, visitors, store, now, out: Vec::new() }
    }

    fn input(&mut self, input: VisitorsInput) {
        let cx = Context { now: self.now, entropy: 1, policy: &self.policy };
        self.visitors.handle(cx, input, &mut self.store, &mut self.out).unwrap();
    }

    /// `conn` 0 is a request over HTTP.
    fn command(&mut self, conn: u64, command: VisitorsCommand) {
        let via = if conn == 0 { Via::Request } else { Via::Connection { user_agent: None } };
        let from = Caller { conn: ConnId(conn), socket: SocketId::from_entropy(conn.into()), reply_to: None };
        self.input(VisitorsInput::Command { from, via, command });
    }

    fn join(&mut self, conn: u64, visitor: &str) {
        self.command(conn, VisitorsCommand::Join { visitor: id(visitor), data: None });
    }

    fn activity(&mut self, conn: u64, visitor: &str, url: &str) {
        let page = Page { url: Some(url.into()), title: None };
        self.command(conn, VisitorsCommand::Activity { visitor: id(visitor), page });
    }

    fn pass(&mut self, ms: i64) {
        self.now = self.now.plus(ms);
        self.input(VisitorsInput::Alarm);
    }

    fn restart(&mut self) {
        self.visitors = Visitors::open(site(), [], self.now, &mut self.store).unwrap();
    }

    fn counts(&self) -> (usize, u64) {
        let summary = self.visitors.summary();
        (summary.active_visitors, summary.total_visitors)
    }

    fn observed(&mut self) -> Vec<String> {
        let told = self.out.drain(..).filter_map(|output| match output {
            Output::TellObservers { event, .. } => Some(match event {
                Event::VisitorJoinedDomain { visitor_id, .. } => format!("joined {visitor_id}"),
                Event::VisitorLeftDomain { visitor_id, .. } => format!("left {visitor_id}"),
                Event::VisitorActivity { visitor_id, url, .. } => {
                    format!("{visitor_id} at {}", url.unwrap_or_default())
                }
                _ => "?".into(),
            }),
            _ => None,
        });
        told.collect()
    }
}

fn site() -> DomainId {
    DomainId::parse("shop.example").unwrap()
}

fn id(visitor: &str) -> VisitorId {
    VisitorId::parse(visitor).unwrap()
}

#[test]
fn one_visitor_counts_once_and_for_ever() {
    let mut world = World::new();
    world.join(1, "ann");
    world.join(1, "ann");
    world.join(2, "ann");
    world.join(3, "bob");
    assert_eq!(world.counts(), (2, 2));
    assert_eq!(world.observed(), ["joined ann", "joined bob"]);
    world.command(3, VisitorsCommand::Leave { visitor: id("bob") });
    world.join(3, "bob");
    assert_eq!(world.counts(), (2, 2));
    world.restart();
    assert_eq!(world.counts(), (2, 2), "the grace runs after a restart");
    world.pass(VISITOR_GRACE_MS);
    assert_eq!(world.counts(), (0, 2));
}

#[test]
fn a_visitor_stays_until_the_last_tab_is_gone() {
    let mut world = World::new();
    world.join(1, "ann");
    world.join(2, "ann");
    world.input(VisitorsInput::Disconnected { conn: ConnId(1), visitor: id("ann") });
    world.pass(VISITOR_GRACE_MS);
    assert_eq!(world.counts().0, 1);
    world.input(VisitorsInput::Disconnected { conn: ConnId(2), visitor: id("ann") });
    world.pass(VISITOR_GRACE_MS - 1);
    assert_eq!(world.counts().0, 1);
    world.pass(1);
    assert_eq!((world.counts().0, world.observed().last().map(String::as_str)), (0, Some("left ann")));
}

#[test]
fn a_page_that_goes_on_over_another_connection_is_here() {
    let mut world = World::new();
    world.join(1, "ann");
    world.input(VisitorsInput::Disconnected { conn: ConnId(1), visitor: id("ann") });
    world.activity(2, "ann", "/next");
    world.pass(VISITOR_GRACE_MS);
    assert_eq!(world.counts(), (1, 1));
    world.restart();
    world.input(VisitorsInput::Disconnected { conn: ConnId(2), visitor: id("ann") });
    world.pass(VISITOR_GRACE_MS);
    assert_eq!(world.counts(), (0, 1));
}

#[test]
fn silence_ends_a_visit() {
    let mut world = World::new();
    world.join(0, "ann");
    world.pass(VISITOR_IDLE_MS - 1);
    world.activity(0, "ann", "/a");
    world.pass(VISITOR_IDLE_MS - 1);
    assert_eq!(world.counts().0, 1);
    world.pass(1);
    assert_eq!(world.counts(), (0, 1));
}

#[test]
fn a_grace_passes_however_often_the_domain_wakes() {
    let mut world = World::new();
    world.join(1, "v");
    world.input(VisitorsInput::Disconnected { conn: ConnId(1), visitor: id("v") });
    for _ in 0..2 {
        world.restart();
        world.pass(VISITOR_GRACE_MS / 2 - 1);
        assert_eq!(world.counts(), (1, 1));
    }
    world.restart();
    world.observed();
    world.pass(2);
    assert_eq!(world.observed(), ["left v"]);

    world.join(2, "v");
    world.restart();
    world.pass(VISITOR_GRACE_MS);
    assert_eq!(world.counts(), (0, 1), "a connection that did not outlive the restart has the same grace");
}

#[test]
fn activity_is_told_once_a_second_with_the_newest_page() {
    let mut world = World::new();
    world.join(1, "ann");
    world.observed();
    for url in ["/a", "/b", "/c"] {
        world.activity(1, "ann", url);
    }
    assert_eq!(world.observed(), ["ann at /a"]);
    world.pass(VISITOR_ACTIVITY_EVERY_MS);
    assert_eq!(world.observed(), ["ann at /c"]);
}

#[derive(Clone, Debug)]
enum Step {
    Join(u64, u8),
    Leave(u64, u8),
    Drop(u64, u8),
    Pass,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (conn, visitor) = (0u64..4, 0u8..4);
    prop_oneof![
        5 => (conn.clone(), visitor.clone()).prop_map(|(conn, visitor)| Step::Join(conn, visitor)),
        2 => (conn, visitor.clone()).prop_map(|(conn, visitor)| Step::Leave(conn, visitor)),
        3 => (1u64..4, visitor).prop_map(|(conn, visitor)| Step::Drop(conn, visitor)),
        2 => Just(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn the_count_is_who_is_here(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let (mut ever, mut claims): (BTreeSet<String>, BTreeMap<String, BTreeSet<u64>>) = Default::default();
        let name = |visitor: u8| format!("v{visitor}");
        for step in steps {
            match step {
                Step::Join(conn, visitor) => {
                    world.join(conn, &name(visitor));
                    ever.insert(name(visitor));
                    claims.entry(name(visitor)).or_default().insert(conn);
                }
                Step::Leave(conn, visitor) => {
                    world.command(conn, VisitorsCommand::Leave { visitor: id(&name(visitor)) });
                    let own = claims.get_mut(&name(visitor)).map(|claims| conn != 0 && claims.remove(&conn));
                    let others = claims.get(&name(visitor)).is_some_and(|claims| claims.iter().any(|conn| *conn != 0));
                    if own != Some(true) || !others {
                        claims.remove(&name(visitor));
                    }
                }
                Step::Drop(conn, visitor) => {
                    world.input(VisitorsInput::Disconnected { conn: ConnId(conn), visitor: id(&name(visitor)) });
                    claims.entry(name(visitor)).or_default().remove(&conn);
                }
                Step::Pass => {}
                Step::Restart => {
                    world.restart();
                    claims.values_mut().for_each(|claims| claims.retain(|conn| *conn == 0));
                }
            }
            // Once the grace is over, exactly those are here for whom something speaks.
            world.pass(VISITOR_GRACE_MS);
            claims.retain(|_, claims| !claims.is_empty());
            prop_assert_eq!(world.counts(), (claims.len(), ever.len() as u64));
        }
    }
}
