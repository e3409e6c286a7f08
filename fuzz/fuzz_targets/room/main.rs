//! A room, a conversation and a web site under any sequence of inputs, on SQLite, with commits that fail.
//!
//! Each input is played twice, by twins that may differ in nothing that counts: one keeps its rooms in memory as long
//! as nothing fails, the other forgets them before each input and builds them from their rows and their connections.
//! What each of them lets out is held against a ledger (`ledger.rs`) that knows the contract and not the code.
//!
//! Input: a byte of flags (1: no quota of questions; 2: lost answers are told of when the room is built again and not
//! before), then steps of a few bytes each (`step.rs`).

#![no_main]

mod history;
mod ledger;
mod shelf;
mod site;
mod step;
/// SQLite that fails as planned, from where it stands.
#[path = "../../../crates/simulation/src"]
#[allow(dead_code, reason = "the simulation breaks it in more ways")]
mod simulation {
    pub(crate) mod store;
}
mod telling;
mod world;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use weeziq_core::ai::model::{FinishReason, ModelEvent};
use weeziq_core::rooms::RoomInput;
use weeziq_fuzz::Input;

use step::Step;
use world::{Fault, Flavour, World};

/// 120 steps of 12 s at most: nobody is idle for half an hour unless a step says so.
const STEPS_MAX: usize = 120;
/// After that everything that ends by itself has ended.
const CALM_MS: i64 = 60_000;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let one = Flavour { has_quota: flags & 1 == 0, tells_owed: flags & 2 == 0, is_forgetful: false };
    let other = Flavour { is_forgetful: true, ..one };
    let mut twins = Twins { one: World::new(one), other: World::new(other) };
    for at in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let (step, fault) = (Step::read(&mut input, at), Fault::read(&mut input));
        trace(|| format!("{step:?} {fault:?}"));
        twins.play(&step, fault);
        twins.agree(&format!("{step:?} {fault:?}"));
    }
    twins.end();
});

struct Twins {
    one: World,
    other: World,
}

impl Twins {
    /// What fails for the one fails for the other, at the same turn: how many writes a turn takes may differ.
    fn play(&mut self, step: &Step, mut fault: Fault) {
        self.one.begin(step);
        self.other.begin(step);
        loop {
            let mut hit = fault.next();
            match (self.one.turn(hit), self.other.is_due()) {
                (None, false) => break,
                (Some(failed), true) => {
                    hit = if failed { Fault::commit() } else { Fault::default() };
                    self.other.turn(hit);
                }
                (one, other) => panic!("{step:?}: one has a turn: {}, the other: {other}", one.is_some()),
            }
        }
        self.one.finish(step);
        self.other.finish(step);
    }

    fn agree(&mut self, when: &str) {
        let (one, other) = (self.one.take_log(), self.other.take_log());
        trace(|| one.join("\n"));
        assert_eq!(one, other, "after {when}");
    }

    /// Every answer comes to its end, time passes, and what is left is what should be.
    fn end(mut self) {
        while let Some(run) = self.one.last_run() {
            assert!(self.other.last_run().as_ref() == Some(&run), "the same answers");
            let last_word = |_: &mut World| RoomInput::Model {
                run: run.1,
                event: ModelEvent::Finished(FinishReason::Stop),
            };
            self.one.tell(&run.0, last_word);
            self.other.tell(&run.0, last_word);
            self.agree("the end of an answer");
        }
        for world in [&mut self.one, &mut self.other] {
            world.pass(CALM_MS);
            world.check_the_end();
        }
        self.agree("the end");
        assert_eq!(self.one.rows(), self.other.rows(), "what is stored");
        self.one.close();
        self.other.close();
    }
}

/// For whoever replays one input with `TRACE=1`.
fn trace(line: impl FnOnce() -> String) {
    static WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TRACE").is_some());
    if *WANTED {
        eprintln!("{}", line());
    }
}
