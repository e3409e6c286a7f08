//! What the service says of itself to whoever watches over it: `GET /metrics`, in Prometheus' text form
//! ([`weeziq_core::metrics`]).
//!
//! A shard counts in plain integers of its own thread ([`counters`]) and is asked for a copy through its mailbox
//! (`shard/measure.rs`), so a message pays for no lock and no line of memory that two threads share. What is written to
//! once a request ([`requests`]) may have a lock.

pub(crate) mod counters;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod requests;

pub(crate) use counters::count;
