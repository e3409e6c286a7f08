//! Settings: flags, then the environment, then `.env`. Checked before anything starts; a bad one stops the start with
//! a sentence that names it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use weeziq_core::access::origins::Origins;
use weeziq_core::access::secret::Secret;
use weeziq_core::ai::models::Models;
use weeziq_core::limits::{EVENTS_BURST, EVENTS_PER_SECOND};

use crate::store::SHARDS_MAX;

/// Real-time chat rooms, streamed AI answers and live visitors for web sites, from one binary.
#[derive(Parser)]
#[command(name = "weeziq", version, max_term_width = 110)]
#[command(
    after_help = "Each option can also be set in the environment or in a file named .env, under the name in brackets."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Run the service (the default).
    Serve,
    /// Print the effective settings, secrets redacted, and exit.
    Config,
    /// Read DATA_DIR's databases to the end and say whether they are whole. The service must be stopped.
    Check,
}

#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Address to listen on [default: 127.0.0.1, or 0.0.0.0 if NODE_ENV=production]
    #[arg(long, env, global = true)]
    pub(crate) host: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env, default_value_t = 8787, global = true)]
    pub(crate) port: u16,
    /// Folder of the embedded storage. One process at a time.
    #[arg(long, env, default_value = "./data", value_name = "DATA_DIR", global = true)]
    pub(crate) data_dir: PathBuf,
    /// What an acknowledged message survives: `full` a power cut (one fsync shared by all that arrived meanwhile), `normal` a crash of the process.
    #[arg(long, env, value_enum, default_value_t = Durability::Full, value_name = "DURABILITY", global = true)]
    pub(crate) durability: Durability,
    /// Event loops, each with a database file of its own; fixed when DATA_DIR is made [default: half the cores, 8 at most]
    #[arg(long, env, value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX as i64), global = true)]
    pub(crate) shards: Option<u16>,

    /// Key for gpt-*, o* and chatgpt-* models. Without any key the built-in offline demo answers.
    #[arg(long, env, hide_env_values = true, value_name = "OPENAI_API_KEY", global = true)]
    pub(crate) openai_api_key: Option<Secret>,
    /// Key for gemini-* models.
    #[arg(long, env, hide_env_values = true, value_name = "GOOGLE_AI_API_KEY", global = true)]
    pub(crate) google_ai_api_key: Option<Secret>,
    /// Any endpoint that speaks OpenAI's Chat Completions, as http://host/v1; needs no key.
    #[arg(long, env, value_name = "OPENAI_BASE_URL", global = true)]
    pub(crate) openai_base_url: Option<String>,
    /// Any endpoint that speaks Gemini's generateContent, as http://host
    #[arg(long, env, value_name = "GOOGLE_AI_BASE_URL", global = true)]
    pub(crate) google_ai_base_url: Option<String>,
    /// Model of requests that name none [default: gpt-3.5-turbo, or gemini-2.5-flash if only Google has a key]
    #[arg(long, env, value_name = "AI_DEFAULT_MODEL", global = true)]
    pub(crate) ai_default_model: Option<String>,
    /// Milliseconds that an attempt may take to its first token.
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "AI_FIRST_TOKEN_MS", global = true)]
    pub(crate) ai_first_token_ms: u64,
    /// Milliseconds that an answer may take with all its attempts.
    #[arg(long, env, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "AI_TOTAL_MS", global = true)]
    pub(crate) ai_total_ms: u64,
    /// Messages of a conversation that the model sees, the question included.
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=200), value_name = "AI_CONTEXT_MESSAGES", global = true)]
    pub(crate) ai_context_messages: u16,
    /// AI requests a minute in one conversation; 0 switches the limit off.
    #[arg(long, env, default_value_t = 20, value_name = "AI_PER_USER_PER_MIN", global = true)]
    pub(crate) ai_per_user_per_min: u32,
    /// AI requests a minute from one address; 0 switches the limit off.
    #[arg(long, env, default_value_t = 300, value_name = "AI_PER_IP_PER_MIN", global = true)]
    pub(crate) ai_per_ip_per_min: u32,
    /// Events a second on one connection, twice that in a burst; 0 switches the limit off.
    #[arg(long, env, default_value_t = EVENTS_PER_SECOND, value_name = "EVENTS_PER_SEC", global = true)]
    pub(crate) events_per_sec: u32,

    /// Web pages that may connect: comma-separated origins, each exact or with one * in its host. [default: any; in production only pages served from here]
    #[arg(long, env, value_parser = Origins::parse, value_name = "ALLOWED_ORIGINS", global = true)]
    pub(crate) allowed_origins: Option<Origins>,
    /// Comma-separated addresses of proxies whose X-Forwarded-For counts.
    #[arg(long, env, value_delimiter = ',', value_name = "TRUST_PROXY", global = true)]
    pub(crate) trust_proxy: Vec<IpAddr>,
    /// production: JSON logs, strict origins. development: debug logs.
    #[arg(long, env, value_name = "NODE_ENV", global = true)]
    pub(crate) node_env: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    Full,
    Normal,
}

/// Settings of the contract that this release cannot keep yet. Taking one silently would promise what is not so.
const NOT_YET: &[&str] = &["AUTH_SECRET", "AI_MODELS", "AI_DAILY_TOKENS", "FILE_STORAGE_URL"];

impl Settings {
    /// What clap cannot check. The error is a sentence that names the setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(name) =
            NOT_YET.iter().find(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()))
        {
            return Err(format!(
                "{name} is set, but this release does not support it yet; unset it to start without"
            ));
        }
        for (name, url) in
            [("OPENAI_BASE_URL", &self.openai_base_url), ("GOOGLE_AI_BASE_URL", &self.google_ai_base_url)]
        {
            let is_url = |url: &String| {
                reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
            };
            if url.as_ref().is_some_and(|url| !url.is_empty() && !is_url(url)) {
                return Err(format!("{name} must be a URL such as http://localhost:11434/v1"));
            }
        }
        self.models().route(None).map_err(|error| format!("AI_DEFAULT_MODEL: {}", error.message))?;
        Ok(())
    }

    pub(crate) fn is_production(&self) -> bool {
        self.node_env.as_deref() == Some("production")
    }

    pub(crate) fn is_development(&self) -> bool {
        self.node_env.as_deref() == Some("development")
    }

    pub(crate) fn host(&self) -> IpAddr {
        let default = if self.is_production() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        self.host.unwrap_or(IpAddr::V4(default))
    }

    pub(crate) fn origins(&self) -> Origins {
        match (&self.allowed_origins, self.is_production()) {
            (Some(listed), _) => listed.clone(),
            (None, true) => Origins::SameOrigin,
            (None, false) => Origins::Any,
        }
    }

    pub(crate) fn shards(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.shards.map_or((cores / 2).clamp(1, 8), usize::from)
    }

    pub(crate) fn models(&self) -> Models {
        let is_set = |key: &Option<Secret>| key.as_ref().is_some_and(|key| !key.reveal().is_empty());
        let is_given = |url: &Option<String>| url.as_ref().is_some_and(|url| !url.is_empty());
        let openai = is_set(&self.openai_api_key) || is_given(&self.openai_base_url);
        let google = is_set(&self.google_ai_api_key) || is_given(&self.google_ai_base_url);
        let named = self.ai_default_model.as_deref().filter(|model| !model.is_empty());
        Models { default: named.unwrap_or(Models::default_for(openai, google)).into(), openai, google }
    }

    pub(crate) fn events(&self) -> weeziq_core::access::rate::Quota {
        let burst = if self.events_per_sec == EVENTS_PER_SECOND {
            EVENTS_BURST
        } else {
            self.events_per_sec.saturating_mul(2)
        };
        weeziq_core::access::rate::Quota::per_second(self.events_per_sec, burst)
    }
}

impl fmt::Display for Settings {
    /// One `NAME=value` a line, as `.env` takes it; secrets are redacted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |secret: &Option<Secret>| secret.as_ref().map_or(String::new(), |secret| format!("{secret:?}"));
        let durability = self.durability.to_possible_value();
        writeln!(f, "HOST={}", self.host())?;
        writeln!(f, "PORT={}", self.port)?;
        writeln!(f, "DATA_DIR={}", self.data_dir.display())?;
        writeln!(f, "DURABILITY={}", durability.as_ref().map_or("", |value| value.get_name()))?;
        writeln!(f, "SHARDS={}", self.shards())?;
        writeln!(f, "OPENAI_API_KEY={}", shown(&self.openai_api_key))?;
        writeln!(f, "GOOGLE_AI_API_KEY={}", shown(&self.google_ai_api_key))?;
        writeln!(f, "OPENAI_BASE_URL={}", self.openai_base_url.as_deref().unwrap_or_default())?;
        writeln!(f, "GOOGLE_AI_BASE_URL={}", self.google_ai_base_url.as_deref().unwrap_or_default())?;
        writeln!(f, "AI_DEFAULT_MODEL={}", self.models().default)?;
        writeln!(f, "AI_FIRST_TOKEN_MS={}", self.ai_first_token_ms)?;
        writeln!(f, "AI_TOTAL_MS={}", self.ai_total_ms)?;
        writeln!(f, "AI_CONTEXT_MESSAGES={}", self.ai_context_messages)?;
        writeln!(f, "AI_PER_USER_PER_MIN={}", self.ai_per_user_per_min)?;
        writeln!(f, "AI_PER_IP_PER_MIN={}", self.ai_per_ip_per_min)?;
        writeln!(f, "EVENTS_PER_SEC={}", self.events_per_sec)?;
        writeln!(f, "ALLOWED_ORIGINS={}", std::env::var("ALLOWED_ORIGINS").unwrap_or_default())?;
        let proxies: Vec<String> = self.trust_proxy.iter().map(IpAddr::to_string).collect();
        writeln!(f, "TRUST_PROXY={}", proxies.join(","))?;
        writeln!(f, "NODE_ENV={}", self.node_env.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_example_file_and_the_printed_settings_name_each_setting() {
        let names = |text: &str| -> BTreeSet<String> {
            let lines = text.lines().map(|line| line.trim_start_matches("# "));
            let named = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned());
            named.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect()
        };
        let command = Cli::command();
        let known: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|argument| argument.get_env())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        assert_eq!(names(include_str!("../../../.env.example")), known);
        let cli = Cli::parse_from(["weeziq", "--openai-api-key", "sk-secret"]);
        assert_eq!(names(&cli.settings.to_string()), known);
        assert!(!cli.settings.to_string().contains("sk-secret"));
    }
}
