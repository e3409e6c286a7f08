//! One room as one client knows it: where it stands in the log, who is there, who types, who is in charge. The
//! checkers of what a single client may see are here.

use std::collections::{BTreeMap, BTreeSet};

use weeziq_core::limits::RESUME_EVENTS_MAX;

use crate::answers::{Reading, Request, Told, Wants};
use crate::checks::{Checker, Checks};
use crate::frame::{Frame, Heard};

#[derive(Default)]
pub(crate) struct View {
    pub(crate) is_wanted: bool,
    pub(crate) is_member: bool,
    pub(crate) epoch: Option<String>,
    pub(crate) last: u64,
    /// With which epoch and seq it asked to go on.
    pub(crate) claimed: Option<(String, u64)>,
    /// What `joined-room` said of the log's end, until that is reached.
    behind: Option<(u64, bool)>,
    expects_history: bool,
    /// Who was in charge from which seq on.
    toggles: BTreeMap<u64, bool>,
    pub(crate) typing: BTreeSet<String>,
    pub(crate) users: Option<(Vec<String>, usize)>,
    /// Messages that it may try to change.
    pub(crate) known: Vec<String>,
    /// Answers that are written in it, by the conversation that writes.
    readings: BTreeMap<String, Reading>,
}

const KNOWN_MAX: usize = 8;

impl View {
    pub(crate) fn wanted() -> Self {
        Self { is_wanted: true, ..Self::default() }
    }

    /// The connection is gone, or the room left: what was volatile is unknown.
    pub(crate) fn forget_presence(&mut self) {
        self.is_member = false;
        (self.behind, self.expects_history) = (None, false);
        self.typing.clear();
        self.readings.clear();
        self.users = None;
    }

    pub(crate) fn hear(&mut self, name: &str, frame: &Frame, checks: &mut Checks) {
        let heard = &*frame.heard;
        match heard.kind.as_str() {
            "joined-room" => self.join(name, heard, checks),
            "left-room" => self.forget_presence(),
            // Asked for what is so already: told without a place of its own.
            "live-agent-toggled" if frame.reply_to.is_some() => {}
            _ if heard.is_durable() => self.advance(name, heard, checks),
            "message-history" => self.read_history(name, frame, checks),
            "ai-stream-chunk" | "ai-stream-complete" => self.hear_ai(name, frame, checks),
            "user-typing" => {
                let user = heard.user_id.clone().unwrap_or_default();
                if heard.is_typing == Some(true) {
                    self.typing.insert(user)
                } else {
                    self.typing.remove(&user)
                };
            }
            "room-users" => {
                let users = heard.users.iter().flatten().map(|person| person.user_id.clone());
                self.users = Some((users.collect(), heard.count.unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn join(&mut self, name: &str, heard: &Heard, checks: &mut Checks) {
        let (seq, live) = (heard.seq.unwrap_or_default(), heard.live_agent.unwrap_or_default());
        let claimed = self.claimed.take();
        let can_resume = claimed.as_ref().is_some_and(|(epoch, last)| {
            Some(epoch) == heard.epoch.as_ref()
                && seq.checked_sub(*last).is_some_and(|missed| missed <= RESUME_EVENTS_MAX)
        });
        checks.require(heard.resumed == Some(can_resume), Checker::Resume, || {
            format!("from {claimed:?} in {name}: {}", heard.json)
        });
        let is_same_log = self.epoch.is_none() || self.epoch == heard.epoch;
        checks.require(is_same_log, Checker::Resume, || format!("{name} has another epoch: {}", heard.json));
        self.is_member = true;
        self.epoch = heard.epoch.clone();
        self.expects_history = !can_resume && claimed.is_some();
        match claimed.filter(|_| can_resume) {
            Some((_, last)) => {
                if last > self.last {
                    // It claimed to have seen more than it had, and so does not know who was in charge there.
                    self.toggles = BTreeMap::from([(seq, live)]);
                }
                self.last = last;
                self.behind = Some((seq, live));
            }
            None => {
                self.last = seq;
                self.behind = None;
                self.toggles = BTreeMap::from([(seq, live)]);
            }
        }
        self.catch_up(name, checks);
    }

    fn advance(&mut self, name: &str, heard: &Heard, checks: &mut Checks) {
        let (seq, last) = (heard.seq.unwrap_or_default(), self.last);
        checks.require(self.is_member, Checker::Delivery, || format!("no member of {name}: {}", heard.json));
        checks.require(seq == last + 1, Checker::Delivery, || format!("{seq} follows {last} in {name}"));
        self.last = seq;
        if let Some(enabled) = heard.enabled {
            self.toggles.insert(seq, enabled);
            if enabled {
                // To a member that is the end of what was being written, and all it hears of one.
                self.readings.clear();
            }
        }
        let by_ai = heard.role.as_deref() == Some("assistant");
        checks.require(!(by_ai && self.is_fenced()), Checker::Fence, || {
            format!("an answer in {name}, where people are in charge: {}", heard.json)
        });
        if heard.kind == "new-message" {
            self.known.extend(heard.id.clone());
            let surplus = self.known.len().saturating_sub(KNOWN_MAX);
            self.known.drain(..surplus);
        }
        checks.tell(name, seq, heard);
        self.catch_up(name, checks);
    }

    fn catch_up(&mut self, name: &str, checks: &mut Checks) {
        let Some((_, live)) = self.behind.take_if(|(seq, _)| *seq == self.last) else { return };
        let is_fenced = self.is_fenced();
        checks.require(is_fenced == live, Checker::Resume, || {
            format!("liveAgent of {name} was said to be {live} and is {is_fenced}")
        });
    }

    fn is_fenced(&self) -> bool {
        self.toggles.range(..=self.last).next_back().is_some_and(|(_, enabled)| *enabled)
    }

    fn read_history(&mut self, name: &str, frame: &Frame, checks: &mut Checks) {
        let seqs: Vec<u64> = frame.heard.messages.iter().flatten().map(|message| message.seq).collect();
        let is_sorted = seqs.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        checks.require(is_sorted, Checker::Delivery, || format!("a history of {name} in disorder: {seqs:?}"));
        let ahead = seqs.last().copied().unwrap_or_default() > self.last;
        checks.require(!(self.is_member && ahead), Checker::Delivery, || {
            format!("a history of {name} is ahead of seq {}: {seqs:?}", self.last)
        });
        self.expects_history &= frame.reply_to.is_some();
    }

    /// What it asked for itself it hears from the conversation (`Client::read`).
    fn hear_ai(&mut self, name: &str, frame: &Frame, checks: &mut Checks) {
        let (heard, is_own) = (&*frame.heard, frame.reply_to.is_some());
        // The end of an own answer says once more what has been heard of it.
        let is_news = !is_own || heard.kind == "ai-stream-chunk";
        checks.require(!(self.is_member && self.is_fenced() && is_news), Checker::Fence, || {
            format!("AI text in {name} after seq {}, where people are in charge: {}", self.last, heard.json)
        });
        if !is_own && self.is_member {
            let wants = Wants::Overheard { words_travel: checks.words_travel };
            read(&mut self.readings, None, Request { id: "", wants }, heard, checks);
        }
    }

    /// At the end, of a member.
    pub(crate) fn settle(&self, name: &str, last: u64, present: &BTreeSet<String>, checks: &mut Checks) {
        checks.require(self.last == last && self.behind.is_none(), Checker::Delivery, || {
            format!("{name} ends at {last}, a member has seen it to {}", self.last)
        });
        checks.require(!self.expects_history, Checker::Resume, || format!("no fresh history of {name}"));
        checks.require(self.typing.is_empty(), Checker::Typing, || {
            format!("in {name} these type for ever: {:?}", self.typing)
        });
        let is_right = self.users.as_ref().is_some_and(|(users, count)| {
            let listed: BTreeSet<&String> = users.iter().collect();
            *count == present.len() && (users.is_empty() || listed.iter().copied().eq(present.iter()))
        });
        checks.require(is_right, Checker::Presence, || {
            format!("{present:?} are in {name}, a member was told {:?}", self.users)
        });
    }
}

/// One frame of an answer, of its conversation or of a reading beside that.
pub(crate) fn read(
    readings: &mut BTreeMap<String, Reading>,
    beside: Option<String>,
    request: Request<'_>,
    heard: &Heard,
    checks: &mut Checks,
) {
    let Some(conversation) = &heard.conversation_id else { return };
    let reading = readings.entry(beside.unwrap_or_else(|| conversation.clone())).or_default();
    let read = match (&heard.chunk, heard.index, heard.full_response.as_ref().or(heard.message.as_ref())) {
        (Some(text), Some(index), _) => checks.answers.chunk(reading, request, index, text),
        (_, _, Some(text)) => {
            let reason = heard.finish_reason.as_deref().unwrap_or_default();
            checks.answers.end(reading, request, &Told { text, reason, is_error: heard.error })
        }
        _ => Ok(()),
    };
    checks.same_text(read, heard);
}
