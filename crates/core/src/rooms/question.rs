//! A question on its way to the model: whether it is taken, when its turn is, and who asks the same meanwhile.

use super::run::{Bill, CALLED_OFF, NAME, Run};
use super::{Failure, Post, Purpose, Room, Turn};
use crate::Caller;
use crate::ai::briefing::Briefing;
use crate::ai::context;
use crate::ai::model::{FinishReason, Provider, Usage};
use crate::ai::models::Route;
use crate::domains::DomainSettings;
use crate::ids::{ClientMessageId, ConnId, RunId, UserId};
use crate::knowledge::Passage;
use crate::limits::{QUESTIONS_WAITING_MAX, READERS_MAX};
use crate::protocol::command::{Ask, DEFAULT_ROLE};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::{AiStreamComplete, Answer, Event};
use crate::spending::{Allowance, Spent};
use crate::store::SqlError;
use crate::store::conversations::{self, Asked, Listener};
use crate::time::UnixMs;

pub(super) struct Question {
    pub(super) id: RunId,
    pub(super) row: i64,
    pub(super) from: Caller,
    pub(super) ask: Ask,
    pub(super) briefing: Briefing,
    pub(super) routes: Vec<Route>,
    pub(super) route: Route,
    /// As [`Run::readers`] and [`Run::others`].
    pub(super) readers: Vec<Caller>,
    pub(super) others: Vec<Caller>,
}

impl Question {
    /// What is shown where no model answers.
    pub(super) fn fallback(&self) -> Box<str> {
        self.briefing.settings.fallback_message.clone().unwrap_or_else(|| context::FALLBACK.into())
    }

    pub(super) fn into_run(self, context_length: usize, bill: Bill) -> Run {
        let fallback = self.fallback();
        let name = self.name().unwrap_or_else(|| NAME.into());
        Run {
            id: self.id,
            row: self.row,
            streamed: self.ask.streamed,
            said: self.ask.said,
            readers: self.readers,
            others: self.others,
            from: self.from,
            route: self.route,
            room: self.ask.room.clone(),
            ask: Some(Box::new(self.ask)),
            name,
            is_typing: false,
            has_handed_over: false,
            context_length,
            fallback,
            text: String::new(),
            chunks: Vec::new(),
            told_at: UnixMs(0),
            first_told_at: UnixMs(0),
            kept: 0,
            kept_at: UnixMs(0),
            usage: Usage::default(),
            sources: self.briefing.passages.iter().map(Passage::cited).collect(),
            bill,
        }
    }

    pub(super) fn bill(&self, input_tokens: usize) -> Bill {
        Bill {
            domain: self.briefing.account.clone(),
            reservation: self.briefing.allowance.reservation(),
            is_over_budget: self.is_over_budget(),
            input_tokens,
        }
    }

    pub(super) fn is_over_budget(&self) -> bool {
        self.briefing.allowance == Allowance::Exhausted
    }

    pub(super) fn is_heard_by(&self, conn: ConnId) -> bool {
        self.from.conn == conn || self.readers.iter().chain(&self.others).any(|reader| reader.conn == conn)
    }

    fn name(&self) -> Option<Box<str>> {
        self.briefing.settings.name.clone()
    }

    /// As it is kept.
    fn asked(&self) -> Asked {
        Asked {
            run: self.id.0,
            by: (&self.from).into(),
            streamed: self.ask.streamed,
            readers: self.readers.iter().map(Listener::from).collect(),
            others: self.others.iter().map(Listener::from).collect(),
            room: self.ask.room.clone(),
            said: self.ask.said,
            name: self.name(),
            domain: self.briefing.account.clone(),
            reservation: self.briefing.allowance.reservation(),
        }
    }
}

impl Room {
    pub(super) fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        ask: Ask,
        briefing: Briefing,
    ) -> Result<(), Failure> {
        let set_aside = (briefing.account.clone(), briefing.allowance.reservation());
        let (said, settings) = (ask.said, briefing.settings.clone());
        if said.is_some_and(|said| said <= self.said) {
            // It has been: the room woke while it was on its way, and had it asked once more.
            turn.give_back(set_aside);
            return Ok(());
        }
        let done = self.take_question(turn, from, ask, briefing);
        if !matches!(done, Ok(Taken::AsItsOwn) | Err(Failure::Storage(_))) {
            turn.give_back(set_aside);
        }
        match (done, said) {
            (Err(Failure::Client(error)), Some(said)) => {
                let room = self.stored(turn, None)?.row;
                conversations::note_said(turn.sql, room, said)?;
                self.said = said;
                self.tell_refused(turn, error.code, &settings);
                Ok(())
            }
            (done, _) => done.map(|_| ()),
        }
    }

    /// Nobody asked, so nobody is refused; yet whoever wrote has to learn that no answer will come.
    fn tell_refused(&self, turn: &mut Turn<'_>, code: ErrorCode, settings: &DomainSettings) {
        let fallback = settings.fallback_message.clone().unwrap_or_else(|| context::FALLBACK.into());
        let answer = Answer {
            model: turn.cx.policy.models.default.as_ref().into(),
            provider: Provider::Demo,
            conversation_id: self.id.clone(),
            context_length: 0,
            usage: Usage::default(),
            finish_reason: FinishReason::Error,
            timestamp: turn.cx.now,
            error: true,
            code: Some(code),
            fallback: None,
            offers_human: true,
            sources: Vec::new(),
        };
        let complete = AiStreamComplete { full_response: fallback, room_id: Some(self.id.clone()), answer };
        turn.publish(Event::AiStreamComplete(Box::new(complete)), None);
    }

    fn take_question(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        ask: Ask,
        briefing: Briefing,
    ) -> Result<Taken, Failure> {
        self.give_to_its_owner(turn, from, &ask)?;
        self.require_conversation(from)?;
        let model = ask.model.as_deref().or(briefing.settings.model.as_deref());
        let mut routes = turn.cx.policy.models.routes(model)?;
        let Some(mut route) = routes.first().cloned() else { return Err(ClientError::internal().into()) };
        if briefing.allowance == Allowance::Exhausted {
            route.provider = Provider::Demo;
            routes = vec![route.clone()];
        }
        let waiting = self.conversation.as_ref().map_or(0, |conversation| conversation.waiting.len());
        let same = self.same_question(from, &ask);
        if waiting >= QUESTIONS_WAITING_MAX && same.is_none() {
            return Err(ClientError::rate_limited("questions waiting in this conversation", 1_000).into());
        }
        // Those of a token's subject are counted by the host, in all of its conversations.
        if from.identity.claims().is_none() {
            self.asked
                .admit(turn.cx.now, turn.cx.policy.ai_per_user)
                .map_err(|ms| ClientError::rate_limited("AI requests", ms))?;
        }
        self.said = ask.said.unwrap_or(self.said);
        if let Some(same) = same {
            self.join_question(turn, from, &ask, same)?;
            return Ok(Taken::AsAnother);
        }
        let (id, is_new) = (RunId(turn.cx.entropy), self.stored.is_none());
        let readers = ask.streamed.then(|| from.clone()).into_iter().collect();
        let from_whom = from.clone();
        let mut question = Question {
            id,
            row: 0,
            from: from_whom,
            ask,
            briefing,
            routes,
            route,
            readers,
            others: Vec::new(),
        };
        question.row = self.accept(turn, &question)?;
        if is_new {
            self.note_owner(turn, from, question.ask.user.as_ref())?;
        }
        let conversation = self.conversation.get_or_insert_default();
        if conversation.running.is_some() {
            conversation.waiting.push_back(question);
        } else {
            self.begin(turn, question)?;
        }
        Ok(Taken::AsItsOwn)
    }

    /// From here on an answer is owed, whatever dies.
    fn accept(&mut self, turn: &mut Turn<'_>, question: &Question) -> Result<i64, SqlError> {
        let stored = self.stored(turn, question.ask.domain.as_ref())?;
        self.begin_anew(turn, &stored)?;
        conversations::note_asked(turn.sql, stored.row, self.asked, self.said)?;
        let names = (question.route.provider.as_str(), question.route.model.as_ref());
        conversations::begin_run(turn.sql, stored.row, names, &question.asked(), turn.cx.now)
    }

    /// The very same question of the same user, if it is being answered or waits for its turn: a second click, or a client
    /// that tries again. It is not asked twice.
    fn same_question(&self, from: &Caller, ask: &Ask) -> Option<RunId> {
        let conversation = self.conversation.as_ref()?;
        let is_same = |by: &Caller, asked: &Ask| {
            by.identity.subject() == from.identity.subject() && asked.is_repeated_by(ask)
        };
        let running = conversation.running.as_ref();
        let running = running.filter(|run| run.ask.as_ref().is_some_and(|asked| is_same(&run.from, asked)));
        let waiting = || conversation.waiting.iter().find(|other| is_same(&other.from, &other.ask));
        running.map(|run| run.id).or_else(|| waiting().map(|question| question.id))
    }

    /// Whoever repeats a question hears its answer, each request of theirs once, from its beginning.
    fn join_question(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        ask: &Ask,
        same: RunId,
    ) -> Result<(), Failure> {
        let stored = self.stored(turn, None)?;
        conversations::note_asked(turn.sql, stored.row, self.asked, self.said)?;
        let conversation_id = self.id.clone();
        let Some(conversation) = &mut self.conversation else { return Ok(()) };
        let (is_new, row, asked) =
            if let Some(run) = conversation.running.as_mut().filter(|run| run.id == same) {
                let first = (!run.streamed).then_some(&run.from);
                let is_new = hears_too(ask, from, first, &mut run.readers, &mut run.others)?;
                for index in 0..if is_new && ask.streamed { run.next_index() } else { 0 } {
                    turn.reply(from, run.chunk_event(index, &conversation_id, turn.cx.now));
                }
                (is_new, run.row, run.asked())
            } else if let Some(waiting) = conversation.waiting.iter_mut().find(|waiting| waiting.id == same) {
                let first = (!waiting.ask.streamed).then_some(&waiting.from);
                let is_new = hears_too(ask, from, first, &mut waiting.readers, &mut waiting.others)?;
                (is_new, waiting.row, waiting.asked())
            } else {
                return Ok(());
            };
        if is_new {
            conversations::note_readers(turn.sql, row, &asked)?;
        }
        Ok(())
    }

    /// No model is asked: people have taken over where the answer would have been told.
    pub(super) fn call_off(&self, turn: &mut Turn<'_>, question: Question) -> Result<(), SqlError> {
        let (route, usage) = (&question.route, Usage::default());
        conversations::end_run(turn.sql, question.row, route, CALLED_OFF.reason, usage, turn.cx.now)?;
        let bill = question.bill(0);
        turn.spend(Spent::nothing(bill.domain.clone(), bill.reservation, turn.cx.now));
        question.into_run(0, bill).tell_end(turn, self.id.clone(), CALLED_OFF)
    }

    pub(super) fn asked_by(&self, run: RunId, from: &Caller, ask: &Ask) -> Post {
        let user = ask.user.clone().unwrap_or_else(UserId::anonymous);
        Post {
            conversation: self.id.clone(),
            run,
            purpose: Purpose::Question,
            id: ClientMessageId::of_run("question", run),
            // Without one the room calls the asker as its members do.
            user_name: ask.user_name.as_deref().unwrap_or_default().into(),
            user,
            role: DEFAULT_ROLE.into(),
            text: ask.message.clone(),
            socket: from.socket,
            sources: None,
        }
    }
}

/// What became of a question.
enum Taken {
    AsItsOwn,
    /// It is answered with another, that said the same.
    AsAnother,
}

/// The request is one more of those that hear the answer, if that is new. A second one of one connection without a name of its own is
/// none: it could not tell what it hears for which.
fn hears_too(
    ask: &Ask,
    from: &Caller,
    first: Option<&Caller>,
    readers: &mut Vec<Caller>,
    others: &mut Vec<Caller>,
) -> Result<bool, ClientError> {
    let is_known = |caller: &Caller| caller.conn == from.conn && caller.reply_to == from.reply_to;
    let knows_first = !ask.streamed && first.is_some_and(is_known);
    let hears = readers.len() + others.len();
    let list = if ask.streamed { readers } else { others };
    if ask.is_unasked() || knows_first || list.iter().any(is_known) {
        return Ok(false);
    }
    if hears >= READERS_MAX {
        return Err(ClientError::rate_limited("readers of this answer", 1_000));
    }
    list.push(from.clone());
    Ok(true)
}
