//! `cargo xtask …`: the one automation entry. It installs what it needs, says what it does, and says what it skips
//! and why.

mod bench;
mod fuzz;
mod micro;
mod operations;
mod tools;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
cargo xtask test [--rust]   everything: format, lints, Rust tests, licences, types, conformance, browser
                            (--rust: only what needs no Node)
cargo xtask bench [ARGS]    the load benchmark against release builds and peers, recorded in docs/ if whole; ARGS as
                            `weeziq-bench help` says
cargo xtask bench recall [--sample N --seed N]
                            how often a site's documents are found, on public questions; recorded in docs/ if whole
cargo xtask worker [--features F] [--out DIR]
                            the Cloudflare host into crates/worker/build, with all that its build takes
cargo xtask fuzz [--seconds 60] [--target NAME] [--keep]
                            the fuzz targets; --keep puts what they found into fuzz/corpus
cargo xtask micro [gate | record | profile OPERATION | CRITERION'S]
                            how long the parts of a path take (criterion, quickly); or their instructions, counted
                            under valgrind and held against the budget in bench/micro, or recorded there anew
cargo xtask operations      image, units, alerts, metrics, docs/operations.md and the HTTP description, with the newest binary
cargo xtask dev             the service from a debug build, restarted by hand";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut work = Work::new();
    match args.as_slice() {
        ["test"] => {
            rust(&mut work);
            whole(&mut work);
        }
        ["test", "--rust"] => rust(&mut work),
        ["bench", "recall", rest @ ..] => bench::recall(&mut work, rest),
        ["bench", rest @ ..] => bench::steps(&mut work, rest),
        ["micro", rest @ ..] => micro::steps(&mut work, rest),
        ["fuzz", rest @ ..] => match fuzz::Run::parse(rest) {
            Ok(run) => run.steps(&mut work),
            Err(why) => work.fail("fuzzing", &why),
        },
        ["operations"] => operations::steps(&mut work),
        ["worker", rest @ ..] => {
            work.part("worker build", || worker::Build::parse(rest)?.run());
        }
        ["dev", rest @ ..] => {
            work.step("weeziq", cargo(&[&["run", "-p", "weeziq-server", "--"], rest].concat()))
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    work.conclude()
}

fn rust(work: &mut Work) {
    work.step("format", cargo(&["fmt", "--all", "--check"]));
    work.step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]));
    work.step("Rust tests", cargo(&["test", "--workspace", "--quiet"]));
    match tools::cargo_deny() {
        Ok(deny) => licences(work, &deny),
        Err(why) => work.skip("licences and advisories", &why),
    }
}

fn licences(work: &mut Work, deny: &Path) {
    let check = |what: &[&str]| {
        let mut command = Command::new(deny);
        command.args(["--log-level", "error", "check", "--hide-inclusion-graph"]).args(what);
        command
    };
    work.step("licences, bans, sources", check(&["licenses", "bans", "sources"]));
    if tools::advisories_reachable(deny) {
        work.step("advisories", check(&["advisories"]));
    } else {
        work.skip("advisories", "the RustSec database cannot be reached from here");
    }
}

/// What is judged from outside, on the binary that ships.
fn whole(work: &mut Work) {
    work.step("release build", cargo(&[&["build", "--release", "--quiet"], &RELEASED[..]].concat()));
    work.step("simulation: 2,000 seeds", released("weeziq-simulation", &["--seeds", "2000"]));
    work.suite("the rigs see planted faults", released("weeziq-reliability", &["--self-test"]));
    work.suite(
        "rigs: jitter, storm, crash loop, stalled readers",
        released("weeziq-reliability", &["all", "--quick"]),
    );
    micro::gate(work);
    fuzz::Run::of_all(FUZZ_SECONDS).steps(work);
    if let Err(why) = tools::node() {
        return work.fail("Node", &why);
    }
    operations::steps(work);
    work.step("npm packages", npm(&NPM_INSTALL, "."));
    work.step("types of the pages", npm(&["run", "--silent", "types"], "."));
    work.step("npm packages of the conformance suite", npm(&NPM_INSTALL, "conformance"));
    work.suite("the suite's own mocks", npm(&["run", "--silent", "test:mocks"], "conformance"));
    let mut native = npm(&["test", "--silent"], "conformance");
    match tools::s3_server() {
        Ok(server) => {
            native.env("S3_SERVER", server);
        }
        Err(why) => work.skip("files in a bucket", &why),
    }
    work.suite("conformance: native", native);
    cloudflare(work);
    let chromium = tools::chromium();
    client(work, chromium.as_deref().ok());
    react(work);
    drop_in_files(work);
    example(work, chromium.as_deref().ok());
    match chromium {
        Ok(chromium) => {
            // How a page looks, and how much it takes, does not depend on who serves it.
            for (host, tests) in [("native", "test:browser"), ("cloudflare", "test:browser:hosts")] {
                let mut browser = npm(&["run", "--silent", tests], ".");
                browser.env("CHROMIUM", &chromium).env("HOST_UNDER_TEST", host);
                work.suite(&format!("pages in Chromium: {host}"), browser);
            }
        }
        Err(why) => work.skip("pages in Chromium", &why),
    }
    work.suite("the load generator sees planted faults", released("weeziq-bench", &["self-test"]));
}

/// What is run as it ships, or has to be fast.
const RELEASED: [&str; 8] =
    ["-p", "weeziq-server", "-p", "weeziq-bench", "-p", "weeziq-reliability", "-p", "weeziq-simulation"];

/// Of each target.
const FUZZ_SECONDS: u32 = 60;

fn released(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(root().join("target/release").join(name));
    command.args(args).current_dir(root());
    command
}

const NPM_INSTALL: [&str; 4] = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];

/// The package for npm: its own tests, then through cut connections on both hosts.
fn client(work: &mut Work, chromium: Option<&Path>) {
    let folder = "clients/js";
    work.step("npm packages of the client", npm(&NPM_INSTALL, folder));
    match chromium {
        Some(chromium) => {
            let mut test = npm(&["test", "--silent"], folder);
            test.env("CHROMIUM", chromium);
            work.suite("@weeziq/client: native", test);
        }
        None => work.skip("@weeziq/client: native", "its tests in a browser need Chromium"),
    }
    let mut hosts = npm(&["run", "--silent", "test:hosts"], folder);
    hosts.env("HOST_UNDER_TEST", "cloudflare");
    work.suite("@weeziq/client: Cloudflare", hosts);
}

/// The hooks, with React 19 and 18; what speaks to a host again on the other one.
fn react(work: &mut Work) {
    let folder = "clients/react";
    work.step("npm packages of the hooks", npm(&NPM_INSTALL, folder));
    work.suite("@weeziq/react: native", npm(&["test", "--silent"], folder));
    let mut hosts = npm(&["run", "--silent", "test:hosts"], folder);
    hosts.env("HOST_UNDER_TEST", "cloudflare");
    work.suite("@weeziq/react: Cloudflare", hosts);
}

/// What existing applications copy, over both of its transports.
fn drop_in_files(work: &mut Work) {
    let folder = "clients/nextjs";
    work.step("npm packages of the drop-in files", npm(&NPM_INSTALL, folder));
    work.suite("drop-in files: native", npm(&["test", "--silent"], folder));
    let mut hosts = npm(&["run", "--silent", "test:hosts"], folder);
    hosts.env("HOST_UNDER_TEST", "cloudflare");
    work.suite("drop-in files: Cloudflare", hosts);
}

/// The application, built once and shown by either host. It takes the clients as they were built above.
fn example(work: &mut Work, chromium: Option<&Path>) {
    let folder = "examples/nextjs";
    work.step("npm packages of the example", npm(&NPM_INSTALL, folder));
    work.step("the example builds", npm(&["run", "--silent", "build"], folder));
    let Some(chromium) = chromium else {
        return work.skip("the example in a browser", "it needs Chromium");
    };
    for host in ["native", "cloudflare"] {
        let mut test = npm(&["test", "--silent"], folder);
        test.env("CHROMIUM", chromium).env("HOST_UNDER_TEST", host);
        work.suite(&format!("the example in Chromium: {host}"), test);
    }
}

/// The same suite over the Worker, as the pinned wrangler runs it.
fn cloudflare(work: &mut Work) {
    work.part("worker build", || worker::Build::parse(&[])?.run());
    work.part("worker build that can be made to panic", || {
        worker::Build::parse(&["--features", "panic-route"])?.run()
    });
    work.step("deploy, dry run", worker::dry_run());
    work.suite("conformance: Cloudflare", worker::conformance());
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

fn npm(args: &[&str], folder: &str) -> Command {
    let mut command = Command::new("npm");
    command.args(args).current_dir(root().join(folder));
    command
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The steps of one call, and what became of each.
struct Work {
    begun: Instant,
    passed: usize,
    failed: Vec<String>,
    /// Passed when they were run again.
    unsteady: Vec<String>,
    skipped: Vec<String>,
}

impl Work {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            unsteady: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn step(&mut self, name: &str, mut command: Command) {
        self.part(name, || tools::succeeds(&mut command));
    }

    /// Tests against hosts, browsers and clocks. One that fails is run again, once: on a machine that others share a wait may
    /// be too long without anything being broken. What fails twice has failed; what does not is named at the end, to be mended.
    fn suite(&mut self, name: &str, mut command: Command) {
        let mut first = None;
        let passed = self.part(name, || {
            tools::succeeds(&mut command).or_else(|why| {
                println!("=== {name}: failed ({why}); it is run again");
                first = Some(why);
                tools::succeeds(&mut command)
            })
        });
        if let Some(why) = first.filter(|_| passed) {
            self.unsteady.push(format!("{name}: {why} at first, see above"));
        }
    }

    /// Whether it passed.
    fn part(&mut self, name: &str, part: impl FnOnce() -> Result<(), String>) -> bool {
        println!("\n=== {name}");
        let begun = Instant::now();
        let done = part();
        match &done {
            Ok(()) => {
                self.passed += 1;
                println!("=== {name}: ok ({} s)", begun.elapsed().as_secs());
            }
            Err(why) => self.fail(name, why),
        }
        done.is_ok()
    }

    fn fail(&mut self, name: &str, why: &str) {
        println!("=== {name}: FAILED: {why}");
        self.failed.push(format!("{name}: {why}"));
    }

    fn skip(&mut self, name: &str, why: &str) {
        println!("\n=== {name}: skipped: {why}");
        self.skipped.push(format!("{name}: {why}"));
    }

    fn conclude(self) -> ExitCode {
        println!("\n{} s in all", self.begun.elapsed().as_secs());
        self.skipped.iter().for_each(|skipped| println!("skipped  {skipped}"));
        self.unsteady.iter().for_each(|unsteady| println!("unsteady {unsteady}"));
        self.failed.iter().for_each(|failed| println!("FAILED   {failed}"));
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len());
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_has_a_second_chance_and_no_third() {
        let folder = std::env::temp_dir().join(format!("weeziq-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]).current_dir(&folder);
            command
        };
        let mut work = Work::new();
        work.suite("steady", script("true"));
        work.suite("unsteady", script("test -e been || { touch been; exit 1; }"));
        work.suite("broken", script("echo >> tries; exit 1"));
        work.step("broken at once", script("echo >> steps; exit 1"));
        let tries = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap().lines().count();
        assert_eq!((tries("tries"), tries("steps")), (2, 1));
        assert_eq!((work.passed, work.failed.len(), work.unsteady.len()), (2, 2, 1));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn architecture_lists_the_crates_that_there_are() {
        let metadata = cargo(&["metadata", "--no-deps", "--format-version=1", "--offline"]).output().unwrap();
        let metadata = String::from_utf8(metadata.stdout).unwrap();
        let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        let listed: Vec<&str> =
            architecture.lines().filter(|line| line.starts_with("| `") && line.contains("(`")).collect();
        let packages: Vec<&str> = metadata
            .split("\"manifest_path\":\"")
            .skip(1)
            .filter_map(|rest| rest.split("/Cargo.toml").next())
            .filter_map(|folder| folder.strip_prefix(root().to_str()?)?.strip_prefix('/'))
            .collect();
        assert!(packages.len() >= 4, "{packages:?}");
        for package in &packages {
            assert!(
                listed.iter().any(|line| line.contains(&format!("(`{package}`)"))),
                "{package} is missing"
            );
        }
        assert_eq!(listed.len(), packages.len());
    }
}
