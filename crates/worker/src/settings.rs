//! Vars and secrets, under the names that the native host takes from its environment.

use weeziq_core::Policy;
use weeziq_core::access::origins::Origins;
use weeziq_core::access::rate::Quota;
use weeziq_core::access::secret::Secret;
use weeziq_core::ai::asking::{Endpoint, Patience, Providers};
use weeziq_core::ai::models::Models;
use weeziq_core::limits::{EVENTS_BURST, EVENTS_PER_SECOND};
use worker::Env;

pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) events: Quota,
    pub(crate) ai_per_address: Quota,
    pub(crate) origins: Origins,
    pub(crate) providers: Providers,
    pub(crate) patience: Patience,
}

/// Settings of the contract that this release cannot keep yet. Taking one silently would promise what is not so.
const NOT_YET: &[&str] = &["AUTH_SECRET", "AI_MODELS", "AI_DAILY_TOKENS"];

impl Settings {
    /// The error is a sentence that names the setting.
    pub(crate) fn read(env: &Env) -> Result<Self, String> {
        if let Some(name) = NOT_YET.iter().find(|name| text(env, name).is_some()) {
            return Err(format!("{name} is set, but this release does not support it yet; remove it"));
        }
        let (openai_url, google_url) = (url(env, "OPENAI_BASE_URL")?, url(env, "GOOGLE_AI_BASE_URL")?);
        let key = |name| text(env, name).map(Secret::from);
        let (openai_key, google_key) = (key("OPENAI_API_KEY"), key("GOOGLE_AI_API_KEY"));
        let (openai, google) =
            (openai_key.is_some() || openai_url.is_some(), google_key.is_some() || google_url.is_some());
        let default = text(env, "AI_DEFAULT_MODEL");
        let default = default.as_deref().unwrap_or(Models::default_for(openai, google)).into();
        let models = Models { default, openai, google };
        models.route(None).map_err(|error| format!("AI_DEFAULT_MODEL: {}", error.message))?;
        let events = number(env, "EVENTS_PER_SEC", EVENTS_PER_SECOND)?;
        let burst = if events == EVENTS_PER_SECOND { EVENTS_BURST } else { events.saturating_mul(2) };
        let per_minute = |name, default| number(env, name, default).map(Quota::per_minute);
        Ok(Self {
            policy: Policy {
                models,
                context_messages: number(env, "AI_CONTEXT_MESSAGES", 10)?.max(1) as usize,
                ai_per_user: per_minute("AI_PER_USER_PER_MIN", 20)?,
            },
            events: Quota::per_second(events, burst),
            ai_per_address: per_minute("AI_PER_IP_PER_MIN", 300)?,
            origins: origins(env)?,
            providers: Providers {
                openai: Endpoint::new(openai_url.as_deref(), Providers::OPENAI_URL, openai_key),
                google: Endpoint::new(google_url.as_deref(), Providers::GOOGLE_URL, google_key),
            },
            patience: Patience {
                first_token_ms: i64::from(number(env, "AI_FIRST_TOKEN_MS", 10_000)?),
                total_ms: i64::from(number(env, "AI_TOTAL_MS", 60_000)?),
            },
        })
    }
}

fn origins(env: &Env) -> Result<Origins, String> {
    let is_production = text(env, "NODE_ENV").as_deref() == Some("production");
    match (text(env, "ALLOWED_ORIGINS"), is_production) {
        (Some(list), _) => Origins::parse(&list).map_err(|why| format!("ALLOWED_ORIGINS {why}")),
        (None, true) => Ok(Origins::SameOrigin),
        (None, false) => Ok(Origins::Any),
    }
}

/// An empty value counts as none. Vars and secrets are read alike.
fn text(env: &Env, name: &str) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string()).filter(|value| !value.is_empty())
}

fn number(env: &Env, name: &str, default: u32) -> Result<u32, String> {
    text(env, name).map_or(Ok(default), |value| {
        value.trim().parse().map_err(|_| format!("{name} must be a whole number, and is {value:?}"))
    })
}

fn url(env: &Env, name: &str) -> Result<Option<String>, String> {
    let given = text(env, name);
    let is_url =
        |text: &String| worker::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    match given {
        Some(text) if !is_url(&text) => {
            Err(format!("{name} must be a URL such as http://localhost:11434/v1"))
        }
        given => Ok(given),
    }
}
