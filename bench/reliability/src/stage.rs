//! What every rig needs: a fresh server, clients, a sample each second, and the books at the end.

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::Plan;
use crate::dialect::Peer;
use crate::fleet::{Fleet, Load};
use crate::machine::{self, Usage};
use crate::mark::Room;
use crate::process::Pid;
use crate::report::{Cell as TableCell, Outcome, Target};
use crate::server::Server;
use crate::world::{Times, World};
use weeziq_rig::Result;

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) fleet: Fleet,
    peer: Peer,
    parameters: Value,
    watched: Rc<Watched>,
    load_at_start: f64,
    usage: Usage,
    own_ticks: u64,
}

struct Watched {
    pid: Cell<Pid>,
    samples: RefCell<Vec<Sample>>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    online: usize,
    published: u64,
    acks: u64,
    handed_over: u64,
    resident_bytes: u64,
}

impl Stage {
    /// The server runs; nobody has joined.
    pub(crate) async fn set(plan: &Plan, peer: Peer, room_of: Vec<Room>) -> Result<Self> {
        machine::raise_descriptors(room_of.len() as u32)?;
        let server = Server::start(plan.program(peer)?, &plan.data_root).await?;
        let load_at_start = machine::load();
        let fleet = Fleet::new(peer, server.port, plan.seed, room_of);
        let watched = Rc::new(Watched { pid: Cell::new(server.pid()), samples: RefCell::default() });
        tokio::task::spawn_local(watch(watched.clone(), fleet.world.clone()));
        Ok(Self {
            fleet,
            peer,
            parameters: plan.to_json(),
            watched,
            load_at_start,
            usage: Usage::now(),
            own_ticks: Pid::own().cpu_ticks(),
            server,
        })
    }

    /// After a restart, or the series goes on about a process that is no more.
    pub(crate) fn watch_server(&self) {
        self.watched.pid.set(self.server.pid());
    }

    /// Closes the books: all that is counted the same way in each rig, and the rig's own figures.
    pub(crate) fn outcome(
        &self,
        rig: &'static str,
        figures: &Value,
        cells: Vec<TableCell>,
        targets: Vec<Target>,
    ) -> Outcome {
        let ours = Pid::own().cpu_ticks() - self.own_ticks + self.server.pid().cpu_ticks();
        let (others, stolen) = Usage::now().disturbance_since(self.usage, ours);
        let ledger = self.fleet.world.ledger.borrow();
        let (verdict, storage) = (ledger.verdict(ledger.everyone()), ledger.storage());
        let tally = self.fleet.world.tally.borrow();
        Outcome {
            rig,
            peer: self.peer,
            verdict,
            cells,
            json: json!({
                "rig": rig,
                "peer": self.peer.name(),
                "parameters": self.parameters,
                "pairs": {
                    "owed": verdict.owed, "delivered": verdict.delivered, "lost": verdict.lost,
                    "duplicate": verdict.duplicate, "outOfOrder": verdict.out_of_order, "foreign": verdict.foreign,
                },
                "messages": {
                    "sent": storage.sent, "acked": storage.acked, "unacked": storage.sent - storage.acked,
                    "repeated": storage.repeated, "storedTwice": storage.stored_twice, "misnumbered": storage.misnumbered,
                    "duplicateAcks": tally.duplicate_acks,
                },
                "connections": {
                    "cuts": tally.cuts, "returns": tally.returns, "resumed": tally.resumed, "afresh": tally.afresh,
                    "replays": tally.replays, "replayedMessages": tally.replayed_messages,
                    "failedOpens": tally.failed_opens, "closesThatNamedATime": tally.hints,
                    "endings": tally.endings, "refused": tally.refused,
                },
                "replayMs": times_json(&tally.replay_us),
                "figures": figures,
                "targets": targets.iter().map(Target::to_json).collect::<Vec<_>>(),
                "disturbance": {
                    "loadAverageAtStart": self.load_at_start, "loadAverageAtEnd": machine::load(),
                    "othersCpuPercent": others, "stolenPercent": stolen,
                },
                "serverComplaints": self.server.complaints(),
                "perSecond": self.series(),
            }),
            targets,
            disturbed: others > 10.0 || stolen > 5.0,
        }
    }

    fn series(&self) -> Value {
        let samples = self.watched.samples.borrow();
        let of = |value: &dyn Fn(&Sample) -> u64| samples.iter().map(value).collect::<Vec<u64>>();
        let rate = |value: &dyn Fn(&Sample) -> u64| {
            let totals = of(value);
            totals
                .iter()
                .zip(std::iter::once(&0).chain(&totals))
                .map(|(now, before)| now - before)
                .collect::<Vec<_>>()
        };
        json!({
            "atMs": of(&|sample| sample.at.duration_since(self.fleet.world.began).as_millis() as u64),
            "online": of(&|sample| sample.online as u64),
            "published": rate(&|sample| sample.published),
            "acks": rate(&|sample| sample.acks),
            "delivered": rate(&|sample| sample.handed_over),
            "serverResidentBytes": of(&|sample| sample.resident_bytes),
        })
    }
}

pub(crate) fn times_json(times: &Times) -> Value {
    json!({
        "count": times.count(), "p50": times.ms(0.5), "p90": times.ms(0.9), "p95": times.ms(0.95),
        "p99": times.ms(0.99), "p999": times.ms(0.999), "max": times.max_ms(),
    })
}

pub(crate) fn load(plan: &Plan, clients: u32) -> Load {
    Load { rate_per_sec: plan.rate, speakers: 0..clients, text_bytes: plan.text_bytes }
}

async fn watch(watched: Rc<Watched>, world: Rc<World>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let everyone = world.ledger.borrow().everyone();
        let tally = world.tally.borrow();
        watched.samples.borrow_mut().push(Sample {
            at: Instant::now(),
            online: world.online(everyone),
            published: tally.published,
            acks: tally.acks,
            handed_over: tally.handed_over,
            resident_bytes: watched.pid.get().resident_bytes(),
        });
    }
}
