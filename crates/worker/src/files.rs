//! Files in R2: taken and given a piece at a time, never whole in memory. An object there says of itself what it is and which
//! room it belongs to, so handing it out asks nobody else; its row in the room's object says whether a message names it.

mod bodies;
mod writing;

use std::cell::RefCell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use weeziq_core::access::identity::Identity;
use weeziq_core::files::serving::{Conditions, Served, Span, content_range, headers};
use weeziq_core::files::{FileKey, Owners, Receiving, Stored, Upload, too_large};
use weeziq_core::ids::{DomainId, RoomId, UserId};
use weeziq_core::limits::UPLOAD_MS_MAX;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use worker::{Env, Object, Range, Request, Response, ResponseBuilder, Result, console_error};

use crate::clock::{Clock, entropy};
use crate::places::Place;
use crate::reply;
use crate::settings::Settings;
use bodies::Source;
use writing::Writing;

pub(crate) const BINDING: &str = "FILE_STORAGE";
/// In one isolate: each holds a part in memory, of which there are 128 MiB.
const UPLOADS_MAX: usize = 8;
const RETRY_AFTER_MS: u64 = 1_000;

type Answer = Result<std::result::Result<Response, ClientError>>;

/// What a room's object is told of its files.
#[derive(Serialize, Deserialize)]
pub(crate) enum FileWord {
    /// Answered with the site that the file is of.
    Reserve {
        key: FileKey,
        upload: Upload,
        by: Identity,
    },
    Finish(Stored),
    Doom {
        key: FileKey,
    },
}

thread_local! {
    /// When each upload of this isolate began. A client that goes away takes its request with it, without a word to anybody, so an
    /// entry counts no longer than an upload may take.
    static UPLOADS: RefCell<HashMap<FileKey, i64>> = RefCell::default();
}

/// A raw body with `?name=`, or a form with the part `file`.
pub(crate) async fn put(mut request: Request, env: &Env, settings: &Settings, caller: &Identity) -> Answer {
    let mut source = Source::new(&mut request);
    let key = FileKey::from_entropy(entropy(), entropy());
    let taken = match begin(&key) {
        true => match announced(&request, settings, caller)? {
            Ok(upload) => take(env, (settings, caller), &key, upload, &mut source).await,
            Err(error) => Ok(Err(error)),
        },
        false => Ok(Err(ClientError::rate_limited("uploads at a time", RETRY_AFTER_MS))),
    };
    source.drain().await;
    UPLOADS.with_borrow_mut(|uploads| uploads.remove(&key));
    taken
}

/// What the request says of its file.
fn announced(
    request: &Request,
    settings: &Settings,
    caller: &Identity,
) -> Result<std::result::Result<Upload, ClientError>> {
    let url = request.url()?;
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned()));
    let mut upload = match Upload::parse(query) {
        Ok(upload) => upload,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = upload.authorise(caller) {
        return Ok(Err(error));
    }
    upload.content_type = request.headers().get("content-type")?.map(Into::into);
    let is_form = upload.content_type.as_deref().is_some_and(|kind| kind.starts_with("multipart/form-data"));
    let declared = request.headers().get("content-length")?.and_then(|size| size.parse::<u64>().ok());
    Ok(match declared {
        Some(size) if !is_form && size > settings.files.bytes_max => Err(too_large(settings.files.bytes_max)),
        _ => Ok(upload),
    })
}

fn begin(key: &FileKey) -> bool {
    let now = Clock::default().now().0;
    UPLOADS.with_borrow_mut(|uploads| {
        uploads.retain(|_, begun| now - *begun < UPLOAD_MS_MAX);
        uploads.len() < UPLOADS_MAX && uploads.insert(key.clone(), now).is_none()
    })
}

async fn take(
    env: &Env,
    (settings, caller): (&Settings, &Identity),
    key: &FileKey,
    mut upload: Upload,
    source: &mut Source,
) -> Answer {
    if let Err(error) = source.find_file(&mut upload, settings.files.bytes_max).await {
        return Ok(Err(error));
    }
    let name: Box<str> = match upload.named() {
        Ok(name) => name.into(),
        Err(error) => return Ok(Err(error)),
    };
    let room = upload.room.clone();
    if let Some(room) = &room {
        let reserve = FileWord::Reserve { key: key.clone(), upload: upload.clone(), by: caller.clone() };
        let mut response = ask(env, room, &reserve).await?;
        if response.status_code() != 200 {
            return Ok(Ok(response));
        }
        upload.domain = serde_json::from_str(&response.text().await?)?;
    }
    let claimed = upload.content_type.clone();
    let mut writing = Writing::new(env.bucket(BINDING)?, key.clone(), upload.clone());
    let mut receiving = Receiving::new(&settings.files, claimed.as_deref());
    let received = async {
        while let Some(piece) = source.next().await? {
            receiving.take(&piece)?;
            writing.write(&piece, &receiving).await.map_err(refused_by)?;
        }
        receiving.check()
    };
    let received: std::result::Result<(), ClientError> = received.await;
    let seen = match received {
        Ok(()) => {
            let seen = receiving.finish();
            writing.complete(&seen).await.map_err(refused_by).map(|()| seen)
        }
        Err(error) => Err(error),
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            writing.abort().await;
            tell(env, room.as_ref(), &FileWord::Doom { key: key.clone() }).await?;
            return Ok(Err(error));
        }
    };
    let stored = Stored { key: key.clone(), name, seen };
    let body = stored.body();
    if let Some(refusal) = tell(env, room.as_ref(), &FileWord::Finish(stored)).await? {
        env.bucket(BINDING)?.delete(key.as_str()).await?;
        return Ok(Ok(refusal));
    }
    Ok(Ok(reply::json(&body)?.with_status(201)))
}

/// What the room has against it, if anything.
async fn tell(env: &Env, room: Option<&RoomId>, word: &FileWord) -> Result<Option<Response>> {
    let Some(room) = room else { return Ok(None) };
    let response = ask(env, room, word).await?;
    Ok((response.status_code() != 200).then_some(response))
}

async fn ask(env: &Env, room: &RoomId, word: &FileWord) -> Result<Response> {
    Place::Room(room.clone()).post(env, "/files", &serde_json::to_string(word)?).await
}

pub(crate) async fn get(request: &Request, key: &str, env: &Env, caller: &Identity) -> Answer {
    let Some(key) = FileKey::parse(key) else { return Ok(Err(no_such_file())) };
    let header = |name| request.headers().get(name);
    let (if_none_match, range, if_range) = (header("if-none-match")?, header("range")?, header("if-range")?);
    let bucket = env.bucket(BINDING)?;
    let conditions = Conditions {
        if_none_match: if_none_match.as_deref(),
        range: range.as_deref(),
        if_range: if_range.as_deref(),
    };
    let is_plain = conditions.if_none_match.is_none() && conditions.range.is_none();
    let found = match is_plain {
        true => bucket.get(key.as_str()).execute().await?,
        // Which part it comes to depends on what it is.
        false => bucket.head(key.as_str()).await?,
    };
    let Some(found) = found else { return Ok(Err(key.not_found())) };
    if let Err(error) = owners(&found)?.may_read(caller, &key) {
        return Ok(Err(error));
    }
    let size = found.size();
    match conditions.decide(&found.http_etag(), size) {
        Served::Whole if is_plain => with_body(&found, 200, size, None),
        Served::Whole => match bucket.get(key.as_str()).execute().await? {
            Some(whole) => with_body(&whole, 200, whole.size(), None),
            None => Ok(Err(key.not_found())),
        },
        Served::Part(span) => {
            let range = Range::OffsetWithLength { offset: span.from, length: span.len };
            match bucket.get(key.as_str()).range(range).execute().await? {
                Some(part) => with_body(&part, 206, size, Some(span)),
                None => Ok(Err(key.not_found())),
            }
        }
        Served::NotModified => Ok(Ok(described(&found)?.with_status(304).empty())),
        Served::Unsatisfiable => {
            let response = described(&found)?.with_status(416);
            Ok(Ok(response.with_header("content-range", &content_range(None, size))?.empty()))
        }
    }
}

fn with_body(found: &Object, status: u16, size: u64, span: Option<Span>) -> Answer {
    let mut response = described(found)?.with_status(status);
    if let Some(span) = span {
        response = response.with_header("content-range", &content_range(Some(span), size))?;
    }
    let len = span.map_or(size, |span| span.len);
    let response = response.with_header("content-length", &len.to_string())?;
    let Some(body) = found.body() else { return Ok(Err(ClientError::unavailable())) };
    Ok(Ok(response.body(body.response_body()?)))
}

fn described(found: &Object) -> Result<ResponseBuilder> {
    let kind = found.http_metadata().content_type.unwrap_or_default();
    let name = found.custom_metadata()?.remove("name").unwrap_or_else(|| "file".into());
    headers(&name, &kind, &found.http_etag())
        .into_iter()
        .try_fold(ResponseBuilder::new(), |response, (name, value)| response.with_header(name, &value))
}

pub(crate) async fn delete(key: &str, env: &Env, caller: &Identity) -> Answer {
    let Some(key) = FileKey::parse(key) else { return Ok(Err(no_such_file())) };
    let bucket = env.bucket(BINDING)?;
    let Some(found) = bucket.head(key.as_str()).await? else { return Ok(Err(key.not_found())) };
    let owners = owners(&found)?;
    if let Err(error) = owners.may_delete(caller, &key) {
        return Ok(Err(error));
    }
    tell(env, owners.room.as_ref(), &FileWord::Doom { key: key.clone() }).await?;
    bucket.delete(key.as_str()).await?;
    reply::json(&serde_json::json!({ "success": true, "key": key })).map(Ok)
}

/// Whose it is, as the object says.
fn owners(found: &Object) -> Result<Owners> {
    let mut known = found.custom_metadata()?;
    Ok(Owners {
        room: known.remove("roomId").map(|room| RoomId::known(&room)),
        domain: known.remove("domainId").and_then(|domain| DomainId::parse(&domain)),
        user: known.remove("userId").and_then(|user| UserId::parse(&user)),
    })
}

fn no_such_file() -> ClientError {
    ClientError::new(ErrorCode::NotFound, "there is no such file")
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err calls")]
fn refused_by(error: worker::Error) -> ClientError {
    console_error!("R2 refused: {error}");
    ClientError::unavailable()
}

/// Whether the bucket can be reached. A key that no file has costs the same and is never there.
pub(crate) async fn answer(env: &Env) -> bool {
    let Ok(bucket) = env.bucket(BINDING) else { return false };
    bucket.head("ready").await.is_ok()
}
