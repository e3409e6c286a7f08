//! `all`: every scenario on a fresh server of every kind, interleaved, so that a noisy minute hits all alike.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::Campaign;
use crate::dialect::Dialect;
use crate::machine::Floor;
use crate::provider::Provider;
use crate::report::{self, Record, Report};
use crate::scenario::{Outcome, Scenario, raise_descriptor_limit};
use crate::server::{Launch, Server};
use weeziq_rig::{Failure, Program, Result};

impl Campaign {
    pub(crate) fn run(&self) -> Result<Report> {
        raise_descriptor_limit(self.scenarios.iter().map(Scenario::descriptors).max().unwrap_or(0))?;
        let data_root = self
            .data_root
            .canonicalize()
            .map_err(|error| Failure::Usage(format!("--data-root {}: {error}", self.data_root.display())))?;
        let mut report = Report::new();
        let launches = self.launches(&mut report)?;
        if is_in_memory(&data_root) {
            report.note(
                "the data lies in memory (tmpfs): DURABILITY=full costs nothing there; use --data-root",
            );
        }
        report.floor(Floor::measure()?);
        for round in 1..=self.rounds {
            for scenario in &self.scenarios {
                for launch in launches.iter().filter(|launch| launch.can(scenario)) {
                    report::complain(&format!("round {round}: {} on {}", scenario.name, launch.name));
                    let result = measure(scenario, launch, &data_root, &mut report);
                    report.add(Record::of(scenario, &launch.name, round, result));
                }
            }
        }
        Ok(report)
    }

    fn launches(&self, report: &mut Report) -> Result<Vec<Launch>> {
        let mut launches = Vec::new();
        if let Some(server) = &self.server {
            report.version("weeziq", &version(server));
            let program = server
                .canonicalize()
                .map_err(|error| Failure::Usage(format!("--server {}: {error}", server.display())))?;
            for durability in DURABILITIES {
                launches.push(Launch {
                    name: format!("{OURS}{durability}"),
                    program: Program {
                        path: program.clone(),
                        arguments: Vec::new(),
                        environment: vec![("DURABILITY", durability.into())],
                    },
                    dialect: Dialect::Plain,
                });
            }
        }
        if let Some(folder) = &self.peers {
            for peer in PEERS {
                match peer.launch(folder) {
                    Ok(launch) => launches.push(launch),
                    Err(why) => report.note(&format!("{} was left out: {why}", peer.name)),
                }
            }
        }
        if launches.is_empty() {
            Err(Failure::Usage("there is nothing to measure".into()))
        } else {
            Ok(launches)
        }
    }
}

/// A fresh server, one run, and its end.
fn measure(scenario: &Scenario, launch: &Launch, data_root: &Path, report: &mut Report) -> Result<Outcome> {
    let place = format!("{} on {}", scenario.name, launch.name);
    let mut provider = if scenario.load.needs_provider() { Some(Provider::open(0)?) } else { None };
    let server = Server::start(&launch.adapted(scenario, provider.as_ref()), data_root)
        .map_err(|failure| failure.at(&place))?;
    report.readiness(&launch.name, &server.readiness);
    let outcome = scenario.run(&server.target(), Some(server.pid()), provider.as_mut());
    if let Err(failure) = server.stop() {
        report.note(&failure.at(&place).to_string());
    }
    outcome.map_err(|failure| failure.at(&place))
}

impl Launch {
    fn can(&self, scenario: &Scenario) -> bool {
        self.name.starts_with(OURS) || !scenario.load.is_ours_alone()
    }

    /// With the settings that a scenario takes.
    fn adapted(&self, scenario: &Scenario, provider: Option<&Provider>) -> Self {
        let mut launch = self.clone();
        if !scenario.load.keeps_limits() {
            let off = ["EVENTS_PER_SEC", "AI_PER_USER_PER_MIN", "AI_PER_IP_PER_MIN"];
            launch.program.environment.extend(off.map(|limit| (limit, "0".into())));
        }
        launch.program.environment.extend(provider.map(|provider| ("OPENAI_BASE_URL", provider.base_url())));
        launch
    }
}

const OURS: &str = "weeziq ";
const DURABILITIES: [&str; 2] = ["normal", "full"];

/// What it says of itself.
fn version(program: &Path) -> String {
    let said =
        Command::new(program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}

/// Another server in the same run.
struct Peer {
    name: &'static str,
    script: &'static str,
    /// In the folder of the peers; else on the path.
    program: &'static str,
    dialect: Dialect,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "socket.io (node)",
        script: "socketio-bench.mjs",
        program: "node",
        dialect: Dialect::SocketIo,
    },
    Peer { name: "ws (node)", script: "ws.mjs", program: "node", dialect: Dialect::Plain },
    Peer { name: "bun", script: "bun.mjs", program: "node_modules/.bin/bun", dialect: Dialect::Plain },
];

impl Peer {
    /// The peer, if it is there.
    fn launch(&self, folder: &Path) -> std::result::Result<Launch, String> {
        let script = folder.join(self.script);
        let script = script.canonicalize().map_err(|error| format!("{}: {error}", script.display()))?;
        if !folder.join("node_modules").is_dir() {
            return Err(format!("{0}/node_modules is missing; run: npm ci --prefix {0}", folder.display()));
        }
        let own = folder.join(self.program).canonicalize();
        let program = own.unwrap_or_else(|_| PathBuf::from(self.program));
        match Command::new(&program).arg("--version").output() {
            Ok(output) if output.status.success() => Ok(Launch {
                name: self.name.into(),
                program: Program {
                    path: program,
                    arguments: vec![script.into_os_string()],
                    environment: Vec::new(),
                },
                dialect: self.dialect,
            }),
            _ => Err(format!("{} does not run", program.display())),
        }
    }
}

fn is_in_memory(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_folder = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (mount, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(mount).then_some((mount.len(), kind))
    });
    of_folder.max_by_key(|(length, _)| *length).is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}
