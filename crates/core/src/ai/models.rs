//! Which model answers, and who provides it.

use std::sync::Arc;

use super::model::Provider;
use crate::protocol::error::{ClientError, ErrorCode};

/// The providers that a host can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models {
    /// For requests that name no model.
    pub default: Arc<str>,
    pub openai: bool,
    pub google: bool,
}

/// A model at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub provider: Provider,
    pub model: Arc<str>,
}

impl Models {
    /// The default where nothing else is set: what applications written for the original service expect, unless
    /// only Google can answer.
    pub fn default_for(openai: bool, google: bool) -> &'static str {
        if google && !openai { "gemini-2.5-flash" } else { "gpt-3.5-turbo" }
    }

    /// Without any provider the built-in demo answers for each of them, and says so.
    pub fn route(&self, model: Option<&str>) -> Result<Route, ClientError> {
        let model = model.unwrap_or(&self.default);
        let (provider, reachable) = match Self::family(model) {
            Some(Provider::Google) => (Provider::Google, self.google),
            Some(provider) => (provider, self.openai),
            None => {
                let why = format!("model {model:?} is not supported; use gpt-*, o*, chatgpt-* or gemini-*");
                return Err(ClientError::new(ErrorCode::UnsupportedModel, why));
            }
        };
        let provider = match (reachable, self.openai || self.google) {
            (true, _) => provider,
            (false, false) => Provider::Demo,
            (false, true) => {
                let why = format!(
                    "model {model:?} needs a key for {} that this service does not have",
                    provider.as_str()
                );
                return Err(ClientError::new(ErrorCode::UnsupportedModel, why));
            }
        };
        Ok(Route { provider, model: model.into() })
    }

    fn family(model: &str) -> Option<Provider> {
        let is_reasoning =
            || model.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if model.starts_with("gemini-") {
            Some(Provider::Google)
        } else if model.starts_with("gpt-") || model.starts_with("chatgpt-") || is_reasoning() {
            Some(Provider::OpenAi)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(openai: bool, google: bool, model: Option<&str>) -> Result<Provider, ErrorCode> {
        let models = Models { default: Models::default_for(openai, google).into(), openai, google };
        models.route(model).map(|route| route.provider).map_err(|error| error.code)
    }

    #[test]
    fn models_go_where_they_belong() {
        assert_eq!(check(true, true, None), Ok(Provider::OpenAi));
        assert_eq!(check(false, true, None), Ok(Provider::Google));
        assert_eq!(check(true, true, Some("o3-mini")), Ok(Provider::OpenAi));
        assert_eq!(check(true, true, Some("chatgpt-4o-latest")), Ok(Provider::OpenAi));
        assert_eq!(check(true, true, Some("gemini-2.5-pro")), Ok(Provider::Google));
        assert_eq!(check(true, false, Some("gemini-2.5-pro")), Err(ErrorCode::UnsupportedModel));
        assert_eq!(check(true, true, Some("other")), Err(ErrorCode::UnsupportedModel));
        assert_eq!(check(true, true, Some("olive")), Err(ErrorCode::UnsupportedModel));
        assert_eq!(check(false, false, None), Ok(Provider::Demo));
        assert_eq!(check(false, false, Some("other")), Err(ErrorCode::UnsupportedModel));
    }
}
