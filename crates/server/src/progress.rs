//! What a command that takes its time says meanwhile: to people only, and on standard error.

use std::io::{IsTerminal, Write};

pub(crate) struct Progress;

impl Progress {
    /// What it does next.
    pub(crate) fn say(what: &str) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // Whoever closed it does not want to know.
            let _ = writeln!(stderr, "\r{what}");
        }
    }

    /// How far it is with that.
    pub(crate) fn at(done: i32, all: i32) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            let _ = write!(stderr, "\r{} %", i64::from(done) * 100 / i64::from(all.max(1)));
        }
    }
}
