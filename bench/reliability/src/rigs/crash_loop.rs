//! kill -9 under load, again and again: whatever was acknowledged must be there once, and at everybody.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::audit::{self, Findings};
use crate::cli::{Common, CrashFlags};
use crate::dialect::Peer;
use crate::fleet::dealt;
use crate::mark::Room;
use crate::report::{self, Outcome, Target};
use crate::socket::Options;
use crate::stage::{Stage, load, times_json};
use weeziq_rig::Result;

/// Uptime before a kill: from the middle of everybody's return to well after it.
const UPTIME_MS: std::ops::Range<u64> = 200..2_500;
const EDGE: Duration = Duration::from_secs(2);
const BACK_MAX: Duration = Duration::from_secs(40);

pub(crate) async fn run(common: &Common, crash: &CrashFlags, peer: Peer) -> Result<Outcome> {
    let (plan, kills) = crash.plan(common);
    let mut stage = Stage::set(&plan, peer, dealt(plan.clients, plan.rooms)).await?;
    stage.fleet.join(stage.fleet.everyone(), Options::default()).await?;
    report::complain(&format!("crash-loop on {}: {} clients are here", peer.name(), plan.clients));

    stage.fleet.greet(stage.fleet.everyone(), plan.text_bytes);
    let load = load(&plan, plan.clients);
    stage.fleet.publish(&load, plan.time).await;
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let (mut done, mut uptimes, mut online_at_kill) = (0, Vec::new(), Vec::new());
    for _ in 0..kills {
        let uptime = random.u64(UPTIME_MS);
        let Stage { fleet, server, .. } = &mut stage;
        fleet
            .publish_during(&load, async {
                sleep(Duration::from_millis(uptime)).await;
                online_at_kill.push(fleet.world.online(fleet.everyone()));
                server.kill()?;
                server.restart().await
            })
            .await?;
        stage.watch_server();
        uptimes.push(uptime);
        done += 1;
    }
    let fleet = &stage.fleet;
    let all_back = fleet.publish_during(&load, fleet.all_here(fleet.everyone(), BACK_MAX)).await;
    fleet.publish(&load, EDGE).await;
    fleet.drain(fleet.everyone()).await;
    let findings = audited(&stage, peer, plan.rooms).await?;

    let ledger = fleet.world.ledger.borrow();
    let (verdict, storage) = (ledger.verdict(ledger.everyone()), ledger.storage());
    let shown =
        |count: fn(&Findings) -> u64| findings.as_ref().map_or("–".to_owned(), |f| count(f).to_string());
    let figures = json!({
        "kills": done,
        "uptimesMs": uptimes,
        "onlineAtKill": online_at_kill,
        "history": findings.map(|f| json!({
            "rooms": f.rooms, "rows": f.rows, "ackedLost": f.acked_lost, "rowsTwice": f.rows_twice, "gaps": f.gaps,
            "foreign": f.foreign,
        })),
        "latencyMs": times_json(&fleet.world.tally.borrow().latency_us),
    });
    let cells = vec![
        ("kills", done.to_string()),
        ("clients", plan.clients.to_string()),
        ("acked", storage.acked.to_string()),
        ("acked, not in the history", shown(|f| f.acked_lost)),
        ("rows twice", shown(|f| f.rows_twice)),
        ("seq gaps", shown(|f| f.gaps)),
        ("pairs owed", verdict.owed.to_string()),
        ("lost", verdict.lost.to_string()),
        ("duplicate", verdict.duplicate.to_string()),
        ("out of order", verdict.out_of_order.to_string()),
    ];
    let whole = findings.is_some_and(|f| f.rows_twice + f.gaps + f.foreign == 0);
    let faults = verdict.out_of_order + verdict.foreign + storage.misnumbered;
    let targets = vec![
        Target::count("as many kills as asked for", done == kills),
        Target::count(
            "nothing acknowledged is missing in the history",
            findings.is_some_and(|f| f.acked_lost == 0),
        ),
        Target::count(
            "the history is gapless, and no message is in it twice",
            whole && storage.stored_twice == 0,
        ),
        Target::count("none lost at any subscriber", verdict.lost == 0),
        Target::count("none twice at any subscriber", verdict.duplicate == 0),
        Target::count("none out of order, foreign or misnumbered", faults == 0),
        Target::count("all acknowledged", storage.acked == storage.sent),
        Target::count("all back", all_back),
    ];
    drop(ledger);
    Ok(stage.outcome("crash-loop", &figures, cells, targets))
}

/// None where nothing is stored.
async fn audited(stage: &Stage, peer: Peer, rooms: u32) -> Result<Option<Findings>> {
    if peer != Peer::Weeziq {
        return Ok(None);
    }
    let mut findings = Findings::default();
    for room in (0..rooms).map(Room) {
        let rows = audit::read(stage.server.port, room).await?;
        findings = findings.plus(audit::check(&stage.fleet.world.ledger.borrow(), room, &rows));
    }
    Ok(Some(findings))
}
