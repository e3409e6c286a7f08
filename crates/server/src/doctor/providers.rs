//! The models: whether they can be reached, and whether the keys open them. Asks for the list of models, which costs nothing.

use std::time::Duration;

use weeziq_core::ai::endpoints::Listing;

use super::Finding;
use crate::settings::Settings;

const ABOUT: &str = "models";
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    // What cannot be read is told with the settings.
    let Ok((models, providers)) = settings.ai() else { return Vec::new() };
    if models.is_demo() {
        return vec![Finding::doubtful(
            ABOUT,
            "no key is set, so the offline demo answers; set OPENAI_API_KEY or GOOGLE_AI_API_KEY",
        )];
    }
    let client = reqwest::Client::builder()
        .timeout(ANSWERS_WITHIN)
        .redirect(reqwest::redirect::Policy::none()) // a redirect would carry the key elsewhere
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Finding::broken(ABOUT, format!("TLS cannot be set up: {error}"))],
    };
    let mut findings = Vec::new();
    for listing in providers.listings(&models) {
        findings.push(ask(&client, listing).await);
    }
    findings
}

async fn ask(client: &reqwest::Client, Listing { url, header }: Listing) -> Finding {
    let mut request = client.get(&url);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    match request.send().await.map(|response| response.status().as_u16()) {
        Ok(200..=299) => Finding::well(ABOUT, format!("{url} answers and takes the key")),
        Ok(status @ (401 | 403)) => {
            Finding::broken(ABOUT, format!("{url} refuses the key ({status}); set another one for it"))
        }
        Ok(status) => Finding::doubtful(
            ABOUT,
            format!(
                "{url} answers {status}, so whether the key is taken is not known; ask a question to see"
            ),
        ),
        Err(error) => Finding::broken(
            ABOUT,
            format!("{url} cannot be reached: {}; check DNS, the firewall and HTTPS_PROXY", cause(error)),
        ),
    }
}

/// The innermost reason, which is the one that helps.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
