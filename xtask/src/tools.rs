//! Tools that the tests need beside Rust: found, or installed outside `target/` so that a clean build keeps them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DENY_VERSION: &str = "0.20.2";
/// `socket.io`'s and the mocks' own requirement.
const NODE_OLDEST: (u32, u32) = (20, 15);

/// cargo-deny, built from its sources once.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    if let Some(found) = on_path("cargo-deny") {
        return Ok(found);
    }
    let home = cache()?;
    let built = home.join("bin/cargo-deny");
    if !built.exists() {
        println!("\n=== building cargo-deny {DENY_VERSION} into {} (once, some minutes)", home.display());
        let mut install = Command::new("cargo");
        install.args([
            "install",
            "--locked",
            "--quiet",
            "--no-default-features",
            "--version",
            DENY_VERSION,
            "--root",
        ]);
        install.arg(&home).arg("cargo-deny");
        if !runs(&mut install) {
            return Err("cargo-deny cannot be installed from crates.io".into());
        }
    }
    Ok(built)
}

pub(crate) fn advisories_reachable(deny: &Path) -> bool {
    let mut fetch = Command::new(deny);
    fetch.args(["--log-level", "off", "fetch", "db"]).stdout(Stdio::null()).stderr(Stdio::null());
    runs(&mut fetch)
}

/// Node is the reader's own: which one to install, and how, is not ours to decide.
pub(crate) fn node() -> Result<(), String> {
    let (major, minor) = NODE_OLDEST;
    let advice =
        format!("the conformance suite needs Node {major}.{minor} or newer with npm: https://nodejs.org");
    let version = Command::new("node").arg("--version").output().map_err(|_| advice.clone())?;
    let version = String::from_utf8_lossy(&version.stdout).trim().trim_start_matches('v').to_owned();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < NODE_OLDEST { Err(format!("{advice}; found {version}")) } else { Ok(()) }
}

/// Chromium where it is, else from Debian's packages where that is allowed.
pub(crate) fn chromium() -> Result<PathBuf, String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let find = || names.iter().find_map(|name| on_path(name));
    if let Some(found) = find() {
        return Ok(found);
    }
    if let Some(apt) = on_path("apt-get") {
        println!("\n=== installing chromium with apt-get");
        let quiet = ["-qq", "-y", "--no-install-recommends"];
        runs(Command::new(&apt).args(["update", "-qq"]).stdout(Stdio::null()));
        runs(Command::new(&apt).arg("install").args(quiet).arg("chromium").stdout(Stdio::null()));
    }
    find().ok_or_else(|| "no Chromium here, and it cannot be installed without apt-get and root".into())
}

fn cache() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    base.map(|base| base.join("weeziq")).ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".into())
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
