//! What the service says of itself to whoever watches over it: `GET /metrics`, in Prometheus' text form.
//!
//! A shard counts in plain integers of its own thread ([`counters`]) and is asked for a copy through its mailbox
//! (`shard/measure.rs`), so a message pays for no lock and no line of memory that two threads share. What is written to
//! once a request ([`requests`]) may have a lock.

pub(crate) mod counters;
mod histogram;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod requests;
mod text;

pub(crate) use counters::count;
