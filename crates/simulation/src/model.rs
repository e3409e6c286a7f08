//! A flaky model: it hesitates, streams, fails at any point, falls silent, and may talk on after it was told to stop
//! or after it has said its last word.

use weeziq_core::ai::model::{FinishReason, ModelEvent, ModelFailure, Usage};

use crate::answers;
use crate::rng::Rng;

/// A host gives up on a model that says nothing.
const DEADLINE_MS: i64 = 60_000;
const AFTER_THE_END: i64 = 99;

/// What one answer will be: each event with the time that passes before it.
pub(crate) fn script(run: u64, rng: &mut Rng) -> Vec<(i64, ModelEvent)> {
    let mut events = Vec::new();
    let mut wait_ms = rng.between(5, 1_500);
    for word in 0..rng.between(0, 10) {
        events.push((wait_ms, ModelEvent::Delta(answers::word(run, word))));
        wait_ms = rng.between(1, 90);
        if rng.chance(10) {
            events.push((0, ModelEvent::Usage(Usage { input_tokens: 1, output_tokens: word as u64 })));
        }
    }
    if rng.chance(5) {
        events.push((DEADLINE_MS, ModelEvent::Failed(ModelFailure::Timeout)));
    } else {
        events.push((wait_ms, last_word(rng)));
    }
    if rng.chance(10) {
        events.push((rng.between(0, 50), ModelEvent::Delta(answers::word(run, AFTER_THE_END))));
        events.push((rng.between(0, 50), ModelEvent::Finished(FinishReason::Stop)));
    }
    events
}

fn last_word(rng: &mut Rng) -> ModelEvent {
    match rng.below(10) {
        0 => ModelEvent::Failed(ModelFailure::Unavailable),
        1 => ModelEvent::Failed(ModelFailure::Incomplete),
        2 => ModelEvent::Failed(ModelFailure::ContentFiltered),
        3 => ModelEvent::Finished(FinishReason::Length),
        4 => ModelEvent::Finished(FinishReason::ContentFilter),
        _ => ModelEvent::Finished(FinishReason::Stop),
    }
}
