//! The port, who answers on it, and how many may.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::{Finding, storage};
use crate::settings::Settings;

const ABOUT: &str = "network";
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Of which each connection takes one, and the service itself some dozens.
const DESCRIPTORS_WISHED: u64 = 8_192;
const DESCRIPTORS_MIN: u64 = 512;

pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    let address = SocketAddr::new(settings.host(), settings.port);
    if storage::is_in_use(&settings.data_dir) {
        return vec![match ready(settings).await {
            Ok(()) => Finding::well(ABOUT, format!("the service runs on {address} and is ready")),
            Err(why) => {
                Finding::broken(ABOUT, format!("a service has DATA_DIR, and {why}; look into its log"))
            }
        }];
    }
    vec![match TcpListener::bind(address) {
        Ok(_) => Finding::well(ABOUT, format!("HOST and PORT can be listened on ({address})")),
        Err(error) => Finding::broken(
            ABOUT,
            format!(
                "HOST and PORT ({address}) cannot be listened on: {error}; stop what does, or choose another port (below 1024 takes a capability)"
            ),
        ),
    }]
}

/// What `/readyz` says, asked for at the address that the settings name.
pub(super) async fn ready(settings: &Settings) -> Result<(), String> {
    let host = match settings.host() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let url = format!("http://{}/readyz", SocketAddr::new(host, settings.port));
    let unreachable = |error: reqwest::Error| format!("nobody answers at {url}: {}", error.without_url());
    let client =
        reqwest::Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build().map_err(unreachable)?;
    let response = client.get(&url).send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    if status.is_success() { Ok(()) } else { Err(format!("{url} answers {status}: {}", body.trim())) }
}

#[cfg(target_os = "linux")]
pub(super) fn descriptors() -> Option<Finding> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let says = format!("{most} files and connections may be open at once");
    let advice = "raise it: LimitNOFILE in the unit, --ulimit nofile for a container, `ulimit -n` in a shell";
    Some(match most {
        DESCRIPTORS_WISHED.. => Finding::well(ABOUT, says),
        DESCRIPTORS_MIN.. => Finding::doubtful(ABOUT, format!("only {says}; {advice}")),
        _ => Finding::broken(ABOUT, format!("only {says}; {advice}")),
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn descriptors() -> Option<Finding> {
    None
}
