//! The Cloudflare host's WebAssembly: everything that its build takes, and the build.
//!
//! It is compiled with `panic = "unwind"`, so that a panic costs one request and not the room with everyone in it. No
//! shipped std for WebAssembly unwinds, so std is compiled along: that takes its sources and an unstable flag.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::{cargo, npm, root, tools};

/// A ninth of what Cloudflare takes of a paying account and little more than a third of a free one's: what is loaded at
/// every cold start stays small on purpose.
const WASM_GZIPPED_BYTES_MAX: usize = 1_150_000;

const ADVICE: &str = "the Worker takes a Rust that can compile std for WebAssembly: either `rustup toolchain install \
                      nightly --component rust-src --target wasm32-unknown-unknown`, or Debian's rustc-web, cargo-web \
                      and rust-web-src";

/// What is asked of one build.
pub(crate) struct Build {
    features: Option<String>,
    out: PathBuf,
}

impl Build {
    /// `--features F` and `--out DIR`. With features it goes into a folder of its own: nobody deploys it by mistake.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        let (mut features, mut out) = (None, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg}: a value is missing"))?;
            match *arg {
                "--features" => features = Some((*value).to_owned()),
                "--out" => {
                    out = Some(std::path::absolute(value).map_err(|error| format!("{value}: {error}"))?)
                }
                _ => return Err(format!("{arg}: unknown")),
            }
        }
        let folder = features.as_ref().map_or("build".into(), |features| format!("build-{features}"));
        Ok(Self { features, out: out.unwrap_or_else(|| home().join(folder)) })
    }

    pub(crate) fn run(&self) -> Result<(), String> {
        pages()?;
        let wasm = self.out.join("index_bg.wasm");
        if is_newer_than_its_sources(&wasm) {
            println!("{} is up to date", wasm.display());
        } else {
            self.make(&wasm)?;
        }
        size(&wasm)
    }

    fn make(&self, wasm: &Path) -> Result<(), String> {
        let mut build = worker_build()?;
        build.args(["--profile", "worker", "--panic-unwind", "--out-dir"]).arg(&self.out);
        if let Some(features) = &self.features {
            build.args(["--features", features]);
        }
        let begun = SystemTime::now();
        tools::succeeds(&mut build)?;
        // What was edited during the build is newer than it.
        let made = File::options().append(true).open(wasm).and_then(|made| made.set_modified(begun));
        made.map_err(|error| format!("{}: {error}", wasm.display()))
    }
}

/// What wrangler uploads as assets: the files as a browser is sent them, under their addresses, and nothing else of `web/`.
fn pages() -> Result<(), String> {
    write_pages(&home().join("pages"))
}

/// A page that there is no more goes, or it would be served for ever. What begins with a dot is wrangler's.
fn write_pages(folder: &Path) -> Result<(), String> {
    let mut wanted = BTreeSet::new();
    for page in weeziq_pages::PAGES {
        // A page of HTML is found without its ending.
        let file = folder.join(match page.path.trim_start_matches('/') {
            "" => "index.html".to_owned(),
            path if page.file.ends_with(".html") => format!("{path}.html"),
            path => path.to_owned(),
        });
        let text = page.text();
        if !std::fs::read_to_string(&file).is_ok_and(|there| *there == text) {
            let written = std::fs::create_dir_all(file.parent().unwrap_or(folder))
                .and_then(|()| std::fs::write(&file, &*text));
            written.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        wanted.insert(file);
    }
    remove_others(folder, &wanted).map_err(|error| format!("{}: {error}", folder.display()))
}

fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if is_hidden(&path) || wanted.contains(&path) {
            continue;
        }
        if !kind.is_dir() {
            std::fs::remove_file(&path)?;
            continue;
        }
        remove_others(&path, wanted)?;
        if std::fs::read_dir(&path)?.next().is_none() {
            std::fs::remove_dir(&path)?;
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// As `npm run deploy` would upload it; wrangler says how large that is.
pub(crate) fn dry_run() -> Command {
    let mut deploy = npm(&["run", "--silent", "deploy", "--", "--dry-run"], ".");
    deploy.env("WEEZIQ_WORKER_BUILT", "1").env("WRANGLER_SEND_METRICS", "false");
    deploy
}

pub(crate) fn conformance() -> Command {
    // Whoever is killed leaves a copy of the Worker there, and the suite kills many.
    let _ = std::fs::remove_dir_all(home().join(".wrangler/tmp"));
    let mut suite = npm(&["test", "--silent"], "conformance");
    suite.env("HOST_UNDER_TEST", "cloudflare");
    suite
}

/// Cargo knows by itself, but `worker-build` optimises anew each time, which takes longer than all the rest. Where cargo's
/// list of the sources does not answer, the sources are newer.
fn is_newer_than_its_sources(wasm: &Path) -> bool {
    let modified = |file: &Path| std::fs::metadata(file).and_then(|file| file.modified()).ok();
    let list = target().join("wasm32-unknown-unknown/worker/weeziq_worker.d");
    let (Some(made), Ok(list)) = (modified(wasm), std::fs::read_to_string(list)) else { return false };
    let manifests = [
        "Cargo.toml",
        "Cargo.lock",
        "package-lock.json",
        "crates/core/Cargo.toml",
        "crates/worker/Cargo.toml",
    ];
    let sources = list.split_whitespace().skip(1).map(PathBuf::from);
    let mut files = sources.chain(manifests.iter().map(|file| root().join(file)));
    files.all(|file| modified(&file).is_some_and(|changed| changed < made))
}

fn size(wasm: &Path) -> Result<(), String> {
    let bytes = std::fs::metadata(wasm).map_err(|error| format!("{}: {error}", wasm.display()))?.len();
    let gzip = Command::new("gzip").args(["-9", "--stdout"]).arg(wasm).stderr(Stdio::inherit()).output();
    let gzipped = gzip.map_err(|error| format!("gzip: {error}"))?.stdout.len();
    println!("{bytes} bytes of WebAssembly, {gzipped} gzipped, of {WASM_GZIPPED_BYTES_MAX} at most");
    match gzipped {
        0 => Err("gzip failed".into()),
        1..=WASM_GZIPPED_BYTES_MAX => Ok(()),
        _ => Err("the Worker is over its budget".into()),
    }
}

/// `worker-build`, told where everything is that it would otherwise download.
fn worker_build() -> Result<Command, String> {
    tools::npm_packages()?;
    let compiler = Compiler::set_up()?;
    let bindgen = tools::from_crates_io("wasm-bindgen-cli", "wasm-bindgen", &locked("wasm-bindgen")?, &[])?;
    // It is released along with the crate that it builds for.
    let mut build =
        Command::new(tools::from_crates_io("worker-build", "worker-build", &locked("worker")?, &[])?);
    let npm = root().join("node_modules/.bin");
    build.current_dir(home());
    build.env("WASM_BINDGEN_BIN", bindgen);
    build.env("ESBUILD_BIN", npm.join("esbuild")).env("WASM_OPT_BIN", npm.join("wasm-opt"));
    build.env("CARGO_TARGET_DIR", target());
    compiler.put_before(npm, &mut build)?;
    Ok(build)
}

fn home() -> PathBuf {
    root().join("crates/worker")
}

/// Two compilers in one folder would undo each other's work at every turn.
fn target() -> PathBuf {
    root().join("target/worker")
}

/// The version of a package in Cargo.lock: a tool that generates code for it has to be of the same.
fn locked(package: &str) -> Result<String, String> {
    let lock =
        std::fs::read_to_string(root().join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.map(str::to_owned).ok_or_else(|| format!("Cargo.lock has no {package}"))
}

/// A Rust that can compile std for WebAssembly; `worker-build` calls it `+nightly`.
enum Compiler {
    Nightly,
    Debian { wrappers: PathBuf, linker: PathBuf },
}

impl Compiler {
    /// What is here comes first, so that nothing is downloaded twice or asked for in vain at every build.
    fn set_up() -> Result<Self, String> {
        let additions = [|| {}, add_nightly, add_debian];
        let found = additions.iter().find_map(|add| {
            add();
            nightly().or_else(debian)
        });
        found.unwrap_or_else(|| Err(ADVICE.into()))
    }

    fn put_before(&self, path: PathBuf, build: &mut Command) -> Result<(), String> {
        let mut paths = vec![path];
        match self {
            // Else `worker-build` adds the target to the stable toolchain too, and does not use it.
            Self::Nightly => _ = build.env("RUSTUP_TOOLCHAIN", "nightly"),
            Self::Debian { wrappers, linker } => {
                paths.insert(0, wrappers.clone());
                build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            }
        }
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        build.env("PATH", std::env::join_paths(paths).map_err(|error| error.to_string())?);
        // Of the cargo that runs this: another one's.
        build.env_remove("CARGO").env_remove("LD_LIBRARY_PATH");
        Ok(())
    }
}

fn nightly() -> Option<Result<Compiler, String>> {
    let rust = sysroot(&["+nightly"])?.join("lib/rustlib");
    let whole =
        rust.join("src/rust/library/Cargo.lock").is_file() && rust.join("wasm32-unknown-unknown").is_dir();
    whole.then_some(Ok(Compiler::Nightly))
}

/// A nightly that is here is added to and not renewed: it is its owner's.
fn add_nightly() {
    if tools::on_path("rustup").is_none() {
        return;
    }
    println!("\n=== adding Rust nightly's sources and its target wasm32-unknown-unknown with rustup");
    let rustup = |args: &[&str]| tools::runs(Command::new("rustup").args(args));
    if sysroot(&["+nightly"]).is_some()
        || rustup(&["toolchain", "install", "nightly", "--profile", "minimal"])
    {
        rustup(&["component", "add", "rust-src", "--toolchain", "nightly"]);
        rustup(&["target", "add", "wasm32-unknown-unknown", "--toolchain", "nightly"]);
    }
}

fn debian() -> Option<Result<Compiler, String>> {
    let parts = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/lib/rustlib/src/rust/library/Cargo.lock"];
    if !parts.iter().all(|part| Path::new(part).exists()) {
        return None;
    }
    let linker = linker()?;
    Some(wrappers().map(|wrappers| Compiler::Debian { wrappers, linker }))
}

fn add_debian() {
    tools::apt_install(&["rustc-web", "cargo-web", "rust-web-src"]);
    if linker().is_none() {
        tools::apt_install(&["lld"]);
    }
}

/// The one of the toolchain that the rest is built with, where it has one: Debian's may be too old for today's objects.
fn linker() -> Option<PathBuf> {
    let host = cargo(&["--version", "--verbose"]).output().ok()?;
    let host = String::from_utf8(host.stdout).ok()?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
    let bundled = sysroot(&[]).map(|rust| rust.join("lib/rustlib").join(host).join("bin/rust-lld"));
    bundled.filter(|linker| linker.is_file()).or_else(|| tools::on_path("wasm-ld"))
}

fn sysroot(toolchain: &[&str]) -> Option<PathBuf> {
    let asked = Command::new("rustc")
        .args(toolchain)
        .args(["--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let path = String::from_utf8(asked.stdout).ok()?;
    asked.status.success().then(|| PathBuf::from(path.trim()))
}

/// Programs that play rustup's nightly with Debian's packages.
fn wrappers() -> Result<PathBuf, String> {
    let folder = tools::cache()?.join("debian-rust");
    for (name, script) in WRAPPERS {
        tools::write_program(&folder.join(name), script)?;
    }
    Ok(folder)
}

const WRAPPERS: [(&str, &str); 3] = [
    (
        "cargo",
        r#"#!/bin/sh
[ "$1" = +nightly ] && shift
export RUSTC_BOOTSTRAP=1 # what makes a nightly of a release
exec /usr/bin/cargo "$@"
"#,
    ),
    (
        "rustc",
        r#"#!/bin/sh
[ "$1" = +nightly ] && shift
# worker-build wants to see a folder of the target's std, which is compiled along and needs none
case "$*" in *"--print target-libdir") exec dirname "$0" ;; esac
export RUSTC_BOOTSTRAP=1
exec /usr/bin/rustc "$@"
"#,
    ),
    (
        "rustup",
        r#"#!/bin/sh
# worker-build asks for one thing: `rustup component list`
echo "rust-src (installed)"
"#,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_no_more_is_uploaded_no_more() {
        let folder = std::env::temp_dir().join(format!("weeziq-pages-{}", std::process::id()));
        let stale = [folder.join("gone.html"), folder.join("widget/gone.js"), folder.join("gone/page.js")];
        for file in stale.iter().chain([&folder.join(".assetsignore")]) {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "old").unwrap();
        }
        write_pages(&folder).unwrap();
        let kept =
            ["index.html", "console.html", "widget.js", "widget/app.js", "docs/widget.md", ".assetsignore"];
        let missing: Vec<_> = kept.iter().filter(|file| !folder.join(file).is_file()).collect();
        let left: Vec<_> = stale.iter().filter(|file| file.exists()).collect();
        let is_empty_folder_left = folder.join("gone").exists();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(left.is_empty() && !is_empty_folder_left, "{left:?}");
    }
}
