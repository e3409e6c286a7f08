//! WeeziQ's protocol as a good client library would speak it: it comes back with `epoch` and `lastSeq`, sends what is
//! not acknowledged again under the same `clientMessageId`, waits as long as a close tells it to, and fetches the rest
//! where a join could not replay it. It heals nothing else: a hole in the live stream stays a hole, and is counted.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::{Dialect, Happening, Io, Return, room_id};
use crate::mark::{Client, Entry, Mark, Post, Room};

pub(crate) struct Weeziq {
    room_id: String,
    user_id: String,
    epoch: Option<String>,
    last_seq: u64,
    state: State,
    /// Not acknowledged yet, in the order of sending.
    outbox: VecDeque<Unacked>,
}

enum State {
    Away,
    Joining,
    /// Replays up to `target`.
    Resuming {
        target: u64,
    },
    /// Fetches pages up to `target`; what comes live meanwhile is held back.
    Fetching {
        target: u64,
        held: BTreeMap<u64, Option<Mark>>,
    },
    Here,
}

struct Unacked {
    post: Post,
    again_at: Instant,
}

/// Without an answer on a connection that lives.
const ACK_MAX: Duration = Duration::from_secs(10);
/// After a refusal that names no time.
const REFUSED_WAIT: Duration = Duration::from_millis(500);
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(4);
/// The largest page the server gives.
pub(crate) const PAGE: u32 = 200;
const FETCH_ID: &str = "fetch";
const IGNORED: [&str; 3] = [r#"{"type":"room-users""#, r#"{"type":"user-joined""#, r#"{"type":"user-left""#];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    seq: Option<u64>,
    #[serde(borrow)]
    client_message_id: Option<Cow<'a, str>>,
    duplicate: Option<bool>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    resumed: Option<bool>,
    #[serde(borrow)]
    reply_to: Option<Cow<'a, str>>,
    retry_after_ms: Option<u64>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<Vec<Stored<'a>>>,
    has_more: Option<bool>,
}

/// A message in a `message-history`.
#[derive(Deserialize)]
pub(crate) struct Stored<'a> {
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) message: Cow<'a, str>,
}

impl Weeziq {
    pub(crate) fn new(client: Client, room: Room) -> Self {
        Self {
            room_id: room_id(room),
            user_id: format!("user-{}", client.0),
            epoch: None,
            last_seq: 0,
            state: State::Away,
            outbox: VecDeque::new(),
        }
    }

    fn joined(&mut self, frame: &Frame, now: Instant, io: &mut Io) {
        let target = frame.seq.unwrap_or_default();
        let first = self.epoch.is_none();
        self.epoch = frame.epoch.as_deref().map(str::to_owned);
        if first {
            // Whatever was said before the first join is nobody's loss.
            self.last_seq = target;
            io.told.push(Happening::Joined(Return::First));
            self.here(now, io);
        } else if frame.resumed == Some(true) {
            let missed = target.saturating_sub(self.last_seq);
            io.told.push(Happening::Joined(Return::Resumed { missed }));
            self.state = State::Resuming { target };
            self.resumed_so_far(now, io);
        } else {
            io.told.push(Happening::Joined(Return::Afresh));
            self.state = State::Fetching { target, held: BTreeMap::new() };
            io.out.push(self.page());
        }
    }

    fn page(&self) -> String {
        json!({"type": "fetch-history", "roomId": self.room_id, "afterSeq": self.last_seq, "limit": PAGE,
               "id": FETCH_ID})
        .to_string()
    }

    fn message(&mut self, frame: &Frame, now: Instant, io: &mut Io) {
        let mark = frame.message.as_deref().and_then(Mark::parse);
        let seq = frame.seq;
        if let (State::Fetching { held, .. }, Some(seq)) = (&mut self.state, seq) {
            held.insert(seq, mark);
            return;
        }
        let live = matches!(self.state, State::Here);
        self.last_seq = self.last_seq.max(seq.unwrap_or_default());
        io.told.push(Happening::Delivered { mark, seq, live });
        self.resumed_so_far(now, io);
    }

    fn resumed_so_far(&mut self, now: Instant, io: &mut Io) {
        if matches!(self.state, State::Resuming { target } if self.last_seq >= target) {
            self.here(now, io);
        }
    }

    /// A page that was asked for. The one that a join brings by itself bears no `replyTo` of ours and is not needed.
    fn fetched(&mut self, frame: &Frame, now: Instant, io: &mut Io) {
        let State::Fetching { target, held } = &mut self.state else { return };
        let known = self.last_seq;
        for stored in frame.messages.iter().flatten().filter(|stored| stored.seq > known) {
            self.last_seq = stored.seq;
            held.remove(&stored.seq);
            let mark = Mark::parse(&stored.message);
            io.told.push(Happening::Delivered { mark, seq: Some(stored.seq), live: false });
        }
        if frame.has_more == Some(true) && self.last_seq < *target {
            let page = self.page();
            io.out.push(page);
            return;
        }
        // Those that came live meanwhile, less the ones that stood in a page as well.
        let known = self.last_seq;
        for (seq, mark) in std::mem::take(held).into_iter().filter(|(seq, _)| *seq > known) {
            self.last_seq = seq;
            io.told.push(Happening::Delivered { mark, seq: Some(seq), live: false });
        }
        self.here(now, io);
    }

    fn here(&mut self, now: Instant, io: &mut Io) {
        self.state = State::Here;
        io.told.push(Happening::CaughtUp);
        for unacked in &mut self.outbox {
            unacked.again_at = now + ACK_MAX;
            io.out.push(sent(&self.room_id, &self.user_id, &unacked.post));
        }
    }

    fn acked(&mut self, frame: &Frame, io: &mut Io) {
        let Some(entry) = frame.client_message_id.as_deref().and_then(Entry::from_id) else { return };
        self.outbox.retain(|unacked| unacked.post.entry != entry);
        let duplicate = frame.duplicate == Some(true);
        io.told.push(Happening::Acked { entry, seq: frame.seq, duplicate });
    }

    fn refused(&mut self, frame: &Frame, now: Instant, io: &mut Io) {
        let wait = frame.retry_after_ms.map_or(REFUSED_WAIT, Duration::from_millis);
        let entry = frame.reply_to.as_deref().and_then(Entry::from_id);
        if let Some(unacked) = self.outbox.iter_mut().find(|unacked| Some(unacked.post.entry) == entry) {
            unacked.again_at = now + wait;
        }
        io.told.push(Happening::Refused(frame.code.as_deref().unwrap_or("?").to_owned()));
    }
}

impl Dialect for Weeziq {
    fn path(&self) -> &'static str {
        "/ws"
    }

    fn opened(&mut self, io: &mut Io) {
        let mut join = json!({"type": "join-room", "roomId": self.room_id, "userId": self.user_id,
                              "userName": self.user_id});
        if let (Some(epoch), Some(join)) = (&self.epoch, join.as_object_mut()) {
            join.insert("epoch".into(), json!(epoch));
            join.insert("lastSeq".into(), json!(self.last_seq));
        }
        self.state = State::Joining;
        io.out.push(join.to_string());
        io.told.push(Happening::Asked);
    }

    fn heard(&mut self, frame: &str, now: Instant, io: &mut Io) {
        // Most frames of a storm; nothing here depends on them.
        if IGNORED.iter().any(|kind| frame.starts_with(kind)) {
            return;
        }
        let Ok(frame) = serde_json::from_str::<Frame>(frame) else {
            io.told.push(Happening::Refused("unreadable frame".into()));
            return;
        };
        match &*frame.kind {
            "new-message" => self.message(&frame, now, io),
            "message-sent" => self.acked(&frame, io),
            "joined-room" => self.joined(&frame, now, io),
            "message-history" if frame.reply_to.as_deref() == Some(FETCH_ID) => self.fetched(&frame, now, io),
            "error" => self.refused(&frame, now, io),
            _ => {}
        }
    }

    fn publish(&mut self, post: Post, now: Instant, io: &mut Io) {
        if matches!(self.state, State::Here) {
            io.out.push(sent(&self.room_id, &self.user_id, &post));
        }
        self.outbox.push_back(Unacked { post, again_at: now + ACK_MAX });
    }

    fn lost(&mut self) {
        self.state = State::Away;
    }

    fn deadline(&self) -> Option<Instant> {
        let here = matches!(self.state, State::Here);
        self.outbox.iter().map(|unacked| unacked.again_at).min().filter(|_| here)
    }

    fn due(&mut self, now: Instant, io: &mut Io) {
        for unacked in self.outbox.iter_mut().filter(|unacked| unacked.again_at <= now) {
            unacked.again_at = now + ACK_MAX;
            io.out.push(sent(&self.room_id, &self.user_id, &unacked.post));
        }
    }

    /// Doubles from 250 ms to 4 s; between half and the whole of it, so that a crowd spreads.
    fn backoff(&self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        let whole = BACKOFF_FIRST.saturating_mul(1 << attempt.min(10)).min(BACKOFF_MAX);
        whole.mul_f64(0.5 + random.f64() / 2.0)
    }

    fn asked_to_wait(&self, code: u16, reason: &str) -> Option<Duration> {
        let (_, ms) = reason.split_once("retryAfterMs=").filter(|_| code == 1001)?;
        let digits = ms.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(|ms: u64| Duration::from_millis(ms.min(RETRY_AFTER_MS_MAX)))
    }
}

const RETRY_AFTER_MS_MAX: u64 = 60_000;

fn sent(room_id: &str, user_id: &str, post: &Post) -> String {
    let id = post.entry.id();
    json!({"type": "send-message", "roomId": room_id, "userId": user_id, "userName": user_id, "role": "user",
           "message": post.text, "clientMessageId": id, "id": id})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(index: u32) -> String {
        Mark { entry: Entry { room: Room(0), index }, due_us: 5 }.text(20)
    }

    fn new_message(seq: u64) -> String {
        json!({"type": "new-message", "seq": seq, "message": text(seq as u32 - 1)}).to_string()
    }

    fn heard(client: &mut Weeziq, frame: &str) -> Io {
        let mut io = Io::default();
        client.heard(frame, Instant::now(), &mut io);
        io
    }

    fn seqs(io: &Io) -> Vec<u64> {
        let seq = |happening: &Happening| match happening {
            Happening::Delivered { seq, .. } => *seq,
            _ => None,
        };
        io.told.iter().filter_map(seq).collect()
    }

    /// Has heard up to `seq` 3 and lost its connection.
    fn away() -> Weeziq {
        let mut client = Weeziq::new(Client(0), Room(0));
        client.opened(&mut Io::default());
        let io = heard(&mut client, r#"{"type":"joined-room","epoch":"e","seq":2,"resumed":false}"#);
        assert_eq!(io.told, [Happening::Joined(Return::First), Happening::CaughtUp]);
        assert_eq!(seqs(&heard(&mut client, &new_message(3))), [3]);
        client.lost();
        client
    }

    fn rejoin(client: &mut Weeziq) -> String {
        let mut io = Io::default();
        client.opened(&mut io);
        io.out.concat()
    }

    #[test]
    fn a_return_names_its_place_and_is_caught_up_with_the_last_missed_event() {
        let mut client = away();
        let join = rejoin(&mut client);
        assert!(join.contains(r#""epoch":"e""#) && join.contains(r#""lastSeq":3"#), "{join}");
        let io = heard(&mut client, r#"{"type":"joined-room","epoch":"e","seq":5,"resumed":true}"#);
        assert_eq!(io.told, [Happening::Joined(Return::Resumed { missed: 2 })]);
        assert!(!heard(&mut client, &new_message(4)).told.contains(&Happening::CaughtUp));
        assert_eq!(heard(&mut client, &new_message(5)).told.last(), Some(&Happening::CaughtUp));
    }

    #[test]
    fn what_a_join_cannot_replay_is_fetched_in_pages_and_live_messages_wait() {
        let mut client = away();
        rejoin(&mut client);
        let io = heard(&mut client, r#"{"type":"joined-room","epoch":"e","seq":7,"resumed":false}"#);
        assert!(io.out.concat().contains(r#""afterSeq":3"#));
        assert!(seqs(&heard(&mut client, &new_message(8))).is_empty());
        let by_itself = json!({"type": "message-history", "messages": [{"seq": 7, "message": text(6)}]});
        assert!(seqs(&heard(&mut client, &by_itself.to_string())).is_empty());
        let page = |seqs: &[u64], more: bool| {
            let rows: Vec<_> =
                seqs.iter().map(|s| json!({"seq": s, "message": text(*s as u32 - 1)})).collect();
            json!({"type": "message-history", "replyTo": "fetch", "messages": rows, "hasMore": more})
                .to_string()
        };
        let io = heard(&mut client, &page(&[4, 5], true));
        assert!(seqs(&io) == [4, 5] && io.out.concat().contains(r#""afterSeq":5"#));
        let io = heard(&mut client, &page(&[6, 7], false));
        assert_eq!(seqs(&io), [6, 7, 8]);
        assert_eq!(io.told.last(), Some(&Happening::CaughtUp));
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_under_its_name() {
        let mut client = away();
        let entry = Entry { room: Room(0), index: 3 };
        let mut io = Io::default();
        client.publish(Post { entry, text: text(3) }, Instant::now(), &mut io);
        assert!(io.out.is_empty() && client.deadline().is_none());
        rejoin(&mut client);
        let io = heard(&mut client, r#"{"type":"joined-room","epoch":"e","seq":3,"resumed":true}"#);
        assert!(io.out.concat().contains(r#""clientMessageId":"m0-3""#));
        let io =
            heard(&mut client, r#"{"type":"error","code":"rate_limited","retryAfterMs":0,"replyTo":"m0-3"}"#);
        assert_eq!(io.told, [Happening::Refused("rate_limited".into())]);
        let mut io = Io::default();
        client.due(Instant::now(), &mut io);
        assert_eq!(io.out.len(), 1);
        let ack = r#"{"type":"message-sent","clientMessageId":"m0-3","seq":4,"duplicate":true}"#;
        let told = heard(&mut client, ack).told;
        assert_eq!(told, [Happening::Acked { entry, seq: Some(4), duplicate: true }]);
        assert!(client.deadline().is_none());
    }

    #[test]
    fn a_close_may_name_the_time_to_wait() {
        let client = Weeziq::new(Client(0), Room(0));
        let ms = |reason| client.asked_to_wait(1001, reason).map(|wait| wait.as_millis());
        assert_eq!(ms("restarting; retryAfterMs=1234"), Some(1234));
        assert_eq!(ms("restarting; retryAfterMs=99999999; x"), Some(60_000));
        assert_eq!(ms("restarting; reconnect"), None);
        assert_eq!(client.asked_to_wait(4008, "retryAfterMs=5"), None);
        let mut random = fastrand::Rng::with_seed(1);
        for (attempt, ms) in [(0, 250), (1, 500), (4, 4000), (99, 4000)] {
            let wait = client.backoff(attempt, &mut random).as_millis();
            assert!((ms / 2..=ms).contains(&wait), "{attempt}: {wait}");
        }
    }
}
