//! What happened, as a number that two runs of one seed must share, and as lines for whoever looks into a failure.

use std::collections::VecDeque;

pub(crate) struct Trace {
    pub(crate) hash: u64,
    /// None: lines are not wanted.
    lines: Option<VecDeque<String>>,
    lines_max: usize,
}

impl Trace {
    pub(crate) fn new(lines_max: usize) -> Self {
        let lines = (lines_max > 0).then(VecDeque::new);
        Self { hash: 0xcbf2_9ce4_8422_2325, lines, lines_max }
    }

    pub(crate) fn note(&mut self, at: i64, print: u64, line: impl FnOnce() -> String) {
        for word in [at as u64, print] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == self.lines_max {
            lines.pop_front();
        }
        lines.push_back(format!("{at:>8} ms  {}", line()));
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}
