//! Mobile clients: every connection is cut again and again, without a goodbye, while messages flow.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::cli::{Common, JitterFlags};
use crate::dialect::Peer;
use crate::fleet::dealt;
use crate::report::{self, Outcome, Target, ms};
use crate::socket::Options;
use crate::stage::{Stage, load, times_json};
use crate::world::Cutting;
use weeziq_rig::Result;

const RETURN_MAX: Duration = Duration::from_secs(30);
/// Messages before the first cut and after the last return, so that both edges are under load.
const EDGE: Duration = Duration::from_secs(2);

pub(crate) async fn run(common: &Common, jitter: &JitterFlags, peer: Peer) -> Result<Outcome> {
    let (plan, every, away) = jitter.plan(common);
    let stage = Stage::set(&plan, peer, dealt(plan.clients, plan.rooms)).await?;
    let fleet = &stage.fleet;
    fleet.join(fleet.everyone(), Options::default()).await?;
    report::complain(&format!("jitter on {}: {} clients are here", peer.name(), plan.clients));

    fleet.greet(fleet.everyone(), plan.text_bytes);
    let load = load(&plan, plan.clients);
    let all_back = fleet
        .publish_during(&load, async {
            sleep(EDGE).await;
            fleet.world.cutting.set(Some(Cutting { every, away }));
            sleep(plan.time).await;
            fleet.world.cutting.set(None);
            let all_back = fleet.all_here(fleet.everyone(), RETURN_MAX).await;
            sleep(EDGE).await;
            all_back
        })
        .await;
    fleet.drain(fleet.everyone()).await;
    let drained = Instant::now();

    let online = fleet.world.online(fleet.everyone());
    let ledger = fleet.world.ledger.borrow();
    let (verdict, storage) = (ledger.verdict(ledger.everyone()), ledger.storage());
    let tally = fleet.world.tally.borrow();
    let figures = json!({
        "online": online,
        "latencyMs": times_json(&tally.latency_us),
        "elapsedMs": drained.duration_since(fleet.world.began).as_millis() as u64,
    });
    let replay = &tally.replay_us;
    let cells = vec![
        ("clients", plan.clients.to_string()),
        ("cuts", tally.cuts.to_string()),
        ("returned", tally.returns.to_string()),
        ("resumed", tally.resumed.to_string()),
        ("pairs owed", verdict.owed.to_string()),
        ("lost", verdict.lost.to_string()),
        ("duplicate", verdict.duplicate.to_string()),
        ("out of order", verdict.out_of_order.to_string()),
        ("replay p50 ms", ms(replay.ms(0.5))),
        ("p95", ms(replay.ms(0.95))),
        ("p99", ms(replay.ms(0.99))),
        ("max", ms(replay.max_ms())),
    ];
    let targets = vec![
        Target::count("none lost", verdict.lost == 0),
        Target::count("none twice", verdict.duplicate == 0 && storage.stored_twice == 0),
        Target::count(
            "none out of order, foreign or misnumbered",
            verdict.out_of_order + verdict.foreign + storage.misnumbered == 0,
        ),
        Target::count("all acknowledged", storage.acked == storage.sent),
        Target::count("all back", all_back && online == plan.clients as usize),
        Target::time("replay p99 under 1 s", replay.ms(0.99) < 1_000.0),
    ];
    Ok(stage.outcome("jitter", &figures, cells, targets))
}
