//! The rigs. Each sets its stage, does its damage while messages flow, waits until nothing more comes, and counts.

pub(crate) mod crash_loop;
pub(crate) mod jitter;
pub(crate) mod stalled;
pub(crate) mod storm;
