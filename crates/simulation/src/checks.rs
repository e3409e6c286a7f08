//! What must hold. Each checker has a name; the first breach ends the run.
//!
//! What one client sees is checked where it is heard (`view.rs`); here is what spans clients and the store.

use std::collections::{BTreeMap, HashMap};

use weeziq_core::ids::{ClientMessageId, RoomId, RunId, Seq};
use weeziq_core::store::conversations::Asked;
use weeziq_core::store::log::Log;
use weeziq_core::store::{Sql, SqlError, Value, outbox};

use crate::answers::Answers;
use crate::frame::{Heard, fingerprint};
use crate::host::ANSWERS_BY_ITSELF;

/// A promise of the contract, by what breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checker {
    /// What was acknowledged is not stored, or not once.
    AckedOnce,
    /// A repeated `clientMessageId` was answered with another place or id.
    SameAck,
    /// A member missed an event, or saw one twice or out of order.
    Delivery,
    /// Two members were told different things under one seq.
    OneOrder,
    /// Something was seen that is not in the log.
    SeenIsStored,
    /// The log has a gap.
    Gapless,
    /// `resumed` was said where it is not so, or the other way round.
    Resume,
    /// AI text after people took over.
    Fence,
    /// What somebody read of an answer is not what the model sent, or not once.
    SameText,
    /// A question without exactly one end.
    OneEnd,
    /// `room-users` does not list those who are there.
    Presence,
    /// Statistics do not list those who are on the site.
    Visitors,
    /// Somebody types for ever.
    Typing,
    /// What one room said into another is not there.
    Published,
    /// What a customer said was not asked of the AI that answers by itself, or not once.
    Unanswered,
    /// A cap was passed.
    Caps,
    /// A request without an answer.
    Answered,
    /// The core wrote what no client can read, or the simulation itself broke.
    Sanity,
}

pub(crate) struct Breach {
    pub(crate) checker: Checker,
    pub(crate) what: String,
}

#[derive(Default)]
pub(crate) struct Checks {
    /// A conversation learns of a takeover some time after the room's members do.
    pub(crate) words_travel: bool,
    pub(crate) breach: Option<Breach>,
    pub(crate) answers: Answers,
    /// By room and seq: the fingerprint of the frame.
    told: HashMap<String, BTreeMap<u64, u64>>,
    /// By room, user and clientMessageId: the message's id and place.
    acked: BTreeMap<(String, String, String), (String, u64)>,
    /// Places of changes that were acknowledged.
    acked_changes: Vec<(String, u64)>,
}

impl Checks {
    pub(crate) fn new(words_travel: bool) -> Self {
        let answers = Answers::new(words_travel);
        Self { words_travel, answers, ..Self::default() }
    }

    pub(crate) fn fail(&mut self, checker: Checker, what: impl Into<String>) {
        self.breach.get_or_insert(Breach { checker, what: what.into() });
    }

    pub(crate) fn require(&mut self, holds: bool, checker: Checker, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(checker, what());
        }
    }

    pub(crate) fn same_text(&mut self, read: Result<(), String>, heard: &Heard) {
        if let Err(why) = read {
            self.fail(Checker::SameText, format!("{why}; {}", heard.json));
        }
    }

    /// Somebody was told a durable event.
    pub(crate) fn tell(&mut self, room: &str, seq: u64, heard: &Heard) {
        if !self.told.contains_key(room) {
            self.told.insert(room.into(), BTreeMap::new());
        }
        let Some(told) = self.told.get_mut(room) else { return };
        if *told.entry(seq).or_insert(heard.print) != heard.print {
            self.fail(Checker::OneOrder, format!("seq {seq} of {room} is told in two ways: {}", heard.json));
        }
    }

    /// A message was acknowledged.
    pub(crate) fn ack(&mut self, room: &str, user: &str, client_message_id: &str, id: &str, seq: u64) {
        let key = (room.to_owned(), user.to_owned(), client_message_id.to_owned());
        let place = (id.to_owned(), seq);
        let first = self.acked.entry(key).or_insert_with(|| place.clone());
        if *first != place {
            let what = format!("{client_message_id} in {room} is {first:?}, then {place:?}");
            self.fail(Checker::SameAck, what);
        }
    }

    pub(crate) fn ack_change(&mut self, room: &str, seq: u64) {
        self.acked_changes.push((room.to_owned(), seq));
    }

    /// After each step: no conversation holds more questions than the one that is answered and those that may wait.
    pub(crate) fn waiting(&mut self, sql: &mut dyn Sql) -> Result<(), SqlError> {
        let mut most = 0;
        let count = "SELECT count(*) FROM run WHERE state = 0 GROUP BY room";
        sql.query(count, &[], &mut |row| most = most.max(row.count(0)))?;
        let cap = weeziq_core::limits::QUESTIONS_WAITING_MAX as u64 + 1;
        self.require(most <= cap, Checker::Caps, || format!("{most} questions in one conversation"));
        Ok(())
    }

    /// At the end: every question that was put to a model stands in the room that it was to be published in, and
    /// nothing is still to be handed over.
    pub(crate) fn published(&mut self, sql: &mut dyn Sql) -> Result<(), SqlError> {
        let kept =
            outbox::all(sql)?.iter().filter(|kept| matches!(kept.word, outbox::Word::Post(..))).count();
        self.require(kept == 0, Checker::Published, || format!("{kept} posts are still to be taken"));
        let mut runs: Vec<Asked> = Vec::new();
        let answered =
            "SELECT asked FROM run WHERE finish_reason IN ('stop', 'length', 'content_filter', 'error')";
        sql.query(answered, &[], &mut |row| runs.extend(serde_json::from_str::<Asked>(row.text(0)).ok()))?;
        for Asked { run, room, said, .. } in runs {
            let Some(room) = room.filter(|_| said.is_none()) else { continue };
            let id = ClientMessageId::of_run("question", RunId(run));
            let mut found = 0;
            sql.query(
                "SELECT count(*) FROM event JOIN room ON room.id = event.room WHERE name = ? AND client_message_id = ?",
                &[Value::Text(room.as_str()), Value::Text(id.as_str())],
                &mut |row| found = row.count(0),
            )?;
            self.require(found == 1, Checker::Published, || {
                format!("the question of run {run:x} stands {found} times in {room}")
            });
        }
        Ok(())
    }

    /// At the end: what customers said where the AI answers by itself was asked of it, and once; and what people said was
    /// recounted to it once.
    pub(crate) fn unanswered(&mut self, sql: &mut dyn Sql) -> Result<(), SqlError> {
        let mut found = Vec::new();
        sql.query(
            "SELECT name || ' asked ' || json_extract(asked, '$.said') || ' twice' FROM run JOIN room ON room.id = run.room
                WHERE json_extract(asked, '$.said') IS NOT NULL
                GROUP BY run.room, json_extract(asked, '$.said') HAVING count(*) > 1
            UNION ALL SELECT name || ' never asked ' || last.seq FROM room JOIN event AS last ON last.room = room.id
                AND last.seq = (SELECT max(seq) FROM event WHERE room = room.id AND kind IN (0, 3))
                WHERE domain = ? AND last.kind = 0 AND last.role IN ('user', 'customer') AND last.seq > said
                AND NOT EXISTS (SELECT 1 FROM event AS gone WHERE gone.room = room.id AND gone.target_seq = last.seq
                    AND gone.kind = 2) AND live_agent = 0
                AND coalesce(last.client_message_id, '') NOT LIKE 'question-%'
            UNION ALL SELECT name || ' was told twice what people said' FROM turn JOIN room ON room.id = turn.room
                WHERE speaker = 2 GROUP BY turn.room, text HAVING count(*) > 1",
            &[Value::Text(ANSWERS_BY_ITSELF)],
            &mut |row| found.push(row.text(0).to_owned()),
        )?;
        found.into_iter().for_each(|what| self.fail(Checker::Unanswered, what));
        Ok(())
    }

    /// At the end: the log against all that was seen and acknowledged. The last seq of each room.
    pub(crate) fn log(&mut self, sql: &mut dyn Sql) -> Result<BTreeMap<String, u64>, SqlError> {
        let mut rooms = Vec::new();
        sql.query("SELECT id, name, epoch FROM room ORDER BY id", &[], &mut |row| {
            rooms.push((row.int(0), row.text(1).to_owned(), row.text(2).to_owned()));
        })?;
        let mut last = BTreeMap::new();
        for (row, name, epoch) in rooms {
            last.insert(name.clone(), self.room(sql, row, &name, &epoch)?);
        }
        for (room, seq) in std::mem::take(&mut self.acked_changes) {
            let is_there = last.get(&room).is_some_and(|last| seq <= *last);
            self.require(is_there, Checker::AckedOnce, || format!("change {seq} of {room} is gone"));
        }
        if let Some((key, place)) = self.acked.pop_first() {
            self.fail(Checker::AckedOnce, format!("{key:?} was acknowledged at {place:?} and is not stored"));
        }
        Ok(last)
    }

    fn room(&mut self, sql: &mut dyn Sql, row: i64, name: &str, epoch: &str) -> Result<u64, SqlError> {
        let id = RoomId::known(name);
        let log = Log { room: row, name: &id, epoch };
        let mut told = self.told.remove(name).unwrap_or_default();
        let (mut last, mut is_fenced, mut sent) = (0, false, BTreeMap::new());
        for event in log.missed(sql, Seq(0), u32::MAX)? {
            let Some(heard) = Heard::of(&event) else {
                self.fail(Checker::Sanity, format!("a row of {name} cannot be told"));
                continue;
            };
            let seq = heard.seq.unwrap_or_default();
            self.require(seq == last + 1, Checker::Gapless, || format!("{seq} follows {last} in {name}"));
            last = seq;
            let as_told = told.remove(&seq).unwrap_or(heard.print);
            self.require(as_told == heard.print, Checker::SeenIsStored, || {
                format!("seq {seq} of {name} was told otherwise than it is stored: {}", heard.json)
            });
            is_fenced = heard.enabled.unwrap_or(is_fenced);
            let by_ai = heard.role.as_deref() == Some("assistant");
            self.require(!(is_fenced && by_ai), Checker::Fence, || {
                format!("the log of {name} has an answer at {seq}, while people are in charge")
            });
            if by_ai && let Some(text) = &heard.message {
                let posted = self.answers.posted(text);
                self.same_text(posted, &heard);
            }
            self.settle_ack(name, &heard, seq, &mut sent);
        }
        if let Some((seq, _)) = told.pop_first() {
            self.fail(Checker::SeenIsStored, format!("seq {seq} of {name} was seen and is not stored"));
        }
        Ok(last)
    }

    fn settle_ack(&mut self, room: &str, heard: &Heard, seq: u64, sent: &mut BTreeMap<u64, u64>) {
        let Some((user, sent_as)) = heard.user_id.as_ref().zip(heard.client_message_id.as_ref()) else {
            return;
        };
        if let Some(first) = sent.insert(fingerprint(&format!("{user} {sent_as}")), seq) {
            let what = format!("{sent_as} of {user} is stored twice in {room}: {first} and {seq}");
            self.fail(Checker::AckedOnce, what);
        }
        let acked = self.acked.remove(&(room.to_owned(), user.clone(), sent_as.clone()));
        let stored = (heard.id.clone().unwrap_or_default(), seq);
        self.require(acked.as_ref().is_none_or(|acked| *acked == stored), Checker::AckedOnce, || {
            format!("{sent_as} in {room} was acknowledged at {acked:?} and is stored at {stored:?}")
        });
    }
}
