//! The way of a question to its conversation: past the shard that knows where the visitor is and past what has to be looked
//! up, where there is any of that.

use weeziq_core::ai::briefing::Briefing;
use weeziq_core::ids::{UserId, VisitorId};
use weeziq_core::rooms::RoomInput;

use super::Shard;
use super::mailbox::Message;
use crate::domains::Question;

impl Shard {
    /// A site that shares its pages with the AI knows where its visitors are in the shard that counts them.
    pub(super) fn locate(&mut self, mut question: Box<Question>) {
        let shared = question.ask.domain.as_ref().filter(|domain| {
            question.ask.page.is_none() && self.environment.domains.of(Some(domain)).ai.share_page
        });
        let visitor = question.ask.user.as_ref().map(UserId::as_str).and_then(VisitorId::parse);
        let Some((domain, visitor)) = shared.zip(visitor) else { return self.brief(*question) };
        let shard = self.shards.of(domain.as_str());
        if shard != self.index {
            return self.shards.send(shard, Message::Locate(question));
        }
        let slot = self.domain_slots.get(domain).and_then(|slot| self.domains.get(*slot));
        question.page = slot.and_then(|slot| slot.visitors.as_ref()?.page_of(&visitor));
        self.brief(*question);
    }

    fn brief(&mut self, question: Question) {
        let domains = self.environment.domains.clone();
        if !domains.must_brief(question.ask.domain.as_ref()) {
            let briefing = domains.briefing(&question.ask);
            return self.put(question, briefing);
        }
        if let Err(question) = self.app.briefings.brief(question) {
            tracing::warn!("too many questions wait; one goes on without what could be looked up for it");
            let briefing = domains.briefing_without_store(&question.ask);
            self.put(*question, briefing);
        }
    }

    fn put(&mut self, question: Question, briefing: Briefing) {
        let Question { conversation, from, ask, page } = question;
        let briefing = Box::new(Briefing { page, ..briefing });
        self.tell_room(conversation, RoomInput::Ask { from, ask, briefing });
    }
}
