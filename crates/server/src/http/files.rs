//! Files over HTTP: taken and given a chunk at a time, never whole in memory.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use weeziq_core::access::identity::Identity;
use weeziq_core::files::serving::{Conditions, Served, content_range, headers};
use weeziq_core::files::{FileKey, Receiving, Seen, Stored, Upload, too_large};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::store::files::{self as rows, Owned};

use super::errors::Refused;
use super::identity::Known;
use super::{App, Peer, entropy};
use crate::files::bodies::Source;
use crate::files::{Files, Writing};

pub(super) async fn upload(
    State(app): State<App>,
    Known(caller): Known,
    request: Request,
) -> Result<Response, Refused> {
    let peer = request.extensions().get::<Peer>().copied().ok_or_else(ClientError::internal)?;
    let address = app.address(peer, request.headers());
    let (head, body) = request.into_parts();
    // A task of its own: a client that goes away must not take the clearing up with it.
    let task = tokio::spawn(async move {
        let mut source = Source::new(body);
        let taken = match app.files.places.take(address) {
            Ok(_place) => take(&app, &head, &caller, &mut source).await,
            Err(error) => Err(error),
        };
        source.drain().await;
        taken
    });
    let stored = task.await.map_err(|_| ClientError::internal())??;
    Ok((StatusCode::CREATED, Json(stored.body())).into_response())
}

/// What the request says of its file.
fn announced(head: &Parts, caller: &Identity, bytes_max: u64) -> Result<Upload, ClientError> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let query = query.map_err(|_| ClientError::invalid("query", "must be UTF-8"))?.0;
    let mut upload = Upload::parse(query.into_iter())?;
    upload.authorise(caller)?;
    upload.content_type = text_of(&head.headers, header::CONTENT_TYPE).map(Into::into);
    let is_form = upload.content_type.as_deref().is_some_and(|kind| kind.starts_with("multipart/form-data"));
    let declared = text_of(&head.headers, header::CONTENT_LENGTH).and_then(|size| size.parse::<u64>().ok());
    match declared {
        Some(size) if !is_form && size > bytes_max => Err(too_large(bytes_max)),
        _ => Ok(upload),
    }
}

async fn take(
    app: &App,
    head: &Parts,
    caller: &Identity,
    source: &mut Source,
) -> Result<Stored, ClientError> {
    let mut upload = announced(head, caller, app.files.rules.bytes_max)?;
    source.find_file(&mut upload, app.files.rules.bytes_max).await?;
    let name = upload.named()?.into();
    let key = key_for(app, &upload);
    let shard = app.shards.of(key.as_str());
    let (row, claimed, by) = (key.clone(), upload.content_type.clone(), caller.clone());
    app.rows(shard, move |sql, now| rows::reserve(sql, &row, (upload, &by), now)).await??;
    let received = receive(&app.files, &key, source, claimed.as_deref()).await;
    let seen = match received {
        Ok(seen) => seen,
        Err(error) => {
            discard(app, shard, key);
            return Err(error);
        }
    };
    let stored = Stored { key, name, seen };
    let row = stored.clone();
    let is_wanted = app.rows(shard, move |sql, now| rows::finish(sql, &row, now)).await?;
    if !is_wanted {
        // Here too: a sweep under way may have looked before the bytes were there, and forget the row after that.
        app.files.delete(&stored.key).await;
        app.files.sweep.notify_one();
        return Err(ClientError::new(ErrorCode::NotFound, "the room was erased meanwhile"));
    }
    Ok(stored)
}

async fn receive(
    files: &Arc<Files>,
    key: &FileKey,
    source: &mut Source,
    claimed: Option<&str>,
) -> Result<Seen, ClientError> {
    let mut writing = Writing::new(files, key);
    let mut receiving = Receiving::new(&files.rules, claimed);
    let received = async {
        while let Some(chunk) = source.next().await? {
            receiving.take(&chunk)?;
            writing.write(&chunk).await.map_err(|error| refused_by(&error))?;
        }
        receiving.check()?;
        writing.complete().await.map_err(|error| refused_by(&error))
    };
    match received.await {
        Ok(()) => Ok(receiving.finish()),
        Err(error) => {
            writing.abort().await;
            Err(error)
        }
    }
}

/// Its row waits for the sweeper, which deletes whatever there is of it.
fn discard(app: &App, shard: usize, key: FileKey) {
    let app = app.clone();
    tokio::spawn(async move {
        let doomed = app.rows(shard, move |sql, _| rows::doom(sql, &key)).await;
        if doomed.is_ok() {
            app.files.sweep.notify_one();
        }
    });
}

pub(super) async fn read(
    State(app): State<App>,
    Known(caller): Known,
    Path(key): Path<String>,
    asked: HeaderMap,
) -> Result<Response, Refused> {
    let (key, Owned { file, owners, .. }) = find(&app, &key).await?;
    owners.may_read(&caller, &key)?;
    let Seen { size, sha256, looks } = file.seen;
    let etag = format!("\"{sha256}\"");
    let conditions = Conditions {
        if_none_match: text_of(&asked, header::IF_NONE_MATCH),
        range: text_of(&asked, header::RANGE),
        if_range: text_of(&asked, header::IF_RANGE),
    };
    let (status, span) = match conditions.decide(&etag, size) {
        Served::Whole => (StatusCode::OK, None),
        Served::Part(span) => (StatusCode::PARTIAL_CONTENT, Some(span)),
        Served::NotModified => (StatusCode::NOT_MODIFIED, None),
        Served::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, None),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers(&file.name, &looks.content_type, &etag) {
        response = response.header(name, value);
    }
    if matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) {
        response = response.header(header::CONTENT_RANGE, content_range(span, size));
    }
    let has_body = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    let body = match has_body {
        true => {
            response = response.header(header::CONTENT_LENGTH, span.map_or(size, |span| span.len));
            let bytes = app.files.read(&key, span).await.map_err(|error| refused_by(&error))?;
            Body::from_stream(bytes.ok_or_else(|| key.not_found())?)
        }
        false => Body::empty(),
    };
    response.body(body).map_err(|_| ClientError::internal().into())
}

pub(super) async fn delete(
    State(app): State<App>,
    Known(caller): Known,
    Path(key): Path<String>,
) -> Result<Json<serde_json::Value>, Refused> {
    let (key, owned) = find(&app, &key).await?;
    owned.owners.may_delete(&caller, &key)?;
    let (row, shard) = (key.clone(), app.shards.of(key.as_str()));
    if !app.rows(shard, move |sql, _| rows::doom(sql, &row)).await? {
        return Err(key.not_found().into());
    }
    app.files.sweep.notify_one();
    Ok(Json(json!({ "success": true, "key": key })))
}

async fn find(app: &App, key: &str) -> Result<(FileKey, Owned), ClientError> {
    // What was never given out is not worth a question.
    let missing = || ClientError::new(ErrorCode::NotFound, "there is no such file");
    let key = FileKey::parse(key).ok_or_else(missing)?;
    let row = key.clone();
    let found = app.rows(app.shards.of(key.as_str()), move |sql, _| rows::find(sql, &row)).await?;
    found.map(|owned| (key.clone(), owned)).ok_or_else(|| key.not_found())
}

/// One that the room's own shard is found by: there a message is held against it.
fn key_for(app: &App, upload: &Upload) -> FileKey {
    let shard = upload.room.as_ref().map(|room| app.shards.of(room.as_str()));
    loop {
        let key = FileKey::from_entropy(entropy(), entropy());
        if shard.is_none_or(|shard| shard == app.shards.of(key.as_str())) {
            return key;
        }
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refused_by(error: &object_store::Error) -> ClientError {
    tracing::error!(%error, "the store of files refused");
    ClientError::unavailable()
}
