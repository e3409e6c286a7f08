//! Tools that the tests need beside Rust: found, or installed outside `target/` so that a clean build keeps them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{npm, root};

/// The tests' own bucket.
const S3_VERSION: &str = "0.14.1";
/// Of the pictures in web/tests/looks.
const FONT: &str = "Liberation Sans";
const DENY_VERSION: &str = "0.20.2";
/// `socket.io`'s and the mocks' own requirement.
const NODE_OLDEST: (u32, u32) = (20, 15);

pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let build = || from_crates_io("cargo-deny", "cargo-deny", DENY_VERSION, &["--no-default-features"]);
    on_path("cargo-deny").map_or_else(build, Ok)
}

/// A server that speaks S3, for the tests of files in a bucket.
pub(crate) fn s3_server() -> Result<PathBuf, String> {
    from_crates_io("s3s-fs", "s3s-fs", S3_VERSION, &["--features", "binary"])
}

/// A program of crates.io in just this version, built from its sources once.
pub(crate) fn from_crates_io(
    package: &str,
    program: &str,
    version: &str,
    options: &[&str],
) -> Result<PathBuf, String> {
    let home = cache()?;
    let built = home.join("bin").join(program);
    if says(&built, version) {
        return Ok(built);
    }
    println!("\n=== building {package} {version} into {} (once, some minutes)", home.display());
    // Unlocked where a version that it was released with is no longer to be had.
    let installed = [&["--locked"][..], &[]].iter().any(|locked| {
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--version", version]).args(*locked).args(options);
        runs(install.arg("--root").arg(&home).arg(package))
    });
    installed
        .then_some(built)
        .ok_or_else(|| format!("{package} {version} cannot be installed from crates.io"))
}

fn says(program: &Path, version: &str) -> bool {
    let said = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    said.is_ok_and(|said| {
        String::from_utf8_lossy(&said.stdout).split_whitespace().any(|word| word == version)
    })
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

/// Chromium where it is, else from Debian's packages; and the font in which the pages' pictures were taken, without which they
/// look different.
pub(crate) fn chromium() -> Result<PathBuf, String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let find = || names.iter().find_map(|name| on_path(name));
    let has_font = || {
        let listed = Command::new("fc-list").arg(FONT).output();
        listed.is_ok_and(|listed| !listed.stdout.is_empty())
    };
    if !has_font() {
        apt_install(&["fontconfig", "fonts-liberation"]);
    }
    if let Some(found) = find() {
        return Ok(found);
    }
    apt_install(&["chromium"]);
    find().ok_or_else(|| "no Chromium here, and it cannot be installed without apt-get and root".into())
}

/// Valgrind, and with it callgrind, where it is, else from Debian's packages.
pub(crate) fn valgrind() -> Result<(), String> {
    let runs = || {
        let mut nothing = Command::new("valgrind");
        nothing.args(["--tool=callgrind", "--quiet", "--callgrind-out-file=/dev/null", "true"]);
        nothing.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if on_path("valgrind").is_none() {
        apt_install(&["valgrind"]);
    }
    if on_path("valgrind").is_none() {
        return Err("no valgrind here, and it cannot be installed without apt-get and root".into());
    }
    if runs() { Ok(()) } else { Err("valgrind is here and cannot run a program".into()) }
}

/// Debian's packages, where that is allowed.
pub(crate) fn apt_install(packages: &[&str]) {
    if let Some(apt) = on_path("apt-get") {
        println!("\n=== installing {} with apt-get", packages.join(", "));
        let quiet = ["-qq", "-y", "--no-install-recommends"];
        runs(Command::new(&apt).args(["update", "-qq"]).stdout(Stdio::null()));
        runs(Command::new(&apt).arg("install").args(quiet).args(packages).stdout(Stdio::null()));
    }
}

/// What package-lock.json names, where it is not there already.
pub(crate) fn npm_packages() -> Result<(), String> {
    let changed = |file: &str| std::fs::metadata(root().join(file)).and_then(|file| file.modified()).ok();
    if changed("node_modules/.package-lock.json") >= changed("package-lock.json") {
        return Ok(());
    }
    node()?;
    println!("\n=== installing the npm packages");
    succeeds(&mut npm(&["ci", "--no-audit", "--no-fund", "--loglevel=error"], "."))
}

/// An executable file, touched only if it has to change.
pub(crate) fn write_program(file: &Path, text: &str) -> Result<(), String> {
    if std::fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(file);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(file, text))
        .and_then(|()| std::fs::set_permissions(file, executable))
        .map_err(|error| format!("{}: {error}", file.display()))
}

pub(crate) fn cache() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    base.map(|base| base.join("weeziq")).ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".into())
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

pub(crate) fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

pub(crate) fn succeeds(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(format!("{}: {error}", command.get_program().to_string_lossy())),
    }
}
