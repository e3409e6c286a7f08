//! Everything of a service on Cloudflare, over HTTP while it goes on: `weeziq export --from` and `weeziq import --to`.
//!
//! Beside `export.json`: `domains.jsonl` and `rooms.jsonl`, where a line `{"holder": …}` names the object of which the lines
//! behind it are, as it says them itself; `files.jsonl`, what is known of each file, and the bytes under their keys. All rows of
//! a room are of one moment, and each page of a domain's.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::Value as Json;
use weeziq_core::files::FileKey;

use super::files::runtime;
use super::objects::{Heading, Holder, Objects, is_row, lines_in, parts, size_of};
use super::service::{ATTEMPTS, FilesPage, Page, Service, UsersPage, chain, checked, read, said};
use super::{FILES, FORMAT, HEAD, Head, Host, Outcome, make_anew, moving, with_suffix};
use crate::progress::Progress;

/// A service, and the token of one who may do everything there.
#[derive(Clone, clap::Args)]
pub(crate) struct Remote {
    /// A token of an admin of all domains: weeziq token --role admin --sub backup --domain '*'
    #[arg(long, env = "WEEZIQ_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
}

/// Each is a request to an object of its own, and most are small.
const AT_ONCE: usize = 8;
pub(super) const DOMAINS: &str = "domains.jsonl";
pub(super) const ROOMS: &str = "rooms.jsonl";
pub(super) const FILES_KNOWN: &str = "files.jsonl";
pub(super) const USERS: &str = "users.jsonl";
/// What a service takes at once.
const USERS_AT_ONCE: usize = 40;

pub(crate) fn export(from: &str, remote: &Remote, target: &Path) -> Outcome {
    if target.exists() {
        return Err(format!("{} is there already; an export never replaces anything", target.display()));
    }
    let service = Service::at(from, remote)?;
    let partial = with_suffix(target, ".partial");
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", partial.display());
    let (rows, files) = runtime()?.block_on(async {
        let holders = service.holders().await?;
        make_anew(&partial).map_err(failed)?;
        let (domains, rooms): (Vec<_>, Vec<_>) =
            holders.into_iter().partition(|holder| matches!(holder, Holder::Domain(_)));
        Progress::say(&format!("exporting {} domains", domains.len()));
        let mut rows = service.write_all(&domains, &partial.join(DOMAINS)).await?;
        Progress::say(&format!("exporting {} rooms", rooms.len()));
        rows += service.write_all(&rooms, &partial.join(ROOMS)).await?;
        service.write_users(&partial.join(USERS)).await?;
        Progress::say("exporting the files");
        Ok::<_, String>((rows, service.write_files(&partial).await?))
    })?;
    let mut import = [0; 8];
    getrandom::fill(&mut import).map_err(|error| error.to_string())?;
    let import = Some(format!("{:016x}", u64::from_le_bytes(import)));
    let version = env!("CARGO_PKG_VERSION").into();
    let head = Head { format: FORMAT, version, host: Host::Cloudflare, shards: 0, import };
    std::fs::write(partial.join(HEAD), serde_json::to_string(&head).map_err(said)? + "\n").map_err(failed)?;
    std::fs::rename(&partial, target).map_err(failed)?;
    Ok(format!("{}: {rows} rows, {files} files\n", target.display()))
}

pub(crate) fn import(from: &Path, to: &str, remote: &Remote) -> Outcome {
    let head = super::read_head(from)?;
    let service = Service::at(to, remote)?;
    // Of a service on one machine each object's share is put together first, beside nothing that is in use.
    let scratch = Scratch::beside(from);
    let (lines, import) = match (head.host, head.import) {
        (Host::Cloudflare, Some(import)) => (from, import),
        (Host::Cloudflare, None) => return Err(format!("{} names no import; is it whole?", from.display())),
        (Host::Native, _) => (&*scratch.0, moving::gather(from, &scratch.0)?),
    };
    let (rows, files) = runtime()?.block_on(async {
        // Whom tokens have proved first, and the bytes before the rows that name them, and a site before its rooms tell it how
        // they stand.
        service.read_users(&lines.join(USERS)).await?;
        Progress::say("importing the files");
        let files = service.read_files(&lines.join(FILES_KNOWN), &from.join(FILES)).await?;
        Progress::say("importing the domains");
        let mut rows = service.read_all(&lines.join(DOMAINS), &import).await?;
        Progress::say("importing the rooms");
        rows += service.read_all(&lines.join(ROOMS), &import).await?;
        Ok::<_, String>((rows, files))
    })?;
    Ok(format!("{to}: {rows} rows, {files} files\n"))
}

/// A folder for the time of a command.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(path: &Path) -> Self {
        Self(with_suffix(path, &format!(".moving-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // mostly it was never made
    }
}

impl Service {
    /// Returns how many rows there were.
    async fn write_all(&self, holders: &[Holder], into: &Path) -> Result<u64, String> {
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", into.display());
        let mut out = BufWriter::new(File::create(into).map_err(failed)?);
        let (mut count, mut done) = (0, 0);
        let asked = stream::iter(holders).map(|holder| async move { (holder, self.lines_of(holder).await) });
        let mut told = asked.buffered(AT_ONCE);
        while let Some((holder, lines)) = told.next().await {
            let lines = lines.map_err(|error| format!("{} was not exported: {error}", holder.name()))?;
            done += 1;
            Progress::at(done, holders.len() as u64);
            // Asked about once, and nothing stored since.
            let rows = lines.lines().filter(|line| is_row(line)).count() as u64;
            if rows == 0 && !lines.contains("{\"settings\":") {
                continue;
            }
            count += rows;
            let heading = serde_json::to_string(&Heading { holder: holder.clone() }).map_err(said)?;
            writeln!(out, "{heading}").and_then(|()| out.write_all(lines.as_bytes())).map_err(failed)?;
        }
        out.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
        Ok(count)
    }

    /// Begins anew where the object has changed between two pages.
    async fn lines_of(&self, holder: &Holder) -> Result<String, String> {
        let (kind, name) = (holder.kind(), holder.name());
        let (mut lines, mut after, mut attempt) = (String::new(), None::<String>, 0);
        loop {
            let query: Vec<_> = after.iter().map(|after| ("after", after.as_str())).collect();
            let response = self.ask(&[kind, name], &query).await?;
            if response.status() == StatusCode::CONFLICT && attempt < ATTEMPTS {
                attempt += 1;
                (lines, after) = (String::new(), None);
                continue;
            }
            let page: Page = read(checked(response).await?).await?;
            lines.push_str(&page.lines);
            after = page.next;
            if after.is_none() {
                return Ok(lines);
            }
        }
    }

    async fn write_files(&self, into: &Path) -> Result<usize, String> {
        let list = into.join(FILES_KNOWN);
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", list.display());
        let mut out = BufWriter::new(File::create(&list).map_err(failed)?);
        let (mut copied, mut after) = (0, Some(None::<String>));
        while let Some(place) = after {
            let query: Vec<_> = place.iter().map(|place| ("after", place.as_str())).collect();
            let page: FilesPage = self.json(&["files"], &query).await?;
            for known in page.files {
                let key = key_of(&known)?;
                if self.write_file(&key, &into.join(FILES).join(key.as_str())).await? {
                    writeln!(out, "{known}").map_err(failed)?;
                    copied += 1;
                }
            }
            after = page.next.map(Some);
        }
        out.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
        Ok(copied)
    }

    /// False if it was deleted since it was listed.
    async fn write_file(&self, key: &FileKey, into: &Path) -> Result<bool, String> {
        let failed = |error: &dyn std::fmt::Display| format!("file {}: {error}", key.as_str());
        let response = self.ask(&["files", key.as_str()], &[]).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let mut bytes = checked(response).await?.bytes_stream();
        let mut file = File::create(into).map_err(|error| failed(&error))?;
        while let Some(piece) = bytes.try_next().await.map_err(|error| failed(&error))? {
            file.write_all(&piece).map_err(|error| failed(&error))?;
        }
        file.sync_all().map_err(|error| failed(&error))?;
        Ok(true)
    }

    async fn read_files(&self, list: &Path, bytes: &Path) -> Result<usize, String> {
        let (lines, mut copied) = (lines_in(list)?, 0);
        for (at, line) in lines.enumerate() {
            let known: Json =
                serde_json::from_str(&line?).map_err(|error| format!("line {}: {error}", at + 1))?;
            let key = key_of(&known)?;
            let failed = |error: &dyn std::fmt::Display| format!("file {}: {error}", key.as_str());
            let path = bytes.join(key.as_str());
            let size = std::fs::metadata(&path).map_err(|error| failed(&error))?.len();
            let file = File::open(&path).map_err(|error| failed(&error))?;
            let sent = self
                .request(Method::PUT, &["files", key.as_str()], &[("file", &known.to_string())])
                .header("content-length", size)
                .body(Body::wrap_stream(stream::iter(pieces(file))))
                .send();
            checked(sent.await.map_err(|error| failed(&error))?).await?;
            copied += 1;
        }
        Ok(copied)
    }

    async fn write_users(&self, into: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", into.display());
        let mut out = BufWriter::new(File::create(into).map_err(failed)?);
        let mut after = Some(None::<String>);
        while let Some(place) = after {
            let query: Vec<_> = place.iter().map(|place| ("after", place.as_str())).collect();
            let page: UsersPage = self.json(&["users"], &query).await?;
            for user in page.users {
                writeln!(out, "{}", Json::from(user)).map_err(failed)?;
            }
            after = page.next.map(Some);
        }
        out.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)
    }

    async fn read_users(&self, from: &Path) -> Result<(), String> {
        let users = lines_in(from)?.collect::<Result<Vec<_>, _>>()?;
        for some in users.chunks(USERS_AT_ONCE) {
            let body = format!("[{}]", some.join(","));
            let sent = self.request(Method::PUT, &["users"], &[]).body(body).send().await;
            checked(sent.map_err(|error| chain(&error))?).await?;
        }
        Ok(())
    }

    async fn read_all(&self, from: &Path, import: &str) -> Result<u64, String> {
        let bytes = std::fs::metadata(from).map_err(|error| format!("{}: {error}", from.display()))?.len();
        let objects = stream::iter(Objects::of(lines_in(from)?));
        let mut sent = objects
            .map(|object| async move {
                let (holder, lines) = object?;
                let taken = self.load(&holder, &lines, import).await;
                taken.map_err(|error| format!("{} was not imported: {error}", holder.name()))?;
                Ok::<_, String>((lines.iter().filter(|line| is_row(line)).count() as u64, size_of(&lines)))
            })
            .buffer_unordered(AT_ONCE);
        let (mut count, mut seen) = (0, 0);
        while let Some((rows, size)) = sent.try_next().await? {
            count += rows;
            seen += size;
            Progress::at(seen.min(bytes), bytes);
        }
        Ok(count)
    }

    async fn load(&self, holder: &Holder, lines: &[String], import: &str) -> Result<(), String> {
        let parts = parts(lines);
        let last = parts.len().saturating_sub(1);
        for (at, part) in parts.into_iter().enumerate() {
            let mut query = vec![("import", import)];
            query.extend((at == 0).then_some(("first", "1")));
            query.extend((at == last).then_some(("last", "1")));
            let sent = self.request(Method::PUT, &[holder.kind(), holder.name()], &query).body(part).send();
            checked(sent.await.map_err(|error| chain(&error))?).await?;
        }
        Ok(())
    }
}

fn pieces(file: File) -> impl Iterator<Item = std::io::Result<Vec<u8>>> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    std::iter::from_fn(move || match reader.fill_buf() {
        Ok([]) => None,
        Ok(bytes) => {
            let piece = bytes.to_vec();
            reader.consume(piece.len());
            Some(Ok(piece))
        }
        Err(error) => Some(Err(error)),
    })
}

/// It names a file here, too.
fn key_of(known: &Json) -> Result<FileKey, String> {
    let key = known.get("key").and_then(Json::as_str).unwrap_or_default();
    FileKey::parse(key).ok_or_else(|| format!("{key:?} is no file's key"))
}
