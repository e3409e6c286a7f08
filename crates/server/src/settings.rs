//! Settings: flags, then the environment, then `.env`. Checked before anything starts; a bad one stops the start with
//! a sentence that names it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use weeziq_core::access::origins::Origins;
use weeziq_core::access::secret::Secret;
use weeziq_core::access::token::Key;
use weeziq_core::ai::endpoints::{AiSettings, Providers};
use weeziq_core::ai::models::Models;
use weeziq_core::files::types::Types;
use weeziq_core::limits::{
    EVENTS_BURST, EVENTS_PER_SECOND, FILE_BYTES_DEFAULT, FILE_BYTES_MOST, FILE_UNUSED_S,
};

use crate::export::remote::Remote;
use crate::geoip::GeoIp;
use crate::store::SHARDS_MAX;
use crate::token::Wanted;

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

#[derive(Clone, Subcommand)]
pub(crate) enum Command {
    /// Run the service (the default).
    Serve,
    /// Print the effective settings, secrets redacted, and exit.
    Config,
    /// Look at settings, storage, clock, network, keys and limits, and say what to do about each that is not as it should be.
    Doctor {
        /// Only whether the service that runs with these settings is ready, for supervisors.
        #[arg(long)]
        ready: bool,
    },
    /// Print a token signed with AUTH_SECRET, and nothing else.
    Token(Wanted),
    /// Copy all that DATA_DIR holds, as it is at one moment, while the service goes on.
    Backup {
        /// A folder to be made, or a file if its name ends in .tar
        target: PathBuf,
    },
    /// Put a backup into DATA_DIR, which must be empty, after holding it against its own word.
    Restore {
        /// A folder or a .tar file that `weeziq backup` has made
        from: PathBuf,
    },
    /// Write all that DATA_DIR and the store of files hold as JSON Lines, with the service stopped; or, with --from, all that a
    /// service on Cloudflare holds while it goes on.
    Export {
        /// A folder to be made
        target: PathBuf,
        /// The address of a service on Cloudflare
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Read an export into DATA_DIR, which must be empty; or, with --to, into a service on Cloudflare that holds nothing of it.
    Import {
        /// A folder that `weeziq export` has made
        from: PathBuf,
        /// The address of a service on Cloudflare
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
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
    /// Where to serve /metrics to anyone who reaches it, such as 127.0.0.1:9464 [default: on PORT, to staff]
    #[arg(
        long,
        env,
        default_value = "",
        hide_default_value = true,
        value_name = "METRICS_ADDR",
        global = true
    )]
    pub(crate) metrics_addr: MetricsAddr,
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
    /// Further models, and who stands in for whom, as JSON: {"name or prefix*": {"provider", "model"?, "baseUrl"?, "apiKeyEnv"?, "fallbacks"?, "tools"?}}
    #[arg(long, env, value_name = "AI_MODELS", global = true)]
    pub(crate) ai_models: Option<String>,
    /// Milliseconds that an attempt may take to its first token.
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "AI_FIRST_TOKEN_MS", global = true)]
    pub(crate) ai_first_token_ms: u64,
    /// Milliseconds that an answer may take with all its attempts.
    #[arg(long, env, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "AI_TOTAL_MS", global = true)]
    pub(crate) ai_total_ms: u64,
    /// Attempts in a row that fail before an endpoint is left alone for a while; 0: never.
    #[arg(long, env, default_value_t = 5, value_name = "AI_BREAKER_FAILURES", global = true)]
    pub(crate) ai_breaker_failures: u32,
    /// Milliseconds that it is left alone for at first.
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000), value_name = "AI_BREAKER_MS", global = true)]
    pub(crate) ai_breaker_ms: u64,
    /// Messages of a conversation that the model sees, the question included.
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=200), value_name = "AI_CONTEXT_MESSAGES", global = true)]
    pub(crate) ai_context_messages: u16,
    /// AI requests a minute in one conversation; 0 switches the limit off.
    #[arg(long, env, default_value_t = 20, value_name = "AI_PER_USER_PER_MIN", global = true)]
    pub(crate) ai_per_user_per_min: u32,
    /// AI requests a minute from one address; 0 switches the limit off.
    #[arg(long, env, default_value_t = 300, value_name = "AI_PER_IP_PER_MIN", global = true)]
    pub(crate) ai_per_ip_per_min: u32,
    /// Tokens a day (UTC), of questions and answers together, for each domain; 0 is no budget. Over it the helpdesk answers.
    #[arg(long, env, default_value_t = 0, value_name = "AI_DAILY_TOKENS", global = true)]
    pub(crate) ai_daily_tokens: u64,
    /// Events a second on one connection, twice that in a burst; 0 switches the limit off.
    #[arg(long, env, default_value_t = EVENTS_PER_SECOND, value_name = "EVENTS_PER_SEC", global = true)]
    pub(crate) events_per_sec: u32,

    /// A bucket for files, as s3://bucket/folder: S3, R2, MinIO. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT say which. [default: the folder DATA_DIR/files]
    #[arg(long, env, value_name = "FILE_STORAGE_URL", global = true)]
    pub(crate) file_storage_url: Option<String>,
    /// Bytes of the largest file that is taken; 100000000 at most.
    #[arg(long, env, default_value_t = FILE_BYTES_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=FILE_BYTES_MOST), value_name = "FILE_BYTES_MAX", global = true)]
    pub(crate) file_bytes_max: u64,
    /// Comma-separated media types of the files that are taken, as image/*,application/pdf; by what their bytes are. [default: all]
    #[arg(long, env, value_name = "FILE_TYPES", global = true)]
    pub(crate) file_types: Option<Types>,
    /// Seconds after which a file that no message of its room has named is deleted.
    #[arg(long, env, default_value_t = FILE_UNUSED_S, value_parser = clap::value_parser!(u32).range(1..), value_name = "FILE_UNUSED_S", global = true)]
    pub(crate) file_unused_s: u32,

    /// Web pages that may connect: comma-separated origins, each exact or with one * in its host. [default: any; in production only pages served from here]
    #[arg(long, env, value_parser = Origins::parse, value_name = "ALLOWED_ORIGINS", global = true)]
    pub(crate) allowed_origins: Option<Origins>,
    /// Secret of 32 bytes or more that tokens (JWT, HS256) are signed with. Without it, or a public key, anyone may do anything.
    #[arg(long, env, hide_env_values = true, value_name = "AUTH_SECRET", global = true)]
    pub(crate) auth_secret: Option<Secret>,
    /// Instead of it, the PEM of an Ed25519 public key: tokens (JWT, EdDSA) are signed elsewhere.
    #[arg(long, env, value_name = "AUTH_PUBLIC_KEY", global = true)]
    pub(crate) auth_public_key: Option<String>,
    /// The same in a file.
    #[arg(long, env, value_name = "AUTH_PUBLIC_KEY_FILE", global = true)]
    pub(crate) auth_public_key_file: Option<PathBuf>,
    /// Database of countries in MaxMind's format (.mmdb), by which visitors' addresses are looked up; none is kept.
    #[arg(long, env, value_name = "GEOIP_FILE", global = true)]
    pub(crate) geoip_file: Option<PathBuf>,
    /// Comma-separated addresses of proxies whose X-Forwarded-For counts, and without a GEOIP_FILE their CF-IPCountry.
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

/// None, as when it is empty: there is no such listener.
#[derive(Clone, Copy)]
pub(crate) struct MetricsAddr(pub(crate) Option<SocketAddr>);

impl std::str::FromStr for MetricsAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = (!text.is_empty()).then(|| text.parse()).transpose();
        address.map(Self).map_err(|_| "must be an address with a port, such as 127.0.0.1:9464")
    }
}

impl Settings {
    /// What clap cannot check. The error is a sentence that names the setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.ai()?;
        self.geoip()?;
        self.key().map(drop)
    }

    /// Read into memory as it is now.
    pub(crate) fn geoip(&self) -> Result<Option<GeoIp>, String> {
        let file = self.geoip_file.as_deref().filter(|file| !file.as_os_str().is_empty());
        file.map(GeoIp::open).transpose()
    }

    /// What tokens are held against; None is open mode. One of them only, so that no token can choose.
    pub(crate) fn key(&self) -> Result<Option<Key>, String> {
        let secret = self.auth_secret.as_ref().map(Secret::reveal).filter(|secret| !secret.is_empty());
        let pem = self.auth_public_key.as_deref().filter(|pem| !pem.is_empty());
        let file = self.auth_public_key_file.as_deref().filter(|file| !file.as_os_str().is_empty());
        let named = |name: &'static str| move |why: String| format!("{name} {why}");
        match (secret, pem, file) {
            (None, None, None) => Ok(None),
            (Some(secret), None, None) => Key::shared(secret).map(Some).map_err(named("AUTH_SECRET")),
            (None, Some(pem), None) => Key::public(pem).map(Some).map_err(named("AUTH_PUBLIC_KEY")),
            (None, None, Some(file)) => {
                let unreadable = |error| format!("AUTH_PUBLIC_KEY_FILE {} cannot be read: {error}", file.display());
                let pem = std::fs::read_to_string(file).map_err(unreadable)?;
                Key::public(&pem).map(Some).map_err(named("AUTH_PUBLIC_KEY_FILE"))
            }
            _ => Err("set only one of AUTH_SECRET, AUTH_PUBLIC_KEY and AUTH_PUBLIC_KEY_FILE: what tokens are held against must not be a token's choice".into()),
        }
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

    /// The models, and where they are asked.
    pub(crate) fn ai(&self) -> Result<(Models, Providers), String> {
        let settings = AiSettings {
            openai_key: self.openai_api_key.clone(),
            google_key: self.google_ai_api_key.clone(),
            openai_url: self.openai_base_url.clone(),
            google_url: self.google_ai_base_url.clone(),
            default_model: self.ai_default_model.clone(),
            models: self.ai_models.clone(),
        };
        settings.read(&|name| std::env::var(name).ok())
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
        let metrics = self.metrics_addr.0.map(|address| address.to_string());
        writeln!(f, "METRICS_ADDR={}", metrics.unwrap_or_default())?;
        writeln!(f, "DATA_DIR={}", self.data_dir.display())?;
        writeln!(f, "DURABILITY={}", durability.as_ref().map_or("", |value| value.get_name()))?;
        writeln!(f, "SHARDS={}", self.shards())?;
        writeln!(f, "OPENAI_API_KEY={}", shown(&self.openai_api_key))?;
        writeln!(f, "GOOGLE_AI_API_KEY={}", shown(&self.google_ai_api_key))?;
        writeln!(f, "OPENAI_BASE_URL={}", self.openai_base_url.as_deref().unwrap_or_default())?;
        writeln!(f, "GOOGLE_AI_BASE_URL={}", self.google_ai_base_url.as_deref().unwrap_or_default())?;
        let default = self.ai().map(|(models, _)| models.default).unwrap_or_default();
        writeln!(f, "AI_DEFAULT_MODEL={default}")?;
        writeln!(f, "AI_MODELS={}", self.ai_models.as_deref().unwrap_or_default())?;
        writeln!(f, "AI_FIRST_TOKEN_MS={}", self.ai_first_token_ms)?;
        writeln!(f, "AI_TOTAL_MS={}", self.ai_total_ms)?;
        writeln!(f, "AI_BREAKER_FAILURES={}", self.ai_breaker_failures)?;
        writeln!(f, "AI_BREAKER_MS={}", self.ai_breaker_ms)?;
        writeln!(f, "AI_CONTEXT_MESSAGES={}", self.ai_context_messages)?;
        writeln!(f, "AI_PER_USER_PER_MIN={}", self.ai_per_user_per_min)?;
        writeln!(f, "AI_PER_IP_PER_MIN={}", self.ai_per_ip_per_min)?;
        writeln!(f, "AI_DAILY_TOKENS={}", self.ai_daily_tokens)?;
        writeln!(f, "EVENTS_PER_SEC={}", self.events_per_sec)?;
        writeln!(f, "FILE_STORAGE_URL={}", self.file_storage_url.as_deref().unwrap_or_default())?;
        writeln!(f, "FILE_BYTES_MAX={}", self.file_bytes_max)?;
        writeln!(f, "FILE_TYPES={}", self.file_types.clone().unwrap_or_default())?;
        writeln!(f, "FILE_UNUSED_S={}", self.file_unused_s)?;
        writeln!(f, "ALLOWED_ORIGINS={}", std::env::var("ALLOWED_ORIGINS").unwrap_or_default())?;
        writeln!(f, "AUTH_SECRET={}", shown(&self.auth_secret))?;
        writeln!(
            f,
            "AUTH_PUBLIC_KEY={}",
            self.auth_public_key.as_deref().unwrap_or_default().replace('\n', "\\n")
        )?;
        let file = self.auth_public_key_file.as_deref().unwrap_or(std::path::Path::new(""));
        writeln!(f, "AUTH_PUBLIC_KEY_FILE={}", file.display())?;
        let geoip = self.geoip_file.as_deref().unwrap_or(std::path::Path::new(""));
        writeln!(f, "GEOIP_FILE={}", geoip.display())?;
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
        let known = known();
        assert_eq!(settings_in(EXAMPLE).map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>(), known);
        let cli = Cli::parse_from(["weeziq", "--openai-api-key", "sk-secret", "--auth-secret", "sk-secret"]);
        let printed = cli.settings.to_string();
        assert_eq!(settings_in(&printed).map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>(), known);
        assert!(!printed.contains("sk-secret"));
    }

    /// As whoever takes the `#` from before a line finds out.
    #[test]
    fn every_line_of_the_example_file_can_be_read_once_it_is_no_remark_any_more() {
        for (name, line) in settings_in(EXAMPLE) {
            let read: Vec<(String, String)> =
                dotenvy::from_read_iter(line.as_bytes()).map(|pair| pair.expect(line)).collect();
            let [(found, value)] = read.as_slice() else { panic!("{line} is {read:?}") };
            assert_eq!(found, name, "{line}");
            if !value.is_empty() {
                let option = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
                let parsed = Cli::try_parse_from(["weeziq".to_owned(), option]);
                assert!(parsed.is_ok(), "{line}: {}", parsed.err().unwrap());
            }
            if name == "AI_MODELS" {
                let models = serde_json::from_str::<serde_json::Value>(value);
                assert!(models.is_ok_and(|models| models.is_object()), "{value}");
            }
            if name == "AUTH_PUBLIC_KEY" {
                assert_eq!(value.lines().count(), 3, "{value}");
            }
        }
    }

    const EXAMPLE: &str = include_str!("../../../.env.example");

    fn known() -> BTreeSet<String> {
        let command = Cli::command();
        let names = command.get_arguments().filter_map(|argument| argument.get_env());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// The name and the line of each, whether or not it stands behind a `#`.
    fn settings_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
        let lines = text.lines().map(|line| line.trim_start_matches("# "));
        let named = lines.filter_map(|line| line.split_once('=').map(|(name, _)| (name, line)));
        named.filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    }
}
