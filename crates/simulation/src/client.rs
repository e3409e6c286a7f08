//! A client as the client library behaves: it keeps what is not acknowledged and sends it again under the same
//! `clientMessageId`, and it comes back with the epoch and the seq that it has seen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use weeziq_core::ids::ConnId;

use crate::answers::{Reading, Request, Wants};
use crate::checks::{Checker, Checks};
use crate::frame::{Frame, Heard};
use crate::host::ANSWERS_BY_ITSELF;
use crate::rng::Rng;
use crate::view::{self, View};

pub(crate) struct Client {
    name: String,
    /// Several clients may be one user: tabs.
    pub(crate) user: String,
    role: Option<&'static str>,
    pub(crate) conn: Option<ConnId>,
    pub(crate) views: BTreeMap<String, View>,
    /// Messages that are not acknowledged.
    outbox: Vec<Message>,
    /// Some that are.
    sent: Vec<Message>,
    /// What was refused for a reason that passes, and when to ask again.
    again: Vec<(i64, Again)>,
    /// Requests on this connection that are not answered, by their `id`.
    waiting: BTreeMap<String, Waits>,
    /// The answers that it asked for, by conversation; it comes back to those that it was cut off from.
    readings: BTreeMap<String, Reading>,
    next: u64,
    visitor: Option<(String, String)>,
    pub(crate) is_visiting: bool,
    /// It has ended an answer without a name for the request: an end without one may be the reply.
    cancels: bool,
    /// It has taken all the places that one connection may have, and may find no way back into its rooms.
    hoards: bool,
    /// Who the statistics say are on the site.
    pub(crate) listed: Option<BTreeSet<String>>,
    /// What is to be sent.
    pub(crate) out: Vec<String>,
}

#[derive(Clone)]
struct Message {
    id: String,
    room: String,
    text: String,
    /// Not to be sent again before that; None: at the next look.
    wait_until: Option<i64>,
}

enum Again {
    Join(String),
    Leave(String),
    Visit,
}

/// What an answer is awaited for.
enum Waits {
    Join(String),
    Leave(String),
    Send(String),
    Ask(Wants),
    Visit,
    /// Only what changes nothing is answered, or what is refused.
    Toggle,
    Other,
}

/// How long a refused request waits before it is made again.
const AGAIN_MS: i64 = 700;
const SENT_MAX: usize = 4;

impl Client {
    pub(crate) fn new(index: usize, user: usize, role: Option<&'static str>, rooms: &[String]) -> Self {
        let view = |room: &String| (room.clone(), View::wanted());
        Self {
            name: format!("c{index}"),
            user: format!("user-{user}"),
            role,
            conn: None,
            views: rooms.iter().map(view).collect(),
            outbox: Vec::new(),
            sent: Vec::new(),
            again: Vec::new(),
            waiting: BTreeMap::new(),
            readings: BTreeMap::new(),
            next: 0,
            visitor: index
                .is_multiple_of(3)
                .then(|| (format!("shop-{}", index % 2), format!("visitor-{user}"))),
            is_visiting: false,
            cancels: false,
            hoards: false,
            listed: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn visits(&self) -> Option<&(String, String)> {
        self.visitor.as_ref().filter(|_| self.is_visiting)
    }

    /// A new connection: rooms again from where they were left, then what was not acknowledged.
    pub(crate) fn connect(&mut self, conn: ConnId, rng: &mut Rng) {
        self.conn = Some(conn);
        let rooms = self.views.iter().filter(|(_, view)| view.is_wanted);
        let rooms: Vec<String> = rooms.map(|(room, _)| room.clone()).collect();
        for room in rooms {
            self.join(&room, rng);
        }
        for message in self.outbox.clone() {
            self.say(&message);
        }
        if self.is_visiting {
            self.visit();
        }
        self.read_on();
    }

    /// What it was reading goes on from where it was cut off.
    fn read_on(&mut self) {
        self.readings.retain(|name, _| !name.contains(' '));
        let stands = |(name, reading): (&String, &Reading)| Some((name.clone(), reading.stands_at()?));
        let begun: Vec<(String, u32)> = self.readings.iter().filter_map(stands).collect();
        for (conversation, index) in begun {
            let event = json!({ "type": "ai-resume", "conversationId": conversation, "afterIndex": index });
            self.request(Waits::Ask(Wants::Rest(index + 1)), event);
        }
    }

    pub(crate) fn disconnect(&mut self) {
        self.conn = None;
        (self.hoards, self.cancels) = (false, false);
        self.waiting.clear();
        self.again.clear();
        self.out.clear();
        self.outbox.iter_mut().for_each(|message| message.wait_until = None);
        self.views.values_mut().for_each(View::forget_presence);
    }

    /// One thing that people do.
    pub(crate) fn act(&mut self, rng: &mut Rng) {
        let rooms: Vec<&String> = self.views.iter().filter(|(_, v)| v.is_wanted).map(|(r, _)| r).collect();
        let Some(room) = rng.pick(&rooms).map(|room| (*room).clone()) else {
            return self.toggle_membership(rng);
        };
        match rng.below(100) {
            0..40 => self.compose(&room, rng),
            40..46 => self.repeat(rng),
            46..56 => self.type_text(&room, rng),
            56..62 => self.change(&room, rng),
            62..64 => self.request(Waits::Other, json!({ "type": "mark-read", "roomId": room, "seq": 3 })),
            64..66 => {
                self.request(Waits::Other, json!({ "type": "fetch-history", "roomId": room, "limit": 7 }));
            }
            66..69 => {
                let status = if rng.chance(50) { "away" } else { "online" };
                self.push(json!({ "type": "user-online", "roomId": room, "status": status }));
            }
            69..73 => self.toggle_membership(rng),
            73..76 => self.join_again(&room, rng),
            76..83 => self.ask(&room, rng),
            83..86 => self.follow(rng),
            86..91 => self.take_over(&room, rng),
            91..96 => self.browse(rng),
            96..98 => self.out.push(r#"{"type":"no-such-thing"}"#.into()),
            _ => {
                let customer = &self.user;
                let event = json!({ "type": "customer-joined-room", "roomId": room, "customerId": customer, "customerName": "x" });
                self.push(event);
            }
        }
    }

    fn compose(&mut self, room: &str, rng: &mut Rng) {
        self.next += 1;
        let (id, text) = (format!("{}-{}", self.name, self.next), format!("says {}", self.next));
        let message = Message { id, room: room.to_owned(), text, wait_until: Some(i64::MAX) };
        self.say(&message);
        if rng.chance(8) {
            self.say(&message);
        }
        self.outbox.push(message);
    }

    /// A retry that nobody needed: of the last message, acknowledged or not.
    fn repeat(&mut self, rng: &mut Rng) {
        let from = if rng.chance(50) { &self.outbox } else { &self.sent };
        if let Some(message) = rng.pick(from).cloned() {
            self.say(&message);
        }
    }

    fn say(&mut self, message: &Message) {
        let mut event = json!({
            "type": "send-message", "roomId": message.room, "message": message.text,
            "role": self.role.unwrap_or("user"), "clientMessageId": message.id,
        });
        if let Some(domain) = domain_of(&message.room) {
            set(&mut event, "domainId", json!(domain));
        }
        self.request(Waits::Send(message.id.clone()), event);
    }

    fn type_text(&mut self, room: &str, rng: &mut Rng) {
        let is_typing = rng.chance(70);
        if self.views.get(room).is_some_and(|view| view.is_member) {
            self.push(json!({ "type": "typing", "roomId": room, "isTyping": is_typing }));
        }
    }

    fn change(&mut self, room: &str, rng: &mut Rng) {
        let Some(id) = self.views.get(room).and_then(|view| rng.pick(&view.known).cloned()) else { return };
        let event = if rng.chance(60) {
            json!({ "type": "edit-message", "roomId": room, "messageId": id, "message": "edited" })
        } else {
            json!({ "type": "delete-message", "roomId": room, "messageId": id })
        };
        self.request(Waits::Other, event);
    }

    fn toggle_membership(&mut self, rng: &mut Rng) {
        let rooms: Vec<&String> = self.views.keys().collect();
        let Some(room) = rng.pick(&rooms).map(|room| (*room).clone()) else { return };
        let leaves = |waits: &Waits| matches!(waits, Waits::Leave(left) if *left == room);
        let is_leaving = self.waiting.values().any(leaves);
        let Some(view) = self.views.get_mut(&room) else { return };
        if view.is_wanted && view.is_member {
            view.is_wanted = false;
            self.leave(&room);
        } else if !view.is_wanted && !view.is_member && !is_leaving {
            view.is_wanted = true;
            self.join(&room, rng);
        }
    }

    fn leave(&mut self, room: &str) {
        self.request(Waits::Leave(room.to_owned()), json!({ "type": "leave-room", "roomId": room }));
    }

    fn join_again(&mut self, room: &str, rng: &mut Rng) {
        if !self.is_joining(room) {
            self.join(room, rng);
        }
    }

    fn join(&mut self, room: &str, rng: &mut Rng) {
        let Some(view) = self.views.get_mut(room) else { return };
        let mut event = json!({ "type": "join-room", "roomId": room });
        if let Some(epoch) = view.epoch.clone().filter(|_| rng.chance(95)) {
            let (epoch, last) = match rng.below(40) {
                0 => ("of-another-log".to_owned(), view.last),
                1 => (epoch, view.last + rng.between(1, 3) as u64),
                _ => (epoch, view.last),
            };
            set(&mut event, "epoch", json!(epoch));
            set(&mut event, "lastSeq", json!(last));
            view.claimed = Some((epoch, last));
        } else {
            view.claimed = None;
        }
        if let Some(role) = self.role {
            set(&mut event, "role", json!(role));
        }
        if let Some(domain) = domain_of(room) {
            set(&mut event, "domainId", json!(domain));
        }
        self.request(Waits::Join(room.to_owned()), event);
    }

    fn ask(&mut self, room: &str, rng: &mut Rng) {
        let kind = if rng.chance(70) { "ai-stream" } else { "ai-chat" };
        let wants = if kind == "ai-stream" { Wants::Stream } else { Wants::End };
        let mut event = json!({ "type": kind, "message": "why?" });
        let few = rng.chance(50);
        if rng.chance(80) {
            set(&mut event, "conversationId", json!(format!("talk-{}", rng.below(3))));
        }
        if rng.chance(70) {
            set(&mut event, "roomId", json!(room));
        }
        if rng.chance(3) {
            set(&mut event, "model", json!("unheard-of"));
        }
        // Now and then everyone wants to know at once.
        for n in 0..if rng.chance(5) { 12 } else { 1 } {
            if !few {
                set(&mut event, "message", json!(format!("why {n}?")));
            }
            self.request(Waits::Ask(wants), event.clone());
        }
    }

    /// Comes to an answer that somebody asked for, or ends it. Who hears answers already hears the end of this one under the
    /// name that it has them by, so that nothing is waited for.
    fn follow(&mut self, rng: &mut Rng) {
        let kind = if rng.chance(70) { "ai-resume" } else { "ai-cancel" };
        let conversation = format!("talk-{}", rng.below(3));
        let mut event = json!({ "type": kind, "conversationId": conversation });
        let mut wants = if kind == "ai-resume" { Wants::Rest(0) } else { Wants::End };
        if kind == "ai-resume" && rng.chance(50) {
            let after = rng.below(4) as u32;
            set(&mut event, "afterIndex", json!(after));
            wants = Wants::Rest(after + 1);
        }
        let hears = self.waiting.values().any(|waits| matches!(waits, Waits::Ask(_)));
        match kind {
            "ai-cancel" if hears => {
                self.cancels = true;
                self.push(event);
            }
            _ if hears => {}
            _ => {
                self.readings.remove(&conversation);
                self.request(Waits::Ask(wants), event);
            }
        }
    }

    fn take_over(&mut self, room: &str, rng: &mut Rng) {
        let enabled = rng.chance(50);
        let event = json!({ "type": "toggle-live-agent", "roomId": room, "enabled": enabled });
        self.request(Waits::Toggle, event);
    }

    fn browse(&mut self, rng: &mut Rng) {
        let Some((domain, visitor)) = self.visitor.clone() else {
            let event = json!({ "type": "get-domain-stats", "domainId": "shop-0" });
            return self.request(Waits::Other, event);
        };
        let event = |kind| json!({ "type": kind, "domainId": domain, "visitorId": visitor });
        if !self.is_visiting {
            self.is_visiting = true;
            self.visit();
        } else if rng.chance(60) {
            self.push(event("visitor-activity"));
        } else if !self.waiting.values().any(|waits| matches!(waits, Waits::Visit)) {
            self.is_visiting = false;
            self.request(Waits::Visit, event("visitor-left-domain"));
        }
    }

    fn visit(&mut self) {
        if let Some((domain, visitor)) = &self.visitor {
            let kind = if self.is_visiting { "visitor-joined-domain" } else { "visitor-left-domain" };
            let event = json!({ "type": kind, "domainId": domain, "visitorId": visitor });
            self.request(Waits::Visit, event);
        }
    }

    pub(crate) fn look_at(&mut self, domain: &str) {
        self.listed = None;
        self.request(Waits::Other, json!({ "type": "get-domain-stats", "domainId": domain }));
    }

    /// Joins more rooms than one may be in.
    pub(crate) fn hoard(&mut self) {
        self.hoards = true;
        for room in 0..70 {
            let event = json!({ "type": "join-room", "roomId": format!("hoard-{room}") });
            self.request(Waits::Other, event);
        }
    }

    fn request(&mut self, waits: Waits, mut event: Value) {
        self.next += 1;
        let id = format!("r{}", self.next);
        set(&mut event, "id", json!(id));
        self.waiting.insert(id, waits);
        self.push(event);
    }

    /// Everything states who it comes from; where that says nothing it is passed over.
    fn push(&mut self, mut event: Value) {
        set(&mut event, "userId", json!(self.user));
        set(&mut event, "userName", json!(self.user));
        self.out.push(event.to_string());
    }

    /// Sends again what was refused for a reason that passes.
    pub(crate) fn keep_up(&mut self, now: i64, rng: &mut Rng) {
        let mut due = Vec::new();
        for message in &mut self.outbox {
            if message.wait_until.take_if(|until| *until <= now).is_some() {
                message.wait_until = Some(i64::MAX);
                due.push(message.clone());
            }
        }
        due.iter().for_each(|message| self.say(message));
        let (due, again) = std::mem::take(&mut self.again).into_iter().partition(|(at, _)| *at <= now);
        self.again = again;
        let due: Vec<(i64, Again)> = due;
        for (_, request) in due {
            self.make_again(request, rng);
        }
    }

    fn make_again(&mut self, request: Again, rng: &mut Rng) {
        match request {
            Again::Join(room) if !self.is_joining(&room) => {
                if self.views.get(&room).is_some_and(|view| view.is_wanted) {
                    self.join(&room, rng);
                }
            }
            Again::Join(_) => {}
            Again::Leave(room) => self.leave(&room),
            Again::Visit => self.visit(),
        }
    }

    fn is_joining(&self, room: &str) -> bool {
        self.waiting.values().any(|waits| matches!(waits, Waits::Join(joined) if joined == room))
    }

    pub(crate) fn hear(&mut self, frame: &Frame, now: i64, checks: &mut Checks) {
        let heard = &*frame.heard;
        let is_chunk = heard.kind == "ai-stream-chunk";
        let room =
            heard.room_id.as_deref().and_then(|room| self.views.get_mut(room).map(|view| (room, view)));
        let may_be_reply = self.cancels && heard.kind == "ai-stream-complete" && frame.reply_to.is_none();
        if let Some((room, view)) = room.filter(|_| !may_be_reply) {
            view.hear(room, frame, checks);
        }
        if heard.kind == "domain-stats" {
            let visitors = heard.visitors.iter().flatten().map(|visitor| visitor.id.clone());
            self.listed = Some(visitors.collect());
        }
        let Some(reply_to) = frame.reply_to.as_deref() else { return };
        if let Some(Waits::Ask(wants)) = self.waiting.get(reply_to) {
            let request = Request { id: reply_to, wants: *wants };
            let beside = self.beside(heard, request);
            view::read(&mut self.readings, beside, request, heard, checks);
        }
        if is_chunk {
            let is_asked = self.waiting.contains_key(reply_to);
            return checks.require(is_asked, Checker::OneEnd, || {
                format!("{} hears of {reply_to} after its end: {}", self.name, heard.json)
            });
        }
        match self.waiting.remove(reply_to) {
            Some(waits) => self.take_answer(waits, frame, now, checks),
            None => {
                let checker = if heard.kind.starts_with("ai-") { Checker::OneEnd } else { Checker::Answered };
                checks.fail(checker, format!("{} is answered twice: {}", reply_to, heard.json));
            }
        }
    }

    /// If it reads this answer already: it asked the same twice, and hears it twice.
    fn beside(&self, heard: &Heard, request: Request<'_>) -> Option<String> {
        let own = format!("{} {}", self.name, request.id);
        if self.readings.contains_key(&own) {
            return Some(own);
        }
        let other = self.readings.get(heard.conversation_id.as_ref()?)?;
        // Or it has just asked for the rest of it.
        let is_resuming = || self.waiting.values().any(|waits| matches!(waits, Waits::Ask(Wants::Rest(_))));
        let is_read =
            other.stands_at().is_some() && (self.waiting.contains_key(other.request()) || is_resuming());
        (request.wants == Wants::Stream && is_read && other.request() != request.id).then_some(own)
    }

    fn take_answer(&mut self, waits: Waits, frame: &Frame, now: i64, checks: &mut Checks) {
        let heard = &*frame.heard;
        let may_pass = matches!(heard.code.as_deref(), Some("unavailable" | "rate_limited"));
        match waits {
            Waits::Send(id) if heard.kind == "message-sent" => self.take_ack(&id, frame, checks),
            Waits::Send(id) => {
                let again = now + heard.retry_after_ms.unwrap_or_default().max(200);
                let message = self.outbox.iter_mut().find(|message| message.id == id);
                checks.require(may_pass, Checker::Answered, || format!("a message gets {}", heard.json));
                message.into_iter().for_each(|message| message.wait_until = Some(again));
            }
            Waits::Join(room) if may_pass => self.again.push((now + AGAIN_MS, Again::Join(room))),
            Waits::Join(room) if self.hoards && heard.code.as_deref() == Some("invalid_request") => {
                self.views.get_mut(&room).into_iter().for_each(|view| view.is_wanted = false);
            }
            Waits::Leave(room) if may_pass => self.again.push((now + AGAIN_MS, Again::Leave(room))),
            Waits::Visit if may_pass => self.again.push((now + AGAIN_MS, Again::Visit)),
            Waits::Other if heard.kind == "message-sent" => {
                let place = heard.room_id.as_deref().zip(heard.seq);
                place.into_iter().for_each(|(room, seq)| checks.ack_change(room, seq));
            }
            _ => {}
        }
    }

    fn take_ack(&mut self, id: &str, frame: &Frame, checks: &mut Checks) {
        let heard = &*frame.heard;
        self.sent.extend(self.outbox.extract_if(.., |message| message.id == id));
        let surplus = self.sent.len().saturating_sub(SENT_MAX);
        self.sent.drain(..surplus);
        let bears_id = heard.client_message_id.as_deref() == Some(id);
        checks.require(bears_id, Checker::SameAck, || format!("the ack of {id} is {}", heard.json));
        if let (Some(room), Some(name), Some(seq)) = (&heard.room_id, &heard.id, heard.seq) {
            checks.ack(room, &self.user, id, name, seq);
        }
    }

    /// At the end: nothing is owed.
    pub(crate) fn settle(&self, checks: &mut Checks) {
        for (id, waits) in self.waiting.iter().filter(|(_, waits)| !matches!(waits, Waits::Toggle)) {
            let checker = if matches!(waits, Waits::Ask(_)) { Checker::OneEnd } else { Checker::Answered };
            checks.fail(checker, format!("{} still waits for the answer to {id}", self.name));
        }
        checks.require(self.outbox.is_empty(), Checker::Answered, || {
            let ids: Vec<&String> = self.outbox.iter().map(|message| &message.id).collect();
            format!("{} could never send {ids:?}", self.name)
        });
    }
}

/// Every second room belongs to a site, whose AI answers customers by itself.
fn domain_of(room: &str) -> Option<&'static str> {
    room.ends_with(['1', '3']).then_some(ANSWERS_BY_ITSELF)
}

fn set(event: &mut Value, name: &str, value: Value) {
    if let Some(fields) = event.as_object_mut() {
        fields.insert(name.into(), value);
    }
}
