//! Every bound of the tool, with its unit in its name. A benchmark that can run away is worse than none.

use std::time::Duration;

/// The ephemeral ports of one address (28,232 by Linux's default) bound what can be opened to one server.
pub(crate) const CONNECTIONS_MAX: u64 = 25_000;
pub(crate) const RATE_PER_SEC_MAX: u64 = 100_000;
pub(crate) const SECONDS_MAX: u64 = 300;
pub(crate) const ROUNDS_MAX: u64 = 50;
pub(crate) const IN_FLIGHT_MAX: u64 = 1_024;
/// Messages of one scenario, warm-up included: the ledger keeps 12 bytes for each.
pub(crate) const MESSAGES_MAX: u64 = 10_000_000;
/// Descriptors that are neither a connection nor idle: epoll, timer, logs, the child's pipes.
pub(crate) const DESCRIPTORS_SPARE: u64 = 64;

/// A provider's request: the context of one question.
pub(crate) const PROVIDER_REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Above it the interval between tokens is under a millisecond, which no model reaches.
pub(crate) const TOKENS_PER_SEC_MAX: u64 = 1_000;
/// A server gives up an answer after a minute.
pub(crate) const STREAM_SECONDS_MAX: u64 = 50;
pub(crate) const HOSTILE_MAX: u64 = 100;

/// Length of the chat text, padded; with the envelope a frame is about 270 bytes.
pub(crate) const TEXT_BYTES: usize = 128;
/// One read takes up to this much; several saturated frames fit, and it stays in the L2 cache.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// A longer frame of an unknown kind is a violation. Presence frames are skipped without being held.
pub(crate) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 8 * 1024;
/// Unsent bytes of one connection; more means that the server no longer reads.
pub(crate) const OUTGOING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Frames whose kind stands in the first bytes need not be complete to be skipped.
pub(crate) const KIND_PREFIX_BYTES: usize = 48;

pub(crate) const READY_MAX: Duration = Duration::from_secs(30);
pub(crate) const STOP_MAX: Duration = Duration::from_secs(15);
/// Until all questions are with the model.
pub(crate) const STREAMS_ASKED_MAX: Duration = Duration::from_secs(10);
pub(crate) const JOIN_MAX: Duration = Duration::from_secs(120);
/// Presence frames of a 500-member join may trail: silence of `QUIET` ends the wait, `QUIET_MAX` gives up.
pub(crate) const QUIET: Duration = Duration::from_millis(300);
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(60);
/// After the last send: how long without any arrival until what is missing counts as lost.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(3);
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(60);
/// Listened to after the last expected delivery: late duplicates, and the server's trailing work, count.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);
/// Before the resident memory of idle connections is read.
pub(crate) const IDLE_SETTLE: Duration = Duration::from_secs(1);

const _: () = assert!(HANDSHAKE_BYTES_MAX < READ_BYTES && READ_BYTES < FRAME_BYTES_MAX);
const _: () = assert!(SILENCE_MAX.as_nanos() < DRAIN_MAX.as_nanos());
const _: () = assert!(QUIET.as_nanos() < QUIET_MAX.as_nanos());
const _: () = assert!(MESSAGES_MAX < u32::MAX as u64);
