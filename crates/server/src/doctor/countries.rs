//! Whether visitors' countries can be known.

use std::time::{Duration, SystemTime};

use super::Finding;
use crate::settings::Settings;

const ABOUT: &str = "countries";
/// Addresses change hands: by then a few in a hundred are elsewhere.
const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// None: the setting is not made, or what is wrong with it has been said of the settings.
pub(super) fn examine(settings: &Settings) -> Option<Finding> {
    let (kind, made) = settings.geoip().ok()??.describe();
    let age = made.and_then(|made| SystemTime::now().duration_since(made).ok()).unwrap_or_default();
    let says = format!("GEOIP_FILE is {kind}, {} days old", age.as_secs() / (24 * 60 * 60));
    Some(match age {
        age if age > AGE_MAX => Finding::doubtful(ABOUT, format!("{says}; fetch a newer one and restart")),
        _ => Finding::well(ABOUT, says),
    })
}
