//! What a command that takes its time says meanwhile: to people only, and on standard error.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Progress;

/// The last line says how far it is, and what comes next takes its place.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
const CLEAR_LINE: &str = "\r\x1b[K";

impl Progress {
    /// What it does next.
    pub(crate) fn say(what: &str) {
        Self::over();
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // Whoever closed it does not want to know.
            let _ = writeln!(stderr, "{what}");
        }
    }

    /// How far it is with that.
    pub(crate) fn at(done: u64, all: u64) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            let _ = write!(stderr, "{CLEAR_LINE}{} %", done * 100 / all.max(1));
            IS_OPEN.store(true, Ordering::Relaxed);
        }
    }

    /// What is said now is no part of it.
    pub(crate) fn over() {
        if IS_OPEN.swap(false, Ordering::Relaxed) {
            let _ = write!(std::io::stderr(), "{CLEAR_LINE}");
        }
    }
}
