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
        let models = Models::new(Some("gpt-4o"), true, true);
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
        let from = Caller {
            conn: ConnId(conn),
            socket: SocketId::from_entropy(conn.into()),
            reply_to: None,
            identity: crate::access::identity::Identity::Open,
        };
        self.input(VisitorsInput::Command { from, via, command });
    }

    fn join(&mut self, conn: u64, visitor: &str) {
        self.command(conn, VisitorsCommand::Join { visitor: id(visitor), data: None, country: None });
    }

    fn activity(&mut self, conn: u64, visitor: &str, url: &str) {
        let page = Page { url: Some(url.into()), title: None };
        self.command(conn, VisitorsCommand::Activity { visitor: id(visitor), page, country: None });
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

/// What an operator is told of the site's hours.
fn report(world: &mut World, kind: &str, query: &str) -> serde_json::Value {
    let Ok(query) = reports::ReportQuery::parse(kind, query) else { panic!("{query} is refused") };
    world.command(0, VisitorsCommand::Report(Box::new(query)));
    let told = world.out.drain(..).find_map(|output| match output {
        Output::Reply { event: Event::Report(report), .. } => serde_json::to_value(report).ok(),
        _ => None,
    });
    told.unwrap()
}

fn of_all(series: &serde_json::Value, what: &str) -> Vec<u64> {
    series["buckets"].as_array().unwrap().iter().map(|bucket| bucket[what].as_u64().unwrap()).collect()
}

fn near_the_end_of_a_day(world: &mut World) {
    world.now = UnixMs(20_000 * traffic::DAY_MS - 90 * 60_000);
}

#[test]
fn somebody_who_stays_counts_in_each_hour_and_once_a_day() {
    let mut world = World::new();
    near_the_end_of_a_day(&mut world);
    world.join(1, "ann");
    for minutes in [20, 20, 20, 20, 20] {
        world.pass(minutes * 60_000);
        world.activity(1, "ann", "https://shop.example/");
    }
    // 22:30, then 22:50, 23:10, 23:30, 23:50, and 0:10 on the next day.
    let hours = report(&mut world, "series", "from=2024-10-03T22:00:00Z&to=2024-10-04T00:59:59Z");
    assert_eq!(of_all(&hours, "visitors"), [1, 1, 1]);
    assert_eq!(of_all(&hours, "sessions"), [1, 0, 0]);
    assert_eq!(of_all(&hours, "views"), [1, 0, 0], "it is the same page all the time");
    let days = report(&mut world, "series", "bucket=day&from=2024-10-03T00:00:00Z&to=2024-10-04T00:00:00Z");
    assert_eq!(of_all(&days, "visitors"), [1, 1]);
}

#[test]
fn who_comes_back_is_known_though_the_memory_is_new() {
    let mut world = World::new();
    near_the_end_of_a_day(&mut world);
    for _ in 0..3 {
        world.join(1, "ann");
        world.command(1, VisitorsCommand::Leave { visitor: id("ann") });
        world.pass(1_000);
        world.restart();
    }
    let days = report(&mut world, "series", "bucket=day&from=2024-10-03T00:00:00Z&to=2024-10-03T00:00:00Z");
    assert_eq!((of_all(&days, "visitors"), of_all(&days, "sessions")), (vec![1], vec![3]));
}

#[test]
fn an_hour_is_one_row_and_written_once_for_what_comes_together() {
    let mut world = World::new();
    near_the_end_of_a_day(&mut world);
    world.join(1, "ann");
    for n in 0..500 {
        world.activity(1, "ann", &format!("https://shop.example/{n}"));
    }
    let hours = |world: &mut World| {
        let (from, to) = (UnixMs(0), world.now.plus(1));
        crate::store::traffic::between(&mut world.store, &site(), from, to).unwrap()
    };
    assert!(hours(&mut world).is_empty(), "not yet");
    world.pass(crate::limits::TRAFFIC_STORED_EVERY_MS);
    let stored = hours(&mut world);
    let [(_, hour)] = &stored[..] else { panic!("one row") };
    assert_eq!((hour.views, hour.pages.counts.len() as u64 + hour.pages.other), (500, 500));
    assert_eq!(hour.pages.counts.len(), crate::limits::TRAFFIC_KEYS_MAX);
}

#[test]
fn spans_are_bounded_however_they_are_asked_for() {
    for query in [
        "from=0001-01-01T00:00:00Z",
        "to=9999-12-30T00:00:00Z&from=2000-01-01T00:00:00Z",
        "from=-009999-01-02T00:00:00Z&to=9999-12-30T00:00:00Z",
    ] {
        let mut world = World::new();
        let Ok(query) = reports::ReportQuery::parse("series", query) else { continue };
        world.command(0, VisitorsCommand::Report(Box::new(query)));
        assert!(world.out.iter().any(|it| matches!(it, Output::Reply { event: Event::Error { .. }, .. })));
    }
}

#[test]
fn what_was_counted_goes_with_the_visitors_of_its_time() {
    let mut world = World::new();
    near_the_end_of_a_day(&mut world);
    world.join(1, "ann");
    world.activity(1, "ann", "https://shop.example/");
    world.command(1, VisitorsCommand::Leave { visitor: id("ann") });
    world.pass(2 * traffic::DAY_MS);
    world.join(1, "bob");
    world.activity(1, "bob", "https://shop.example/");
    let retain = |world: &mut World| {
        world.out.clear();
        world.command(0, VisitorsCommand::Retain { days: 1 });
        let receipt = world.out.drain(..).find_map(|output| match output {
            Output::Reply { event: Event::VisitorErased { removed }, .. } => Some(removed),
            _ => None,
        });
        let receipt = receipt.unwrap();
        (receipt.of("visitors"), receipt.of("trafficHours"))
    };
    assert_eq!(retain(&mut world), (1, 1));
    let days = |world: &mut World| {
        let series = "bucket=day&from=2024-10-01T00:00:00Z&to=2024-10-06T00:00:00Z";
        of_all(&report(world, "series", series), "views")
    };
    assert_eq!(days(&mut world), [0, 0, 0, 0, 1, 0]);
    assert_eq!(retain(&mut world), (0, 0));
    world.pass(1_000);
    world.restart();
    assert_eq!(days(&mut world), [0, 0, 0, 0, 1, 0], "and is not written again");
}

#[test]
fn a_country_is_the_hosts_word_and_else_the_visitors() {
    let mut world = World::new();
    near_the_end_of_a_day(&mut world);
    let arrive = |world: &mut World, name: &str, said: &str, country: Option<&str>| {
        let data = RawValue::from_string(format!(r#"{{"country":{said}}}"#)).ok();
        let country = country.and_then(Country::parse);
        world.command(1, VisitorsCommand::Join { visitor: id(name), data, country });
    };
    arrive(&mut world, "ann", r#""FR""#, Some("DE"));
    arrive(&mut world, "bob", r#""fr""#, None);
    arrive(&mut world, "cem", r#""Atlantis""#, None);
    arrive(&mut world, "dan", "7", None);
    let seen = |world: &mut World| {
        world.out.clear();
        world.command(2, VisitorsCommand::Stats);
        let rows = world.out.drain(..).find_map(|output| match output {
            Output::Reply { event: Event::DomainStats { visitors, .. }, .. } => Some(visitors),
            _ => None,
        });
        let rows = rows.unwrap().into_iter();
        let countries: BTreeMap<String, Option<String>> =
            rows.map(|row| (row.id.to_string(), row.country.map(|it| it.as_str().to_owned()))).collect();
        countries.into_values().map(|it| it.unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut world), ["DE", "FR", "", ""]);
    world.pass(crate::limits::TRAFFIC_STORED_EVERY_MS);
    world.restart();
    assert_eq!(seen(&mut world), ["DE", "FR", "", ""], "what the host knew is stored");
    arrive(&mut world, "ann", r#""FR""#, None);
    assert_eq!(seen(&mut world)[0], "DE", "whoever does not know says nothing else");
    let span = "from=2024-10-03T00:00:00Z&to=2024-10-04T00:00:00Z";
    let countries = report(&mut world, "pages", span)["countries"].to_string();
    assert_eq!(countries, r#"[{"country":"DE","visits":1},{"country":"FR","visits":1}]"#);
}

#[test]
fn who_brings_no_id_counts_once_a_day_and_is_told_apart_in_the_counts() {
    let mut world = World::new();
    near_the_end_of_a_day(&mut world);
    let salts = [[1; 32], [2; 32]];
    for salt in salts {
        let salt = whence::Salt::new(world.now, salt);
        let whence = |address: &str| whence::Whence {
            nameless: Some(salt.nameless(address, Some("Firefox"))),
            ..whence::Whence::default()
        };
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            let visitor = whence(address).visitor(&site()).unwrap();
            world.command(1, VisitorsCommand::Join { visitor: visitor.clone(), data: None, country: None });
            world.command(1, VisitorsCommand::Leave { visitor });
        }
        world.join(1, "ann");
        world.command(1, VisitorsCommand::Leave { visitor: id("ann") });
        world.pass(traffic::DAY_MS);
    }
    let days = report(&mut world, "series", "bucket=day&from=2024-10-03T00:00:00Z&to=2024-10-04T00:00:00Z");
    assert_eq!((of_all(&days, "visitors"), of_all(&days, "anonymous")), (vec![3, 3], vec![2, 2]));
    assert_eq!(world.counts().1, 5, "ann is ann on both days, the others are new on each");
    assert_eq!(days["unique"].to_string(), r#"{"anonymous":"daily-salt","method":"exact","window":"day"}"#);
}
