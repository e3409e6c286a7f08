//! Everything of a service on Cloudflare, over HTTP while it goes on: `weeziq export --from` and `weeziq import --to`.
//!
//! Beside `export.json`: `domains.jsonl` and `rooms.jsonl`, where a line `{"holder": …}` names the object of which the lines
//! behind it are, as it says them itself; `files.jsonl`, what is known of each file, and the bytes under their keys. All rows of
//! a room are of one moment, and each page of a domain's.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use weeziq_core::files::FileKey;

use super::files::runtime;
use super::{FILES, FORMAT, HEAD, Head, Host, Outcome, with_suffix};
use crate::progress::Progress;

/// A service, and the token of one who may do everything there.
#[derive(Clone, clap::Args)]
pub(crate) struct Remote {
    /// A token of an admin of all domains: weeziq token --role admin --sub backup --domain '*'
    #[arg(long, env = "WEEZIQ_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "camelCase")]
enum Holder {
    Room(String),
    Domain(String),
}

#[derive(Serialize, Deserialize)]
struct Heading {
    holder: Holder,
}

#[derive(Deserialize)]
struct Holders {
    holders: Vec<Holder>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    lines: String,
    next: Option<String>,
}

#[derive(Deserialize)]
struct FilesPage {
    files: Vec<Json>,
    next: Option<String>,
}

struct Service {
    client: reqwest::Client,
    url: Url,
    token: String,
}

/// Each is a request to an object of its own, and most are small.
const AT_ONCE: usize = 8;
const ATTEMPTS: u32 = 5;
const BACK_OFF_MS: u64 = 500;
/// Less than what a service takes at once, with room for the longest row.
const PART_BYTES: usize = 2 * 1024 * 1024;
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const DOMAINS: &str = "domains.jsonl";
const ROOMS: &str = "rooms.jsonl";
const FILES_KNOWN: &str = "files.jsonl";

pub(crate) fn export(from: &str, remote: &Remote, target: &Path) -> Outcome {
    if target.exists() {
        return Err(format!("{} is there already; an export never replaces anything", target.display()));
    }
    let service = Service::at(from, remote)?;
    let partial = with_suffix(target, ".partial");
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", partial.display());
    std::fs::create_dir_all(partial.join(FILES)).map_err(failed)?;
    let (rows, files) = runtime()?.block_on(async {
        let holders = service.holders().await?;
        let (domains, rooms): (Vec<_>, Vec<_>) =
            holders.into_iter().partition(|holder| matches!(holder, Holder::Domain(_)));
        Progress::say(&format!("exporting {} domains", domains.len()));
        let mut rows = service.write_all(&domains, &partial.join(DOMAINS)).await?;
        Progress::say(&format!("exporting {} rooms", rooms.len()));
        rows += service.write_all(&rooms, &partial.join(ROOMS)).await?;
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
    let Some(import) = head.import.filter(|_| head.host == Host::Cloudflare) else {
        return Err(format!(
            "{} is of a service on one machine, which weeziq import reads into DATA_DIR; --to takes what export --from has made",
            from.display()
        ));
    };
    let service = Service::at(to, remote)?;
    let (rows, files) = runtime()?.block_on(async {
        // The bytes before the rows that name them, and a site before its rooms tell it how they stand.
        Progress::say("importing the files");
        let files = service.read_files(from).await?;
        Progress::say("importing the domains");
        let mut rows = service.read_all(&from.join(DOMAINS), &import).await?;
        Progress::say("importing the rooms");
        rows += service.read_all(&from.join(ROOMS), &import).await?;
        Ok::<_, String>((rows, files))
    })?;
    Ok(format!("{to}: {rows} rows, {files} files\n"))
}

impl Service {
    fn at(url: &str, remote: &Remote) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| format!("{url:?} is no address: {error}"))?;
        if parsed.cannot_be_a_base() || !matches!(parsed.scheme(), "http" | "https") {
            return Err(format!("{url:?} must begin with https:// or http://"));
        }
        let missing = "--token or WEEZIQ_TOKEN must be a token of an admin of all domains; weeziq token --role admin --sub backup --domain '*' makes one";
        let token = remote.token.clone().filter(|token| !token.is_empty()).ok_or(missing)?;
        // Fails only if a provider was installed before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().connect_timeout(ANSWERS_WITHIN).read_timeout(ANSWERS_WITHIN);
        let client = client.redirect(reqwest::redirect::Policy::none()); // it would carry the token elsewhere
        Ok(Self { client: client.build().map_err(said)?, url: parsed, token })
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("archive").extend(path);
        }
        url.query_pairs_mut().extend_pairs(query);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// Asks again while the service cannot be reached or says that it is in trouble.
    async fn ask(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response, String> {
        let mut attempt = 0;
        loop {
            let answer = self.request(Method::GET, path, query).send().await;
            attempt += 1;
            match answer {
                Ok(response) if response.status().is_server_error() && attempt < ATTEMPTS => {}
                Err(_) if attempt < ATTEMPTS => {}
                answer => return answer.map_err(|error| chain(&error)),
            }
            tokio::time::sleep(Duration::from_millis(BACK_OFF_MS << attempt)).await;
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, String> {
        let response = checked(self.ask(path, query).await?).await?;
        read(response).await.map_err(|error| format!("{} answers something else: {error}", self.url))
    }

    async fn holders(&self) -> Result<Vec<Holder>, String> {
        let (mut all, mut after) = (Vec::new(), Some(String::new()));
        while let Some(place) = after {
            let page: Holders = self.json(&["holders"], &[("after", &place)]).await?;
            all.extend(page.holders);
            after = page.next;
        }
        Ok(all)
    }

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

    async fn read_files(&self, from: &Path) -> Result<usize, String> {
        let (lines, mut copied) = (lines_in(&from.join(FILES_KNOWN))?, 0);
        for (at, line) in lines.enumerate() {
            let known: Json =
                serde_json::from_str(&line?).map_err(|error| format!("line {}: {error}", at + 1))?;
            let key = key_of(&known)?;
            let failed = |error: &dyn std::fmt::Display| format!("file {}: {error}", key.as_str());
            let path = from.join(FILES).join(key.as_str());
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

    async fn read_all(&self, from: &Path, import: &str) -> Result<u64, String> {
        let bytes = std::fs::metadata(from).map_err(|error| format!("{}: {error}", from.display()))?.len();
        let objects = stream::iter(Objects { lines: lines_in(from)?, heading: None });
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

impl Holder {
    fn kind(&self) -> &'static str {
        match self {
            Self::Room(_) => "room",
            Self::Domain(_) => "domain",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Room(name) | Self::Domain(name) => name,
        }
    }
}

/// A file of many objects, one after the other.
struct Objects<L> {
    lines: L,
    /// Of the object whose lines come next.
    heading: Option<Holder>,
}

impl<L: Iterator<Item = Result<String, String>>> Iterator for Objects<L> {
    type Item = Result<(Holder, Vec<String>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut gathered = Vec::new();
        for line in self.lines.by_ref() {
            let line = match line {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let Ok(Heading { holder }) = serde_json::from_str(&line) else {
                gathered.push(line);
                continue;
            };
            if let Some(done) = self.heading.replace(holder) {
                return Some(Ok((done, gathered)));
            }
        }
        self.heading.take().map(|done| Ok((done, gathered)))
    }
}

fn parts(lines: &[String]) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in lines {
        if parts.last().is_some_and(|part| part.len() + line.len() > PART_BYTES && !part.is_empty()) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// Not one of what tables are, and not of the version that every object has.
fn is_row(line: &str) -> bool {
    line.starts_with("{\"table\":") && !line.starts_with("{\"table\":\"schema_version\"")
}

fn size_of(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.len() as u64 + 1).sum()
}

fn lines_in(path: &Path) -> Result<impl Iterator<Item = Result<String, String>> + use<>, String> {
    let unreadable = format!("{} cannot be read: ", path.display());
    let file = File::open(path).map_err(|error| format!("{unreadable}{error}"))?;
    Ok(BufReader::new(file).lines().map(move |line| line.map_err(|error| format!("{unreadable}{error}"))))
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

/// What the service has against it, in its own words.
async fn checked(response: Response) -> Result<Response, String> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    let why = serde_json::from_str::<Json>(&body).ok();
    let why = why.as_ref().and_then(|body| body.get("error")).map(|error| match error {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    });
    Err(match (status, why) {
        (StatusCode::NOT_FOUND, _) => {
            "there is no archive at that address; is it a Worker of this release? A service on one machine is exported there, with weeziq export".into()
        }
        (_, Some(why)) => format!("{status}: {why}"),
        (_, None) => format!("{status}: {body}"),
    })
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, String> {
    let body = response.bytes().await.map_err(|error| chain(&error))?;
    serde_json::from_slice(&body).map_err(said)
}

fn chain(error: &reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    said
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
