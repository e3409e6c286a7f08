//! A service on Cloudflare as the commands ask it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::objects::Holder;
use super::remote::Remote;

#[derive(Deserialize)]
pub(super) struct Holders {
    pub(super) holders: Vec<Holder>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) lines: String,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct FilesPage {
    pub(super) files: Vec<Json>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct UsersPage {
    pub(super) users: Vec<String>,
    pub(super) next: Option<String>,
}

pub(super) struct Service {
    client: reqwest::Client,
    url: Url,
    token: String,
}

pub(super) const ATTEMPTS: u32 = 5;
const BACK_OFF_MS: u64 = 200;
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

impl Service {
    pub(super) fn at(url: &str, remote: &Remote) -> Result<Self, String> {
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

    pub(super) fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("archive").extend(path);
        }
        url.query_pairs_mut().extend_pairs(query);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// Asks again while the service cannot be reached or says that it is in trouble.
    pub(super) async fn ask(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response, String> {
        let mut attempt = 0;
        loop {
            let answer = self.request(Method::GET, path, query).send().await;
            attempt += 1;
            match answer {
                Ok(response) if response.status().is_server_error() && attempt < ATTEMPTS => {}
                Err(_) if attempt < ATTEMPTS => {}
                answer => {
                    return answer
                        .map_err(|error| format!("{} cannot be reached: {}", self.url, chain(&error)));
                }
            }
            tokio::time::sleep(Duration::from_millis(BACK_OFF_MS << attempt)).await;
        }
    }

    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, String> {
        let response = checked(self.ask(path, query).await?).await?;
        read(response).await.map_err(|error| format!("{} answers something else: {error}", self.url))
    }

    pub(super) async fn holders(&self) -> Result<Vec<Holder>, String> {
        let (mut all, mut after) = (Vec::new(), Some(String::new()));
        while let Some(place) = after {
            let page: Holders = self.json(&["holders"], &[("after", &place)]).await?;
            all.extend(page.holders);
            after = page.next;
        }
        Ok(all)
    }
}

/// What the service has against it, in its own words.
pub(super) async fn checked(response: Response) -> Result<Response, String> {
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

pub(super) async fn read<T: DeserializeOwned>(response: Response) -> Result<T, String> {
    let body = response.bytes().await.map_err(|error| chain(&error))?;
    serde_json::from_slice(&body).map_err(said)
}

pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    said
}

pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
