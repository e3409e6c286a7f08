//! Logs on standard error: JSON lines in production, readable otherwise.

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::settings::Settings;

pub(crate) fn start(settings: &Settings) {
    let own = if settings.is_development() { Level::DEBUG } else { Level::INFO };
    let filter = Targets::new().with_default(Level::WARN).with_target("weeziq", own);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    if settings.is_production() {
        registry.with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false)).init();
    } else {
        use std::io::IsTerminal;
        registry.with(layer.compact().with_ansi(std::io::stderr().is_terminal())).init();
    }
}
