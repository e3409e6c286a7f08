//! Which model answers, where it is, and which others answer if it does not.

use std::sync::Arc;

use super::model::Provider;
use crate::protocol::error::{ClientError, ErrorCode};

/// The models that a host can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models {
    /// For requests that name no model.
    pub default: Arc<str>,
    openai: bool,
    google: bool,
    /// What `AI_MODELS` says, which goes before the families of names below.
    mapped: Vec<Mapped>,
}

/// An entry of `AI_MODELS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub(super) name: Pattern,
    pub(super) provider: Provider,
    /// None: as it was asked for.
    pub(super) model: Option<Arc<str>>,
    pub(super) endpoint: EndpointId,
    pub(super) fallbacks: Vec<Arc<str>>,
    pub(super) has_tools: bool,
}

/// A model's name, or what it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(Arc<str>),
    Prefix(Arc<str>),
}

/// Which of the host's endpoints: an index into [`super::endpoints::Providers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId(pub(super) usize);

/// A model at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub provider: Provider,
    /// The name that the provider knows it by.
    pub model: Arc<str>,
    pub endpoint: EndpointId,
    /// Whether it may be offered tools: some servers refuse a request that has any.
    pub has_tools: bool,
}

impl EndpointId {
    pub const OPENAI: Self = Self(0);
    pub const GOOGLE: Self = Self(1);

    /// Its place among them.
    pub fn number(self) -> usize {
        self.0
    }
}

impl Models {
    /// Those whose names tell their provider. The default where nothing else is set is what applications written for
    /// the original service expect, unless only Google can answer.
    pub fn new(default: Option<&str>, openai: bool, google: bool) -> Self {
        let usual = if google && !openai { "gemini-2.5-flash" } else { "gpt-3.5-turbo" };
        Self { default: default.unwrap_or(usual).into(), openai, google, mapped: Vec::new() }
    }

    pub(super) fn with(self, mapped: Vec<Mapped>) -> Self {
        Self { mapped, ..self }
    }

    /// Who answers at an endpoint; None if nobody is asked there.
    pub(super) fn provider_at(&self, endpoint: EndpointId) -> Option<Provider> {
        match endpoint {
            EndpointId::OPENAI if self.openai => Some(Provider::OpenAi),
            EndpointId::GOOGLE if self.google => Some(Provider::Google),
            _ => self.mapped.iter().find(|mapped| mapped.endpoint == endpoint).map(|mapped| mapped.provider),
        }
    }

    /// Whether only the built-in demo answers.
    pub fn is_demo(&self) -> bool {
        !self.openai && !self.google && self.mapped.is_empty()
    }

    /// The models to ask, one after the other: never none. Without any provider the built-in demo answers for each of
    /// them, and says so.
    pub fn routes(&self, model: Option<&str>) -> Result<Vec<Route>, ClientError> {
        let model = model.unwrap_or(&self.default);
        let mut routes = vec![self.route(model)?];
        let fallbacks = self.mapped(model).map(|mapped| mapped.fallbacks.as_slice()).unwrap_or_default();
        for fallback in fallbacks {
            let route = self.route(fallback)?;
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        Ok(routes)
    }

    fn route(&self, model: &str) -> Result<Route, ClientError> {
        if let Some(Mapped { provider, model: named, endpoint, has_tools, .. }) = self.mapped(model) {
            let model = named.clone().unwrap_or_else(|| model.into());
            return Ok(Route { provider: *provider, model, endpoint: *endpoint, has_tools: *has_tools });
        }
        let (provider, endpoint, reachable) = match Self::family(model) {
            Some(Provider::Google) => (Provider::Google, EndpointId::GOOGLE, self.google),
            Some(provider) => (provider, EndpointId::OPENAI, self.openai),
            None => return Err(self.unsupported(model)),
        };
        let provider = match (reachable, !self.is_demo()) {
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
        Ok(Route { provider, model: model.into(), endpoint, has_tools: true })
    }

    /// The exact name goes before a prefix, and of those the longest.
    fn mapped(&self, model: &str) -> Option<&Mapped> {
        let fit = |mapped: &&Mapped| mapped.name.fit(model);
        self.mapped.iter().filter(|mapped| fit(mapped).is_some()).max_by_key(fit)
    }

    fn unsupported(&self, model: &str) -> ClientError {
        let own = if self.mapped.is_empty() { "" } else { ", or a model of AI_MODELS" };
        let why = format!("model {model:?} is not supported; use gpt-*, o*, chatgpt-* or gemini-*{own}");
        ClientError::new(ErrorCode::UnsupportedModel, why)
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

impl Pattern {
    /// How well it fits, if it does.
    fn fit(&self, model: &str) -> Option<usize> {
        match self {
            Self::Exact(name) => (**name == *model).then_some(usize::MAX),
            Self::Prefix(prefix) => model.starts_with(&**prefix).then_some(prefix.len()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A model at a provider's usual place.
    pub(crate) fn route(provider: Provider, model: &str) -> Route {
        let endpoint = if provider == Provider::Google { EndpointId::GOOGLE } else { EndpointId::OPENAI };
        Route { provider, model: model.into(), endpoint, has_tools: true }
    }

    fn check(openai: bool, google: bool, model: Option<&str>) -> Result<Provider, ErrorCode> {
        let routed = Models::new(None, openai, google).routes(model).map_err(|error| error.code)?;
        let [route] = routed.as_slice() else { panic!("one model, {routed:?}") };
        Ok(route.provider)
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
