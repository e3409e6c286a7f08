//! A room's log as those who heard it would write it down.

use std::collections::BTreeMap;
use std::sync::Arc;

use weeziq_core::ids::{Seq, UserId};
use weeziq_core::limits::HISTORY_DEFAULT;
use weeziq_core::protocol::command::HistoryQuery;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::message::Message;

use crate::telling::json;

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) epoch: Option<Arc<str>>,
    pub(crate) live_agent: bool,
    /// Each event as it was told live; the first has seq 1.
    told: Vec<String>,
    pub(crate) messages: BTreeMap<u64, Said>,
    /// By user and clientMessageId.
    pub(crate) acked: BTreeMap<(String, String), u64>,
}

pub(crate) struct Said {
    pub(crate) user: UserId,
    pub(crate) first_text: String,
    text: String,
    pub(crate) is_deleted: bool,
}

impl Log {
    pub(crate) fn seq(&self) -> u64 {
        self.told.len() as u64
    }

    /// Writes down what has a place in the log. None: it has none.
    pub(crate) fn write(&mut self, event: &Event) -> Option<()> {
        let seq = place(event)?;
        assert_eq!(seq, self.seq() + 1, "no gap, nothing twice: {}", json(event, None));
        match event {
            Event::NewMessage(message) => {
                let text = String::from(&*message.message);
                let said =
                    Said { user: message.user_id.clone(), first_text: text.clone(), text, is_deleted: false };
                self.messages.insert(seq, said);
            }
            Event::MessageUpdated { id, message, .. } => self.target(id).text = message.to_string(),
            Event::MessageDeleted { id, .. } => self.target(id).is_deleted = true,
            Event::LiveAgentToggled { enabled, .. } => self.live_agent = *enabled,
            _ => {}
        }
        self.told.push(json(event, None));
        Some(())
    }

    /// What a replay must say at this place.
    pub(crate) fn at(&self, seq: u64) -> &str {
        &self.told[seq as usize - 1]
    }

    fn target(&mut self, id: &str) -> &mut Said {
        let epoch = self.epoch.clone().expect("an id names the epoch");
        let seq = Message::seq_of(id, &epoch).expect("an id of this log");
        let said = self.messages.get_mut(&seq.0).expect("the message that is changed");
        assert!(!said.is_deleted, "what is deleted does not change");
        said
    }

    /// A history must be that page of the log, as it reads now.
    pub(crate) fn check_page(&self, query: &HistoryQuery, messages: &[Message], has_more: bool) {
        let bound = |seq: Option<Seq>| seq.map(|seq| seq.0);
        let (after, before) = (bound(query.after), bound(query.before));
        let between = |seq: u64| after.is_none_or(|after| seq > after) && before.is_none_or(|b| seq < b);
        let all: Vec<(u64, &str)> = self
            .messages
            .iter()
            .filter(|(seq, said)| between(**seq) && !said.is_deleted)
            .map(|(seq, said)| (*seq, said.text.as_str()))
            .collect();
        let more = all.len().saturating_sub(query.limit as usize);
        let is_forward = after.is_some() && before.is_none();
        let page = if is_forward { &all[..all.len() - more] } else { &all[more..] };
        let heard: Vec<(u64, &str)> =
            messages.iter().map(|message| (message.seq.0, &*message.message)).collect();
        assert_eq!((heard.as_slice(), has_more), (page, more > 0), "after {after:?}, before {before:?}");
    }

    pub(crate) fn check_newest(&self, messages: &[Message], has_more: bool) {
        let newest = HistoryQuery { before: None, after: None, limit: HISTORY_DEFAULT };
        self.check_page(&newest, messages, has_more);
    }
}

/// Where in its log an event stands.
pub(crate) fn place(event: &Event) -> Option<u64> {
    match event {
        Event::NewMessage(message) => Some(message.seq.0),
        Event::MessageUpdated { seq, .. }
        | Event::MessageDeleted { seq, .. }
        | Event::LiveAgentToggled { seq, .. } => Some(seq.0),
        _ => None,
    }
}
