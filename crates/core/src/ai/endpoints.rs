//! Where models are asked and with which key, and what the settings say of it: the same on both hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::asking::Reading;
use super::model::{ModelRequest, Provider, ProviderCall};
use super::models::{EndpointId, Mapped, Models, Pattern, Route};
use super::{gemini, openai};
use crate::access::secret::Secret;

/// Every endpoint that a model may be asked at.
#[derive(Clone)]
pub struct Providers(Vec<Endpoint>);

#[derive(Clone, PartialEq)]
struct Endpoint {
    base_url: String,
    key: Option<Secret>,
}

/// A request for the names of an endpoint's models.
pub struct Listing {
    pub url: String,
    /// With the key, if there is one.
    pub header: Option<(&'static str, String)>,
}

/// What is set, as it came; an empty setting counts as none.
#[derive(Default)]
pub struct AiSettings {
    pub openai_key: Option<Secret>,
    pub google_key: Option<Secret>,
    pub openai_url: Option<String>,
    pub google_url: Option<String>,
    pub default_model: Option<String>,
    /// `AI_MODELS`.
    pub models: Option<String>,
}

/// A value of `AI_MODELS`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    provider: String,
    model: Option<String>,
    base_url: Option<String>,
    api_key_env: Option<String>,
    #[serde(default)]
    fallbacks: Vec<String>,
    tools: Option<bool>,
}

const OPENAI_URL: &str = "https://api.openai.com/v1";
const GOOGLE_URL: &str = "https://generativelanguage.googleapis.com";
/// A visitor does not wait for more.
const FALLBACKS_MAX: usize = 8;

impl AiSettings {
    /// The models and where they are. `env` reads a setting by its name, for keys that `AI_MODELS` names. The error is
    /// a sentence for the operator, without any key.
    pub fn read(self, env: &dyn Fn(&str) -> Option<String>) -> Result<(Models, Providers), String> {
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let key = |key: Option<Secret>| key.filter(|key| !key.reveal().is_empty());
        let (openai_url, google_url) = (set(self.openai_url), set(self.google_url));
        check_url("OPENAI_BASE_URL", openai_url.as_deref())?;
        check_url("GOOGLE_AI_BASE_URL", google_url.as_deref())?;
        let (openai_key, google_key) = (key(self.openai_key), key(self.google_key));
        let openai = openai_key.is_some() || openai_url.is_some();
        let google = google_key.is_some() || google_url.is_some();
        let mut providers = Providers(vec![
            Endpoint { base_url: openai_url.unwrap_or_else(|| OPENAI_URL.into()), key: openai_key },
            Endpoint { base_url: google_url.unwrap_or_else(|| GOOGLE_URL.into()), key: google_key },
        ]);
        let default = set(self.default_model);
        let mut models = Models::new(default.as_deref(), openai, google);
        if let Some(json) = set(self.models) {
            models = providers.map(models, &json, env)?;
        }
        models.routes(None).map_err(|error| format!("AI_DEFAULT_MODEL: {}", error.message))?;
        Ok((models, providers))
    }
}

impl Providers {
    /// The request to send, and the reader of its reply.
    pub fn call(&self, route: &Route, request: &ModelRequest) -> (ProviderCall, Reading) {
        let endpoint = self.0.get(route.endpoint.0);
        let base_url = endpoint.map(|endpoint| endpoint.base_url.as_str()).unwrap_or_default();
        let key = endpoint.and_then(|endpoint| endpoint.key.as_ref()).map(Secret::reveal);
        match route.provider {
            Provider::Google => {
                (gemini::call(base_url, key, route, request), Reading::of(gemini::Decoder::default()))
            }
            Provider::OpenAi | Provider::Demo => {
                (openai::call(base_url, key, route, request), Reading::of(openai::Decoder::default()))
            }
        }
    }

    /// Of each endpoint that is used, where it lists its models: asking for that costs nothing, and shows whether it is there
    /// and takes its key.
    pub fn listings(&self, models: &Models) -> Vec<Listing> {
        let listing = |(n, endpoint): (usize, &Endpoint)| {
            let (base_url, key) = (endpoint.base_url.trim_end_matches('/'), endpoint.key.as_ref());
            Some(match models.provider_at(EndpointId(n))? {
                Provider::OpenAi => Listing {
                    url: format!("{base_url}/models"),
                    header: key.map(|key| ("authorization", format!("Bearer {}", key.reveal()))),
                },
                Provider::Google => Listing {
                    url: format!("{base_url}/v1beta/models"),
                    header: key.map(|key| ("x-goog-api-key", key.reveal().to_owned())),
                },
                Provider::Demo => return None,
            })
        };
        self.0.iter().enumerate().filter_map(listing).collect()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Where each of them is, for logs and figures. No key is in it.
    pub fn base_urls(&self) -> impl Iterator<Item = (EndpointId, &str)> {
        let numbered = self.0.iter().enumerate();
        numbered.map(|(n, endpoint)| (EndpointId(n), endpoint.base_url.as_str()))
    }

    pub fn base_url(&self, endpoint: EndpointId) -> &str {
        self.0.get(endpoint.0).map_or("", |endpoint| endpoint.base_url.as_str())
    }

    fn map(
        &mut self,
        models: Models,
        json: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Models, String> {
        let entries: BTreeMap<String, Entry> =
            serde_json::from_str(json).map_err(|error| unreadable(&error))?;
        let of_entry = |(name, entry): (&String, &Entry)| {
            self.entry(name, entry, env).map_err(|why| format!("AI_MODELS: {name:?}: {why}"))
        };
        let mapped = entries.iter().map(of_entry).collect::<Result<Vec<Mapped>, String>>()?;
        let models = models.with(mapped);
        for (name, entry) in &entries {
            for fallback in &entry.fallbacks {
                let routed = models.routes(Some(fallback));
                routed.map_err(|error| format!("AI_MODELS: {name:?}: fallbacks: {}", error.message))?;
            }
        }
        Ok(models)
    }

    fn entry(
        &mut self,
        name: &str,
        entry: &Entry,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Mapped, String> {
        let provider = Provider::parse(&entry.provider)
            .ok_or_else(|| format!("provider must be openai, google or demo, and is {:?}", entry.provider))?;
        if entry.fallbacks.len() > FALLBACKS_MAX {
            return Err(format!("fallbacks must name {FALLBACKS_MAX} models at most"));
        }
        check_url("baseUrl", entry.base_url.as_deref())?;
        let name = match name.strip_suffix('*') {
            Some(prefix) => Pattern::Prefix(prefix.into()),
            None if name.is_empty() => return Err("a model needs a name".into()),
            None => Pattern::Exact(name.into()),
        };
        Ok(Mapped {
            name,
            provider,
            model: entry.model.as_deref().map(Arc::from),
            endpoint: self.endpoint(provider, entry, env)?,
            fallbacks: entry.fallbacks.iter().map(|name| name.as_str().into()).collect(),
            has_tools: entry.tools.unwrap_or(true),
        })
    }

    /// A provider's own key goes to no other address than the provider's.
    fn endpoint(
        &mut self,
        provider: Provider,
        entry: &Entry,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<EndpointId, String> {
        let usual = if provider == Provider::Google { EndpointId::GOOGLE } else { EndpointId::OPENAI };
        let key = entry.api_key_env.as_deref().map(|name| {
            let key = env(name).filter(|key| !key.is_empty());
            key.map(Secret::from).ok_or_else(|| format!("apiKeyEnv names {name}, which is not set"))
        });
        let key = key.transpose()?;
        let Some(known) = self.0.get(usual.0) else { return Ok(usual) };
        let endpoint = match (&entry.base_url, key) {
            (None, None) => return Ok(usual),
            (None, key) => Endpoint { base_url: known.base_url.clone(), key },
            (Some(url), key) => Endpoint { base_url: url.clone(), key },
        };
        let place = self.0.iter().position(|other| *other == endpoint).unwrap_or_else(|| {
            self.0.push(endpoint);
            self.0.len() - 1
        });
        Ok(EndpointId(place))
    }
}

/// Values are not repeated: somebody may have put a key where none belongs.
fn unreadable(error: &serde_json::Error) -> String {
    let why = error.to_string();
    let why = match why.contains("field") {
        true => why,
        false => format!("see line {} column {}", error.line(), error.column()),
    };
    format!("AI_MODELS must be a JSON object such as {{\"my-model\": {{\"provider\": \"openai\"}}}}: {why}")
}

/// Enough to refuse what can never work, and what would put a secret where addresses are shown.
fn check_url(name: &str, url: Option<&str>) -> Result<(), String> {
    let Some(url) = url else { return Ok(()) };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let is_plain =
        |text: &str| !text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#\\".contains(c));
    if host.is_empty() || host.starts_with(':') || !is_plain(url) {
        return Err(format!("{name} must be a URL such as http://localhost:11434/v1"));
    }
    if host.contains('@') {
        return Err(format!("{name} must hold no user or password; give the key in a setting of its own"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    fn read(models: &str) -> Result<(Models, Providers), String> {
        let settings = AiSettings {
            openai_key: Some(Secret::from("sk-planted-own".to_owned())),
            models: Some(models.into()),
            ..AiSettings::default()
        };
        settings.read(&|name| (name == "OTHER_KEY").then(|| "sk-planted-other".to_owned()))
    }

    const MAPPED: &str = r#"{
        "support": {"provider": "openai", "model": "gpt-4o", "fallbacks": ["local", "gpt-4o-mini", "gpt-4o"]},
        "local": {"provider": "openai", "model": "qwen", "baseUrl": "http://127.0.0.1:11434/v1", "tools": false},
        "llama-*": {"provider": "openai", "baseUrl": "https://models.example/v1", "apiKeyEnv": "OTHER_KEY"},
        "llama-old-*": {"provider": "google", "apiKeyEnv": "OTHER_KEY"},
        "llama-old-1": {"provider": "demo"}
    }"#;

    /// What a model is routed to: provider, name, address, key.
    fn aims(model: &str) -> Vec<(Provider, String, String, Option<String>)> {
        let (models, providers) = read(MAPPED).unwrap();
        let aim = |route: &Route| {
            let endpoint = providers.0.get(route.endpoint.0).unwrap();
            let key = endpoint.key.as_ref().map(|key| key.reveal().to_owned());
            (route.provider, route.model.to_string(), endpoint.base_url.clone(), key)
        };
        models.routes(Some(model)).unwrap().iter().map(aim).collect()
    }

    #[test]
    fn models_go_where_they_are_mapped_to_each_with_its_own_key() {
        let own =
            |model: &str| (Provider::OpenAi, model.into(), OPENAI_URL.into(), Some("sk-planted-own".into()));
        let local = (Provider::OpenAi, "qwen".into(), "http://127.0.0.1:11434/v1".into(), None);
        assert_eq!(aims("gpt-4o"), [own("gpt-4o")]);
        assert_eq!(aims("support"), [own("gpt-4o"), local, own("gpt-4o-mini")]);
        let other = Some("sk-planted-other".to_owned());
        let llama = (Provider::OpenAi, "llama-3".into(), "https://models.example/v1".into(), other.clone());
        assert_eq!(aims("llama-3"), [llama]);
        assert_eq!(aims("llama-old-2"), [(Provider::Google, "llama-old-2".into(), GOOGLE_URL.into(), other)]);
        assert_eq!(aims("llama-old-1").first().map(|aim| aim.0), Some(Provider::Demo));
        let (models, _) = read(MAPPED).unwrap();
        assert!(!models.routes(Some("local")).unwrap().iter().any(|route| route.has_tools));
        assert!(models.routes(Some("mistral")).unwrap_err().message.contains("AI_MODELS"));
    }

    #[test]
    fn a_mistake_is_told_by_its_model_and_field() {
        for (json, words) in [
            ("[]", ["JSON object", ""]),
            (r#"{"m":{}}"#, ["provider", ""]),
            (r#"{"m":"sk-planted"}"#, ["line 1", ""]),
            (r#"{"m":{"provider":"claude"}}"#, ["\"m\"", "provider must be openai"]),
            (r#"{"m":{"provider":"openai","url":"x"}}"#, ["url", ""]),
            (r#"{"m":{"provider":"openai","baseUrl":"localhost"}}"#, ["\"m\"", "baseUrl must be a URL"]),
            (r#"{"m":{"provider":"openai","baseUrl":"http://a:planted@h/v1"}}"#, ["baseUrl", "no user"]),
            (r#"{"m":{"provider":"openai","apiKeyEnv":"NO_KEY"}}"#, ["\"m\"", "NO_KEY, which is not set"]),
            (r#"{"m":{"provider":"openai","fallbacks":["gemini-x"]}}"#, ["fallbacks", "gemini-x"]),
            (r#"{"m":{"provider":"openai","fallbacks":["a"]}}"#, ["fallbacks", "not supported"]),
            (r#"{"":{"provider":"openai"}}"#, ["needs a name", ""]),
        ] {
            let why = read(json).err().unwrap();
            assert!(why.starts_with("AI_MODELS") && !why.contains("planted"), "{json}: {why}");
            assert!(words.iter().all(|word| why.contains(word)), "{json}: {why}");
        }
    }

    #[test]
    fn without_a_provider_the_demo_answers_and_a_mapped_model_is_one() {
        let none = AiSettings::default().read(&|_| None).unwrap().0;
        assert_eq!(none.routes(None).unwrap().first().unwrap().provider, Provider::Demo);
        let models = r#"{"qwen":{"provider":"openai","baseUrl":"http://h/v1"}}"#.to_owned();
        let settings = || AiSettings { models: Some(models.clone()), ..AiSettings::default() };
        let why = settings().read(&|_| None).err().unwrap();
        assert!(why.starts_with("AI_DEFAULT_MODEL: ") && why.contains("needs a key for openai"), "{why}");
        let named = AiSettings { default_model: Some("qwen".into()), ..settings() };
        let (models, _) = named.read(&|_| None).unwrap();
        assert_eq!(models.routes(None).unwrap().first().unwrap().model.as_ref(), "qwen");
    }
}
