//! A deploy: the server stops under load and starts again, and all clients come back at once.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::cli::{Common, Plan, StormFlags};
use crate::dialect::Peer;
use crate::fleet::{Load, dealt};
use crate::report::{self, Outcome, Target, ms};
use crate::socket::Options;
use crate::stage::{Stage, load, times_json};
use crate::world::Times;
use weeziq_rig::Result;

const BACK_MAX: Duration = Duration::from_secs(40);
/// Messages after the last return.
const EDGE: Duration = Duration::from_secs(2);

/// One stop and start.
struct Round {
    /// From the signal to the end of the process.
    stopping: Duration,
    /// From the new process to its first answer.
    starting: Duration,
    /// From that answer until each client was a member with all that it had missed.
    back: Vec<Duration>,
}

pub(crate) async fn run(common: &Common, storm: &StormFlags, peer: Peer, kill: bool) -> Result<Outcome> {
    let (plan, rounds, down) = storm.plan(common, kill);
    let mut stage = Stage::set(&plan, peer, dealt(plan.clients, plan.rooms)).await?;
    stage.fleet.join(stage.fleet.everyone(), Options::default()).await?;
    report::complain(&format!("storm on {}: {} clients are here", peer.name(), plan.clients));

    stage.fleet.greet(stage.fleet.everyone(), plan.text_bytes);
    let load = load(&plan, plan.clients);
    let mut done = Vec::new();
    for _ in 0..rounds {
        stage.fleet.publish(&load, plan.time).await;
        done.push(round(&mut stage, &load, kill, down).await?);
    }
    stage.fleet.publish(&load, EDGE).await;
    stage.fleet.drain(stage.fleet.everyone()).await;
    Ok(judged(&stage, &plan, kill, &done))
}

async fn round(stage: &mut Stage, load: &Load, kill: bool, down: Duration) -> Result<Round> {
    let Stage { fleet, server, .. } = &mut *stage;
    let signalled = Instant::now();
    // Messages stay due while nobody takes them.
    let outage = fleet.publish_during(load, async {
        if kill {
            server.kill()?;
        } else {
            server.terminate().await?;
        }
        let stopping = signalled.elapsed();
        sleep(down).await;
        // Whoever is back from here on is back on the new one.
        fleet.world.forget_returns();
        Ok::<_, weeziq_rig::Failure>((stopping, server.restart().await?))
    });
    let (stopping, start) = outage.await?;
    stage.watch_server();
    stage.fleet.publish_during(load, all_returned(stage, start.ready + BACK_MAX)).await;
    let returns = stage.fleet.world.returns();
    let back = returns.into_iter().flatten().map(|at| at.saturating_duration_since(start.ready)).collect();
    Ok(Round { stopping, starting: start.ready.duration_since(start.spawned), back })
}

async fn all_returned(stage: &Stage, deadline: Instant) {
    while stage.fleet.world.returns().iter().any(Option::is_none) && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
}

fn judged(stage: &Stage, plan: &Plan, kill: bool, rounds: &[Round]) -> Outcome {
    let world = &stage.fleet.world;
    let mut back = Times::default();
    rounds.iter().flat_map(|round| &round.back).for_each(|time| back.record(*time));
    let returned: usize = rounds.iter().map(|round| round.back.len()).sum();
    let percent_back = returned as f64 * 100.0 / (rounds.len() * plan.clients as usize) as f64;
    let each = rounds.iter().map(|round| {
        let mut times = Times::default();
        round.back.iter().for_each(|time| times.record(*time));
        json!({
            "stoppingMs": round.stopping.as_millis() as u64, "startingMs": round.starting.as_millis() as u64,
            "returned": round.back.len(), "backMs": times_json(&times),
        })
    });
    let figures = json!({
        "percentBack": percent_back,
        "backMs": times_json(&back),
        "rounds": each.collect::<Vec<_>>(),
        "latencyMs": times_json(&world.tally.borrow().latency_us),
    });
    let ledger = world.ledger.borrow();
    let (verdict, storage) = (ledger.verdict(ledger.everyone()), ledger.storage());
    let cells = vec![
        ("signal", if kill { "KILL" } else { "TERM" }.to_owned()),
        ("rounds", rounds.len().to_string()),
        ("clients", plan.clients.to_string()),
        ("back %", format!("{:.4}", percent_back).trim_end_matches('0').trim_end_matches('.').to_owned()),
        ("p50 ms", ms(back.ms(0.5))),
        ("p95", ms(back.ms(0.95))),
        ("max", ms(back.max_ms())),
        ("pairs owed", verdict.owed.to_string()),
        ("lost", verdict.lost.to_string()),
        ("duplicate", verdict.duplicate.to_string()),
        ("out of order", verdict.out_of_order.to_string()),
    ];
    let faults = verdict.out_of_order + verdict.foreign + storage.misnumbered;
    let targets = vec![
        Target::count("all back", returned == rounds.len() * plan.clients as usize),
        Target::count("none lost", verdict.lost == 0),
        Target::count("none twice", verdict.duplicate == 0 && storage.stored_twice == 0),
        Target::count("none out of order, foreign or misnumbered", faults == 0),
        Target::count("all acknowledged", storage.acked == storage.sent),
        Target::time("p95 under 5 s", back.ms(0.95) < 5_000.0),
    ];
    stage.outcome(if kill { "storm (kill -9)" } else { "storm" }, &figures, cells, targets)
}
