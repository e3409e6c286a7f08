//! Engine.IO 4 and Socket.IO 5 over WebSocket, behaving as the stock JavaScript client does with `retries` without end,
//! `ackTimeout` 10 s and `transports: ["websocket"]`: one emit under way at a time, the next when it is acknowledged,
//! the same again after a loss; recovery by `pid` and the offset that ends each event; and its own backoff.
//!
//! The application around it is the pattern that favours it most: the room comes with `auth`, and the server puts a
//! connection into it in the turn that answers CONNECT, so no message falls between connecting and joining.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Dialect, Happening, Io, Return, room_id};
use crate::mark::{Mark, Post, Room};

pub(crate) struct SocketIo {
    room_id: String,
    pid: Option<String>,
    offset: Option<String>,
    connected: bool,
    /// Events that came before the answer to CONNECT: the stock client holds them until then.
    before_connect: Vec<(Option<Mark>, Option<String>)>,
    queue: VecDeque<Post>,
    /// The try of the queue's head that is under way.
    pending: Option<Pending>,
    next_ack: u64,
}

struct Pending {
    ack: u64,
    expires: Instant,
}

const ACK_TIMEOUT: Duration = Duration::from_secs(10);
const RECONNECTION_DELAY: Duration = Duration::from_secs(1);
const RECONNECTION_DELAY_MAX: Duration = Duration::from_secs(5);
const RANDOMIZATION_FACTOR: f64 = 0.5;

#[derive(Deserialize)]
struct Connected {
    pid: Option<String>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl SocketIo {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room_id: room_id(room),
            pid: None,
            offset: None,
            connected: false,
            before_connect: Vec::new(),
            queue: VecDeque::new(),
            pending: None,
            next_ack: 0,
        }
    }

    /// The transport is open: say CONNECT.
    fn connect(&self, io: &mut Io) {
        let mut auth = json!({"roomId": self.room_id});
        if let (Some(pid), Some(auth)) = (&self.pid, auth.as_object_mut()) {
            auth.insert("pid".into(), json!(pid));
            if let Some(offset) = &self.offset {
                auth.insert("offset".into(), json!(offset));
            }
        }
        io.out.push(format!("40{auth}"));
        io.told.push(Happening::Asked);
    }

    fn connected(&mut self, body: &str, now: Instant, io: &mut Io) {
        let pid = serde_json::from_str::<Connected>(body).ok().and_then(|connected| connected.pid);
        let first = self.pid.is_none();
        let recovered = pid.is_some() && pid == self.pid;
        self.pid = pid;
        self.connected = true;
        let missed = std::mem::take(&mut self.before_connect);
        io.told.push(Happening::Joined(match (first, recovered) {
            (true, _) => Return::First,
            (_, true) => Return::Resumed { missed: missed.len() as u64 },
            _ => Return::Afresh,
        }));
        for (mark, offset) in missed {
            self.hand_over(mark, offset, false, io);
        }
        io.told.push(Happening::CaughtUp);
        self.pending = None;
        self.drain(now, io);
    }

    fn event(&mut self, body: &str, io: &mut Io) {
        let body = body.trim_start_matches(|c: char| c.is_ascii_digit());
        let Ok(arguments) = serde_json::from_str::<Vec<&RawValue>>(body) else {
            io.told.push(Happening::Refused("unreadable event".into()));
            return;
        };
        let offset = arguments.last().and_then(|last| serde_json::from_str::<String>(last.get()).ok());
        let payload = arguments.get(1).and_then(|raw| serde_json::from_str::<Payload>(raw.get()).ok());
        let mark = payload.and_then(|payload| Mark::parse(&payload.message));
        if self.connected {
            self.hand_over(mark, offset, true, io);
        } else {
            self.before_connect.push((mark, offset));
        }
    }

    fn hand_over(&mut self, mark: Option<Mark>, offset: Option<String>, live: bool, io: &mut Io) {
        io.told.push(Happening::Delivered { mark, seq: None, live });
        if self.pid.is_some() && offset.is_some() {
            self.offset = offset;
        }
    }

    fn acked(&mut self, body: &str, now: Instant, io: &mut Io) {
        let ack = body.split('[').next().and_then(|id| id.parse::<u64>().ok());
        if self.pending.as_ref().map(|pending| pending.ack) != ack {
            return; // of a try that was given up: the stock client drops it too
        }
        self.pending = None;
        if let Some(Post { entry, .. }) = self.queue.pop_front() {
            io.told.push(Happening::Acked { entry, seq: None, duplicate: false });
        }
        self.drain(now, io);
    }

    fn drain(&mut self, now: Instant, io: &mut Io) {
        if !self.connected || self.pending.is_some() {
            return;
        }
        let Some(Post { text, .. }) = self.queue.front() else { return };
        let ack = self.next_ack;
        let event = json!(["send-message", {"roomId": self.room_id, "message": text}]);
        io.out.push(format!("42{ack}{event}"));
        self.next_ack += 1;
        self.pending = Some(Pending { ack, expires: now + ACK_TIMEOUT });
    }
}

impl Dialect for SocketIo {
    fn path(&self) -> &'static str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    fn opened(&mut self, _: &mut Io) {
        // Engine.IO's server speaks first.
        self.connected = false;
    }

    fn heard(&mut self, frame: &str, now: Instant, io: &mut Io) {
        if frame.starts_with('0') {
            self.connect(io);
        } else if frame == "2" {
            io.out.push("3".into());
        } else if let Some(body) = frame.strip_prefix("40") {
            self.connected(body, now, io);
        } else if let Some(body) = frame.strip_prefix("42") {
            self.event(body, io);
        } else if let Some(body) = frame.strip_prefix("43") {
            self.acked(body, now, io);
        } else if frame.starts_with("41") || frame.starts_with("44") {
            io.told.push(Happening::Refused(frame.to_owned()));
        }
    }

    fn publish(&mut self, post: Post, now: Instant, io: &mut Io) {
        self.queue.push_back(post);
        self.drain(now, io);
    }

    fn lost(&mut self) {
        self.connected = false;
        self.pending = None;
        // Of a connection that broke before it was answered: the stock client keeps them, and hands them over with
        // the next answer.
    }

    fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.expires)
    }

    fn due(&mut self, now: Instant, io: &mut Io) {
        if self.pending.as_ref().is_some_and(|pending| pending.expires <= now) {
            self.pending = None;
            self.drain(now, io);
        }
    }

    fn backoff(&self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        let whole = RECONNECTION_DELAY.saturating_mul(1 << attempt.min(10));
        let spread = 1.0 + RANDOMIZATION_FACTOR * (random.f64() * 2.0 - 1.0);
        whole.mul_f64(spread).min(RECONNECTION_DELAY_MAX)
    }

    fn asked_to_wait(&self, _: u16, _: &str) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Entry;

    fn heard(client: &mut SocketIo, frame: &str) -> Io {
        let mut io = Io::default();
        client.heard(frame, Instant::now(), &mut io);
        io
    }

    fn mark(index: u32) -> Mark {
        Mark { entry: Entry { room: Room(0), index }, due_us: 9 }
    }

    fn event(index: u32, offset: &str) -> String {
        format!(r#"42["new-message",{{"message":"{}"}},"{offset}"]"#, mark(index).text(20))
    }

    fn delivered(index: u32, live: bool) -> Happening {
        Happening::Delivered { mark: Some(mark(index)), seq: None, live }
    }

    fn connected() -> SocketIo {
        let mut client = SocketIo::new(Room(0));
        assert_eq!(heard(&mut client, r#"0{"sid":"x"}"#).out, [r#"40{"roomId":"room-0"}"#]);
        let io = heard(&mut client, r#"40{"sid":"s","pid":"p"}"#);
        assert_eq!(io.told, [Happening::Joined(Return::First), Happening::CaughtUp]);
        client
    }

    #[test]
    fn a_return_names_its_session_and_the_last_offset_and_hands_over_in_order() {
        let mut client = connected();
        assert_eq!(heard(&mut client, &event(0, "o1")).told, [delivered(0, true)]);
        client.lost();
        let connect = heard(&mut client, r#"0{"sid":"y"}"#).out.concat();
        assert!(connect.contains(r#""pid":"p""#) && connect.contains(r#""offset":"o1""#), "{connect}");
        assert!(heard(&mut client, &event(1, "o2")).told.is_empty());
        let told = heard(&mut client, r#"40{"sid":"s","pid":"p"}"#).told;
        let back = Happening::Joined(Return::Resumed { missed: 1 });
        assert_eq!(told, [back, delivered(1, false), Happening::CaughtUp]);
        client.lost();
        assert!(heard(&mut client, "0{}").out.concat().contains(r#""offset":"o2""#));
        let told = heard(&mut client, r#"40{"sid":"s","pid":"q"}"#).told;
        assert_eq!(told, [Happening::Joined(Return::Afresh), Happening::CaughtUp]);
    }

    #[test]
    fn one_emit_is_under_way_at_a_time_and_again_after_a_loss() {
        let mut client = connected();
        let post = |index| Post { entry: mark(index).entry, text: mark(index).text(20) };
        let mut io = Io::default();
        client.publish(post(0), Instant::now(), &mut io);
        client.publish(post(1), Instant::now(), &mut io);
        assert_eq!(io.out.len(), 1);
        assert!(io.out.concat().starts_with(r#"420["send-message""#));
        client.lost();
        let io = heard(&mut client, r#"40{"sid":"s","pid":"q"}"#);
        assert!(io.out.concat().starts_with(r#"421["send-message""#), "{io:?}");
        assert!(heard(&mut client, r#"430[{"ok":true}]"#).told.is_empty(), "the ack of a try given up");
        let io = heard(&mut client, r#"431[{"ok":true}]"#);
        assert_eq!(io.told, [Happening::Acked { entry: mark(0).entry, seq: None, duplicate: false }]);
        assert!(io.out.concat().starts_with("422"));
        assert_eq!(heard(&mut client, "2").out, ["3"]);
    }
}
