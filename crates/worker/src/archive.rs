//! Everything that this deployment holds, for `weeziq export --from` and `weeziq import --to`: which rooms and domains there
//! are, the rows of each, who has proved who they are, and the bytes of files. Only for admins of all domains, and never in open mode.

mod rows;

use std::collections::HashMap;

use js_sys::decode_uri_component;
use serde::{Deserialize, Serialize};
use serde_json::json;
use weeziq_core::access::identity::Identity;
use weeziq_core::files::FileKey;
use weeziq_core::ids::{DomainId, ID_RULE, RoomId};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::query::Query;
use worker::{Bucket, Env, HttpMetadata, Include, Method, Request, Response, ResponseBuilder};

pub(crate) use self::rows::{Left, Loaded, dump, load};
use crate::files::BINDING;
use crate::http::{Answer, bytes_of, method_of, nothing_at, text};
use crate::identity::{keep_proven, list_proven};
use crate::places::Place;
use crate::reply;

/// An object that keeps what the service is for. The others count and cache.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "camelCase")]
pub(crate) enum Holder {
    Room(RoomId),
    Domain(DomainId),
}

impl Holder {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Room(room) => Place::Room(room.clone()),
            Self::Domain(domain) => Place::Domain(domain.clone()),
        }
    }

    fn parse(kind: &str, name: &str) -> std::result::Result<Option<Self>, ClientError> {
        let parsed = match kind {
            "room" => Some(Self::Room(RoomId::known(name))),
            "domain" => DomainId::parse(name).map(Self::Domain),
            _ => return Ok(None),
        };
        parsed.filter(|_| !name.is_empty()).map(Some).ok_or_else(|| ClientError::invalid("name", ID_RULE))
    }
}

/// What R2 knows of a file beside its bytes.
#[derive(Serialize, Deserialize)]
struct Known {
    key: FileKey,
    size: u64,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    about: HashMap<String, String>,
}

/// A page of rows has some 2 MiB, and one row may have another.
const LOADED_BYTES_MAX: usize = 16 * 1024 * 1024;
const FILES_AT_ONCE: u32 = 500;
/// Each is a write of KV, and a request may ask for only so many things.
const USERS_AT_ONCE: usize = 40;

pub(crate) fn methods(path: &str) -> Option<&'static str> {
    match path.strip_prefix("/archive/")?.split('/').collect::<Vec<_>>()[..] {
        ["holders" | "files"] => Some("GET"),
        ["users"] => Some("GET, PUT"),
        ["room" | "domain" | "files", name] if !name.is_empty() => Some("GET, PUT"),
        _ => None,
    }
}

pub(crate) async fn serve(request: &mut Request, env: &Env, caller: &Identity) -> Answer {
    if caller.is_open() {
        let why = "everything is told to admins only, and in open mode anybody is one: set AUTH_SECRET or AUTH_PUBLIC_KEY";
        return Ok(Err(ClientError::new(ErrorCode::Forbidden, why)));
    }
    if let Err(error) = caller.require_admin(None) {
        return Ok(Err(error));
    }
    let (path, query) = (request.path(), request.url()?.query().unwrap_or_default().to_owned());
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    match (method_of(request), parts[..].as_ref()) {
        (Method::Get, ["holders"]) => Place::Registry.post(env, "/holders", &query).await.map(Ok),
        (Method::Get, ["users"]) => {
            let after = Query::parse(&query).get("after").map(str::to_owned);
            let (users, next) = list_proven(env, after).await?;
            reply::json(&json!({ "users": users, "next": next })).map(Ok)
        }
        (_, ["users"]) => {
            let body = text(request).await?.and_then(|text| {
                serde_json::from_str::<Vec<String>>(&text).map_err(|_| {
                    ClientError::invalid("body", "must be an array of what GET /archive/users lists")
                })
            });
            match body {
                Ok(users) if users.len() > USERS_AT_ONCE => {
                    Ok(Err(ClientError::invalid("body", &format!("must have {USERS_AT_ONCE} users at most"))))
                }
                Ok(users) => match keep_proven(env, &users).await? {
                    true => reply::json(&json!({ "success": true })).map(Ok),
                    false => Ok(Err(ClientError::invalid("body", "must hold nothing but users"))),
                },
                Err(error) => Ok(Err(error)),
            }
        }
        (Method::Get, ["files"]) => list_files(&env.bucket(BINDING)?, &query).await,
        (method, ["files", key]) => match FileKey::parse(key) {
            Some(key) if method == Method::Get => read_file(&env.bucket(BINDING)?, &key).await,
            Some(key) => keep_file(request, &env.bucket(BINDING)?, key, &query).await,
            None => Ok(Err(ClientError::new(ErrorCode::NotFound, "there is no such file"))),
        },
        (method, [kind, name]) => {
            let name = decode_uri_component(name).ok().and_then(|name| name.as_string()).unwrap_or_default();
            let holder = match Holder::parse(kind, &name) {
                Ok(Some(holder)) => holder,
                Ok(None) => return Ok(Err(nothing_at(&path))),
                Err(error) => return Ok(Err(error)),
            };
            if method == Method::Get {
                return holder.place().post(env, "/dump", &query).await.map(Ok);
            }
            let lines = match bytes_of(request, LOADED_BYTES_MAX).await? {
                Ok(Some(bytes)) => String::from_utf8(bytes).unwrap_or_default(),
                Ok(None) => return Ok(Err(too_large())),
                Err(error) => return Ok(Err(error)),
            };
            holder.place().post(env, &format!("/load?{query}"), &lines).await.map(Ok)
        }
        _ => Ok(Err(nothing_at(&path))),
    }
}

fn too_large() -> ClientError {
    ClientError::new(ErrorCode::TooLarge, format!("the body must have {LOADED_BYTES_MAX} bytes at most"))
}

async fn list_files(bucket: &Bucket, query: &str) -> Answer {
    let mut listing = bucket.list().limit(FILES_AT_ONCE);
    listing = listing.include(vec![Include::CustomMetadata, Include::HttpMetadata]);
    if let Some(cursor) = Query::parse(query).get("after") {
        listing = listing.cursor(cursor);
    }
    let page = listing.execute().await?;
    let mut files = Vec::new();
    for object in page.objects() {
        // Whatever else is in the bucket is not ours.
        if let Some(key) = FileKey::parse(&object.key()) {
            let (content_type, about) = (object.http_metadata().content_type, object.custom_metadata()?);
            files.push(Known { key, size: object.size(), content_type, about });
        }
    }
    reply::json(&json!({ "files": files, "next": page.cursor().filter(|_| page.truncated()) })).map(Ok)
}

async fn read_file(bucket: &Bucket, key: &FileKey) -> Answer {
    let Some(found) = bucket.get(key.as_str()).execute().await? else { return Ok(Err(key.not_found())) };
    let Some(body) = found.body() else { return Ok(Err(ClientError::unavailable())) };
    let response = ResponseBuilder::new().with_header("content-length", &found.size().to_string())?;
    let response = response.with_header("content-type", "application/octet-stream")?;
    Ok(Ok(response.body(body.response_body()?)))
}

/// The bytes go straight through: the sender says how many there are.
async fn keep_file(request: &Request, bucket: &Bucket, key: FileKey, query: &str) -> Answer {
    let said = Query::parse(query).get("file").map(str::to_owned).unwrap_or_default();
    let Ok(known) = serde_json::from_str::<Known>(&said) else {
        return Ok(Err(ClientError::invalid("file", "must be what GET /archive/files said of it, as JSON")));
    };
    let Some(body) = request.inner().body() else {
        return Ok(Err(ClientError::invalid("body", "must be the bytes of the file")));
    };
    let kind = HttpMetadata { content_type: known.content_type, ..HttpMetadata::default() };
    let kept = bucket.put(key.as_str(), body).http_metadata(kind).custom_metadata(known.about);
    kept.execute().await?;
    reply::json(&json!({ "success": true, "key": key })).map(Ok::<Response, ClientError>)
}
