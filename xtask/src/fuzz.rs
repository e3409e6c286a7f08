//! Coverage-guided fuzzing of the targets in `fuzz/`, with the stable toolchain that builds everything else.
//!
//! The compiler's instrumentation is an LLVM pass that stable flags turn on; the engine is libFuzzer, in C++, which
//! `libfuzzer-sys` compiles. `cargo fuzz` adds AddressSanitizer, which takes a nightly and finds nothing where nothing
//! is unsafe.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::{Work, cargo, root, tools};

const TARGETS: [&str; 4] = ["frame", "event", "room", "provider"];

const RUSTFLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1", // what another unit holds of a function is counted there again
    "--cfg=fuzzing",
];

/// An input that takes longer is a finding. The usual one takes milliseconds, the largest a second where nothing else runs.
const INPUT_SECONDS_MAX: u32 = 120;
/// A target that takes more is one too.
const MEMORY_MB_MAX: u32 = 1_024;

/// What of a target's corpus is in the repository at most.
const KEPT_FILES_MAX: usize = 300;
const KEPT_BYTES_MAX: u64 = 200_000;

/// What is asked of one run.
pub(crate) struct Run {
    seconds: u32,
    targets: Vec<&'static str>,
    keep: bool,
}

impl Run {
    /// All targets, each for so long.
    pub(crate) fn of_all(seconds: u32) -> Self {
        Self { seconds, targets: TARGETS.to_vec(), keep: false }
    }

    /// `--seconds N`, `--target NAME` and `--keep`.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        let mut run = Self::of_all(60);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg}: a value is missing"));
            match *arg {
                "--keep" => run.keep = true,
                "--seconds" => run.seconds = value()?.parse().map_err(|error| format!("{arg}: {error}"))?,
                "--target" => {
                    let name = value()?;
                    run.targets = TARGETS.into_iter().filter(|target| target == name).collect();
                    if run.targets.is_empty() {
                        return Err(format!("{name} is none of {}", TARGETS.join(", ")));
                    }
                }
                _ => return Err(format!("{arg}: unknown")),
            }
        }
        Ok(run)
    }

    /// As steps of one call: the build, the targets, and what is kept of what they found.
    pub(crate) fn steps(&self, work: &mut Work) {
        if let Err(why) = cpp_compiler() {
            return work.skip("fuzzing", &why);
        }
        let mut programs = None;
        work.part("fuzz targets", || {
            programs = Some(build()?);
            Ok(())
        });
        let Some(programs) = programs else { return };
        work.part(&format!("fuzzing, {} s a target", self.seconds), || self.fuzz(&programs));
        if self.keep {
            work.part("fuzz corpus", || self.targets.iter().try_for_each(|target| keep(&programs, target)));
        }
    }

    /// Two at a time, where there are two cores.
    fn fuzz(&self, programs: &Path) -> Result<(), String> {
        println!(
            "{:<9} {:>8} {:>9} {:>9} {:>7} {:>5}",
            "", "execs/s", "coverage", "features", "corpus", "new"
        );
        let (left, failed) = (Mutex::new(self.targets.iter()), Mutex::new(Vec::new()));
        let next = || left.lock().ok().and_then(|mut left| left.next().copied());
        let worker = || {
            while let Some(target) = next() {
                if let Err(why) = self.fuzz_one(programs, target) {
                    println!("{why}");
                    failed.lock().into_iter().for_each(|mut failed| failed.push(target));
                }
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..cores.min(2)).for_each(|_| drop(scope.spawn(worker))));
        match failed.into_inner().unwrap_or_default().as_slice() {
            [] => Ok(()),
            failed => Err(format!("{} failed", failed.join(", "))),
        }
    }

    fn fuzz_one(&self, programs: &Path, target: &str) -> Result<(), String> {
        let (found, crashes) = (home().join("corpus").join(target), home().join("crashes").join(target));
        let log = home().join(format!("{target}.log"));
        let written = [&found, &crashes].into_iter().try_for_each(fs::create_dir_all);
        let output =
            written.and_then(|()| File::create(&log)).map_err(|error| format!("{target}: {error}"))?;
        let mut command = program(programs, target);
        command.arg(&found).arg(seeds(target));
        command.arg(format!("-artifact_prefix={}/", crashes.display()));
        command.arg(format!("-max_total_time={}", self.seconds)).arg("-print_final_stats=1");
        let status = command.stderr(output).status().map_err(|error| format!("{target}: {error}"))?;
        let said = fs::read(&log).map_err(|error| format!("{target}: {error}"))?;
        let said = String::from_utf8_lossy(&said);
        println!(
            "{target:<9} {:>8} {:>9} {:>9} {:>7} {:>5}",
            number(&said, "stat::average_exec_per_sec:"),
            number(&said, " cov: "),
            number(&said, " ft: "),
            number(&said, " corp: "),
            number(&said, "stat::new_units_added:"),
        );
        if status.success() { Ok(()) } else { Err(finding(programs, target, &said, &log)) }
    }
}

/// The input, what went wrong with it, and how to see that again.
fn finding(programs: &Path, target: &str, said: &str, log: &Path) -> String {
    let Some(input) = said.lines().rev().find_map(|line| line.split_once("Test unit written to ")) else {
        return format!("{target} broke without an input; see {}", log.display());
    };
    let input = Path::new(input.1);
    let why =
        said.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:")).take(6);
    let (why, program) = (why.collect::<Vec<_>>().join("\n  "), programs.join(target));
    let (input, program) = (from_root(input), from_root(&program));
    format!("\n{target} found {input}\n  {why}\nreplay: {program} {input}\n")
}

/// Whole programs into a folder of their own: the flags are others than everything else is built with.
fn build() -> Result<PathBuf, String> {
    let host = host()?;
    let mut build = cargo(&["build", "--release", "--quiet", "--manifest-path", "fuzz/Cargo.toml"]);
    // With a target named, flags are not for build scripts and macros, which have no engine to link with.
    build.args(["--target", &host, "--target-dir"]).arg(home());
    build.env("RUSTFLAGS", RUSTFLAGS.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    tools::succeeds(&mut build)?;
    Ok(home().join(host).join("release"))
}

/// What a run found, with what was kept before, as few files as reach all of it. Files with names given by people stay.
fn keep(programs: &Path, target: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{target}: {error}");
    let merged = home().join("merged").join(target);
    let _ = fs::remove_dir_all(&merged);
    fs::create_dir_all(&merged).map_err(failed)?;
    let log = File::create(home().join(format!("{target}-merge.log"))).map_err(failed)?;
    let mut merge = program(programs, target);
    merge.arg("-set_cover_merge=1").arg(&merged).arg(seeds(target)).arg(home().join("corpus").join(target));
    tools::succeeds(merge.stderr(log))?;

    let mut kept = Vec::new();
    for file in files(&seeds(target)).map_err(failed)? {
        if is_found(&file) {
            fs::remove_file(&file).map_err(failed)?;
        } else {
            kept.push(fs::read(&file).map_err(failed)?);
        }
    }
    let mut inputs = files(&merged).map_err(failed)?;
    inputs.sort_by_key(|file| fs::metadata(file).map_or(u64::MAX, |file| file.len()));
    let mut bytes: u64 = kept.iter().map(|input| input.len() as u64).sum();
    for file in &inputs {
        let input = fs::read(file).map_err(failed)?;
        let larger = bytes + input.len() as u64;
        if !kept.contains(&input) && larger <= KEPT_BYTES_MAX && kept.len() < KEPT_FILES_MAX {
            fs::write(seeds(target).join(file.file_name().unwrap_or_default()), &input).map_err(failed)?;
            kept.push(input);
            bytes = larger;
        }
    }
    println!("{target:<9} {} files, {bytes} bytes, of {} that cover the most", kept.len(), inputs.len());
    Ok(())
}

fn program(programs: &Path, target: &str) -> Command {
    let mut command = Command::new(programs.join(target));
    command.current_dir(root());
    command.arg(format!("-max_len={}", input_bytes_max(target))).arg("-len_control=20");
    command
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-report_slow_units={INPUT_SECONDS_MAX}"));
    command.arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"));
    let words = root().join("fuzz/dict").join(target);
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    command
}

/// What is larger comes from recipes of a few bytes; and a room plays no more steps than fit into that.
fn input_bytes_max(target: &str) -> usize {
    if target == "room" { 1_024 } else { 4_096 }
}

/// Else the reader has to install one; SQLite takes a compiler for C only.
fn cpp_compiler() -> Result<(), String> {
    let named = std::env::var_os("CXX").is_some();
    let found = named || ["c++", "g++", "clang++"].iter().any(|name| tools::on_path(name).is_some());
    let why = "libFuzzer is C++ and there is no compiler for it here (c++, g++, clang++ or CXX)";
    found.then_some(()).ok_or_else(|| why.into())
}

fn host() -> Result<String, String> {
    let version = cargo(&["--version", "--verbose"]).output().map_err(|error| format!("cargo: {error}"))?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "cargo does not say what it runs on".into())
}

fn home() -> PathBuf {
    root().join("target/fuzz")
}

fn seeds(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let files: Result<Vec<_>, _> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    files.map(|files| files.into_iter().filter(|file| file.is_file()).collect())
}

/// The engine names what it found by a SHA-1.
fn is_found(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|letter| letter.is_ascii_hexdigit())
}

fn from_root(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

/// The last number that stands behind this word.
fn number(said: &str, word: &str) -> String {
    let digits = |rest: &str| rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    said.rsplit_once(word).map_or_else(|| "?".into(), |(_, rest)| digits(rest))
}
