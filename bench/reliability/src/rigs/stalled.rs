//! Readers that do not read: what they cost the server and the others, and whether they lose anything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::cli::{Common, Plan, StalledFlags, StalledPlan};
use crate::client::Order;
use crate::dialect::Peer;
use crate::fleet::{Load, dealt};
use crate::ledger::Verdict;
use crate::mark::Room;
use crate::report::{self, Outcome, Target, mib, ms};
use crate::socket::Options;
use crate::stage::{Stage, times_json};
use crate::world::Times;
use weeziq_rig::Result;

/// For each stalled reader its connection and the list of what it did not read; the frames themselves are shared by all
/// of a room, so the megabyte that the contract grants each of them is there once.
const BYTES_PER_STALLED: u64 = 256 * 1024;
/// For the rest: page cache of the store, the healthy ones' traffic, and 64 MiB of replays at their return that wait to be
/// read, twice because an allocator gives back late.
const BYTES_FOR_THE_REST: u64 = 192 * 1024 * 1024;
/// Of ordinary traffic after everybody's return: an allocator gives back what is free only while it is at work.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// What was seen on the way.
struct Course {
    latency_without: Times,
    latency_with: Times,
    resident_before: u64,
    resident_joined: u64,
    resident_max: u64,
    resident_max_at_return: u64,
    resident_after: u64,
    endings: BTreeMap<String, u64>,
    healthy: Verdict,
}

pub(crate) async fn run(common: &Common, stalled: &StalledFlags, peer: Peer) -> Result<Outcome> {
    let (plan, own) = stalled.plan(common);
    // Room 0 has the stalled ones too; they come last, so that two ranges name all.
    let mut room_of = dealt(plan.clients, plan.rooms);
    room_of.extend((0..own.stalled).map(|_| Room(0)));
    let stage = Stage::set(&plan, peer, room_of).await?;
    let course = course(&stage, &plan, &own, peer).await?;
    Ok(judged(&stage, &plan, &own, &course))
}

async fn course(stage: &Stage, plan: &Plan, own: &StalledPlan, peer: Peer) -> Result<Course> {
    let fleet = &stage.fleet;
    let (healthy, stalling) = (0..plan.clients, plan.clients..plan.clients + own.stalled);
    fleet.join(healthy.clone(), Options::default()).await?;
    report::complain(&format!("stalled on {}: {} healthy readers are here", peer.name(), plan.clients));
    fleet.greet(healthy.clone(), plan.text_bytes);
    both_rooms(stage, plan, own, own.before).await;
    fleet.drain(healthy.clone()).await;
    let latency_without = fleet.world.new_latency();
    let pid = stage.server.pid();
    let resident_before = pid.resident_bytes();

    fleet.join(stalling.clone(), Options { narrow: true }).await?;
    fleet.order(stalling.clone(), || Order::Stall);
    sleep(Duration::from_secs(1)).await;
    report::complain(&format!("stalled on {}: {} readers have stalled", peer.name(), own.stalled));
    let resident_joined = pid.resident_bytes();
    fleet.world.new_latency();
    both_rooms(stage, plan, own, plan.time).await;
    fleet.drain(healthy.clone()).await;
    let latency_with = fleet.world.new_latency();
    let healthy_verdict = fleet.world.ledger.borrow().verdict(healthy);
    let resident_max = pid.resident_bytes_max();

    fleet.order(stalling, || Order::Wake);
    fleet.drain(fleet.everyone()).await;
    let endings = fleet.world.tally.borrow().endings.clone();
    let resident_max_at_return = pid.resident_bytes_max();
    both_rooms(stage, plan, own, AFTERWARDS).await;
    fleet.drain(fleet.everyone()).await;
    let resident_after = pid.resident_bytes();
    Ok(Course {
        latency_without,
        latency_with,
        resident_before,
        resident_joined,
        resident_max,
        resident_max_at_return,
        resident_after,
        endings,
        healthy: healthy_verdict,
    })
}

/// A steady rate into the stalled readers' room, and another into the rest.
async fn both_rooms(stage: &Stage, plan: &Plan, own: &StalledPlan, time: Duration) {
    let in_first = plan.clients.div_ceil(plan.rooms);
    let first = Load { rate_per_sec: own.rate, speakers: 0..in_first, text_bytes: own.text_bytes };
    let others =
        Load { rate_per_sec: plan.rate, speakers: in_first..plan.clients, text_bytes: plan.text_bytes };
    if others.speakers.is_empty() {
        return stage.fleet.publish(&first, time).await;
    }
    tokio::join!(stage.fleet.publish(&first, time), stage.fleet.publish(&others, time));
}

fn judged(stage: &Stage, plan: &Plan, own: &StalledPlan, course: &Course) -> Outcome {
    let world = &stage.fleet.world;
    let everyone = world.ledger.borrow().everyone();
    let stalled = world.ledger.borrow().verdict(plan.clients..everyone.end);
    let online = world.online(everyone.clone());
    let bound = course.resident_before + u64::from(own.stalled) * BYTES_PER_STALLED + BYTES_FOR_THE_REST;
    let slow = course.endings.get("closed 4008").copied().unwrap_or_default();
    let ended: u64 = course.endings.values().sum();
    let (cut, open) = (ended.saturating_sub(slow), u64::from(own.stalled).saturating_sub(ended));
    let (without, with) = (&course.latency_without, &course.latency_with);
    let ratio = |quantile| with.us(quantile) as f64 / without.us(quantile).max(1) as f64;
    let storage = world.ledger.borrow().storage();
    let figures = json!({
        "residentBytes": {
            "before": course.resident_before, "stalledJoined": course.resident_joined, "highest": course.resident_max,
            "highestAtReturn": course.resident_max_at_return, "after": course.resident_after, "bound": bound,
        },
        "latencyMsWithout": times_json(without),
        "latencyMsWith": times_json(with),
        "ratioP50": ratio(0.5),
        "ratioP99": ratio(0.99),
        "stalledReaders": {"closed4008": slow, "cut": cut, "stillOpen": open},
        "healthyPairs": {
            "owed": course.healthy.owed, "lost": course.healthy.lost, "duplicate": course.healthy.duplicate,
        },
        "stalledPairs": {"owed": stalled.owed, "lost": stalled.lost, "duplicate": stalled.duplicate},
    });
    let all = world.ledger.borrow().verdict(everyone.clone());
    let cells = vec![
        ("stalled", own.stalled.to_string()),
        ("RSS before MiB", mib(course.resident_before)),
        ("highest", mib(course.resident_max)),
        ("bound", mib(bound)),
        ("at their return", mib(course.resident_max_at_return)),
        ("after", mib(course.resident_after)),
        ("closed 4008", slow.to_string()),
        ("cut", cut.to_string()),
        ("still open", open.to_string()),
        ("healthy p50 ms without / with", format!("{} / {}", ms(without.ms(0.5)), ms(with.ms(0.5)))),
        ("p99", format!("{} / {}", ms(without.ms(0.99)), ms(with.ms(0.99)))),
        ("healthy lost", course.healthy.lost.to_string()),
        ("stalled lost", stalled.lost.to_string()),
        ("duplicate", all.duplicate.to_string()),
    ];
    let faults = all.out_of_order + all.foreign + storage.misnumbered;
    let targets = vec![
        Target::count(
            "memory within its bound, while they stall and at their return",
            course.resident_max_at_return <= bound,
        ),
        Target::count("healthy readers lost nothing", course.healthy.lost == 0),
        Target::count("stalled readers lost nothing after their return", stalled.lost == 0),
        Target::count("none twice", all.duplicate == 0 && storage.stored_twice == 0),
        Target::count("none out of order, foreign or misnumbered", faults == 0),
        Target::count("all acknowledged", storage.acked == storage.sent),
        Target::count("all back", online == everyone.len()),
    ];
    stage.outcome("stalled", &figures, cells, targets)
}
