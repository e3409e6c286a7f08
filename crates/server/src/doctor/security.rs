//! Who may do what, from where.

use weeziq_core::access::origins::Origins;

use super::Finding;
use crate::settings::Settings;

const ABOUT: &str = "access";
const OPEN: &str = "open mode: whoever reaches the service may read and write every room; set AUTH_SECRET, or put it behind your own access control";

pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    match settings.key() {
        Ok(None) => findings.push(Finding::doubtful(ABOUT, OPEN)),
        Ok(Some(_)) => findings
            .push(Finding::well(ABOUT, "tokens say who may do what, and the key for them is long enough")),
        // Told with the settings already.
        Err(_) => {}
    }
    if !settings.is_production() {
        findings.push(Finding::doubtful(
            ABOUT,
            "NODE_ENV is not production: any web page may connect, and logs are for people",
        ));
        return findings;
    }
    findings.push(match settings.origins() {
        Origins::Any => Finding::broken(ABOUT, "ALLOWED_ORIGINS lets any page connect in production; list the pages"),
        Origins::SameOrigin => Finding::doubtful(
            ABOUT,
            "ALLOWED_ORIGINS is not set: only pages that the service itself serves may connect; list your sites' origins",
        ),
        Origins::Listed(_) => Finding::well(ABOUT, "ALLOWED_ORIGINS lists the pages that may connect"),
    });
    if settings.host().is_loopback() && settings.trust_proxy.is_empty() {
        findings.push(Finding::doubtful(
            ABOUT,
            "only this machine can connect, so a proxy does, and TRUST_PROXY does not name it: limits by address count all visitors as one; set TRUST_PROXY=127.0.0.1",
        ));
    }
    findings
}
