//! Documents of a domain over HTTP, what is found in them, and what its answers have cost: the routes in front of the domain's
//! object.

use weeziq_core::access::identity::Identity;
use weeziq_core::domains::{DomainSettings, Retention};
use weeziq_core::ids::DomainId;
use weeziq_core::knowledge::document::{Document, DocumentName};
use weeziq_core::limits::{DOCUMENT_BYTES_MAX, SETTINGS_BYTES_MAX};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::http as wire;
use worker::{Env, Method, Request, Response, Result};

use crate::clock::Clock;
use crate::http::{Answer, bytes_of, domain_named, method_of, segment, text_of};
use crate::places::Place;
use crate::settings::Settings;
use crate::tracker::site::{Upload, Wish};
use crate::zones::TimeZones;
use crate::{domains, reply};

/// What stands behind a domain's name in a path.
enum Route<'a> {
    Settings,
    Widget,
    Documents,
    Search,
    Document(&'a str),
}

fn route(path: &str) -> Option<(&str, Route<'_>)> {
    let mut parts = path.strip_prefix("/domains/")?.split('/');
    let (domain, kind, name) = (parts.next()?, parts.next(), parts.next());
    let route = match (kind, name, parts.next()) {
        (None, None, None) => Route::Settings,
        (Some("widget"), None, None) => Route::Widget,
        (Some("knowledge"), None, None) => Route::Documents,
        (Some("knowledge"), Some("search"), None) => Route::Search,
        (Some("knowledge"), Some(name), None) => Route::Document(name),
        _ => return None,
    };
    Some((domain, route))
}

/// None where there is nothing.
pub(crate) fn methods(path: &str) -> Option<&'static str> {
    Some(match route(path)?.1 {
        Route::Settings => "GET, PUT",
        Route::Widget | Route::Documents | Route::Search => "GET",
        Route::Document(_) => "GET, PUT, DELETE",
    })
}

/// The domain whose widget is asked for, as it is written.
pub(crate) fn widget_of(path: &str) -> Option<&str> {
    route(path).filter(|(_, route)| matches!(route, Route::Widget)).map(|(domain, _)| domain)
}

/// What any visitor's page may know.
pub(crate) async fn widget(env: &Env, domain: &str) -> Answer {
    let domain = match domain_named(domain) {
        Ok(domain) => domain,
        Err(error) => return Ok(Err(error)),
    };
    let settings = domains::read(env, &domain).await?.unwrap_or_default();
    reply::json(&settings.widget(&domain, Clock::default().now(), &TimeZones)).map(Ok)
}

pub(crate) async fn serve(request: &mut Request, env: &Env, caller: &Identity) -> Answer {
    let path = request.path();
    let Some((domain, route)) = route(&path) else { return Ok(Err(crate::http::nothing_at(&path))) };
    let is_read = method_of(request) == Method::Get;
    let is_for_staff = is_read && matches!(route, Route::Settings | Route::Search);
    let allowed = domain_named(domain).and_then(|domain| {
        match is_for_staff {
            true => caller.require_staff(Some(&domain))?,
            false => caller.require_admin(Some(&domain))?,
        }
        Ok(domain)
    });
    let domain = match allowed {
        Ok(domain) => domain,
        Err(error) => return Ok(Err(error)),
    };
    match route {
        Route::Settings if is_read => {
            let settings = domains::read(env, &domain).await?.unwrap_or_default();
            reply::json(&settings.body(&domain)).map(Ok)
        }
        Route::Settings => write_settings(request, env, &domain).await,
        Route::Widget => Ok(Err(crate::http::nothing_at(&path))),
        Route::Documents => wish(env, domain, &Wish::List).await,
        Route::Search => match wire::search_limit(query(request, "limit")?.as_deref()) {
            Ok(limit) => {
                let question = query(request, "q")?.unwrap_or_default();
                wish(env, domain, &Wish::Search { question, limit }).await
            }
            Err(error) => Ok(Err(error)),
        },
        Route::Document(name) => match document_named(name) {
            Ok(name) if is_read => wish(env, domain, &Wish::Read { name }).await,
            Ok(name) if method_of(request) == Method::Put => write_document(request, env, domain, name).await,
            Ok(name) => wish(env, domain, &Wish::Remove { name }).await,
            Err(error) => Ok(Err(error)),
        },
    }
}

async fn write_settings(request: &mut Request, env: &Env, domain: &DomainId) -> Answer {
    let text = text_of(request, SETTINGS_BYTES_MAX).await?;
    let settings = match text.and_then(|text| DomainSettings::parse(&text, &TimeZones)) {
        Ok(settings) => settings,
        Err(error) => return Ok(Err(error)),
    };
    let place = Place::Domain(domain.clone());
    let response = place.post(env, "/site/settings", &settings.to_stored()).await?;
    domains::forget_origins();
    if settings.retention != Retention::default() {
        place.post(env, "/visitors/keep", "").await?;
    }
    Ok(Ok(response))
}

async fn write_document(request: &mut Request, env: &Env, domain: DomainId, name: String) -> Answer {
    let content_type = request.headers().get("content-type")?;
    let bytes = match bytes_of(request, DOCUMENT_BYTES_MAX).await? {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(Document::too_large())),
        Err(error) => return Ok(Err(error)),
    };
    let text = match Document::parse(&name, content_type.as_deref(), bytes) {
        Ok(document) => document.text,
        Err(error) => return Ok(Err(error)),
    };
    let upload = serde_json::to_string(&Upload { name, content_type, text })?;
    Place::Domain(domain).post(env, "/site/document", &upload).await.map(Ok)
}

/// `/stats/domain/:domainId/ai`.
pub(crate) async fn spending(
    request: &Request,
    env: &Env,
    (settings, caller): (&Settings, &Identity),
    path: &str,
) -> Answer {
    let named = path.strip_prefix("/stats/domain/").and_then(|rest| rest.strip_suffix("/ai"));
    let allowed = domain_named(named.unwrap_or_default())
        .and_then(|domain| caller.require_staff(Some(&domain)).map(|()| domain));
    let domain = match allowed {
        Ok(domain) => domain,
        Err(error) => return Ok(Err(error)),
    };
    let (from, to) = (query(request, "from")?, query(request, "to")?);
    wish(env, domain, &Wish::Spending { from, to, daily_tokens: settings.daily_tokens }).await
}

async fn wish(env: &Env, domain: DomainId, wish: &Wish) -> Answer {
    let response: Response =
        Place::Domain(domain).post(env, "/site/wish", &serde_json::to_string(wish)?).await?;
    Ok(Ok(response))
}

fn document_named(encoded: &str) -> std::result::Result<String, ClientError> {
    let name = segment(encoded, encoded)?.unwrap_or_default();
    DocumentName::parse(&name).map(|_| name)
}

fn query(request: &Request, name: &str) -> Result<Option<String>> {
    let url = request.url()?;
    Ok(url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()))
}
