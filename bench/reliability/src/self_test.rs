//! The checker checked: one fault planted in what the ledger and the audit are told, and each must be seen as what it
//! is, with nothing beside it. A checker that has never seen a fault proves nothing by seeing none.

use crate::audit::{self, Findings, Row};
use crate::ledger::{Ledger, Storage, Verdict};
use crate::mark::{Client, Entry, Room};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// One client never gets one message.
    Lost,
    Duplicated,
    /// Two messages change places at one client.
    Swapped,
    /// A room's message reaches a client of another.
    Misrouted,
    /// One row of the stored history is gone, so a number is missing.
    RowLost,
    /// One message stands in the history twice.
    RowTwice,
}

const FAULTS: [Fault; 7] = [
    Fault::Nothing,
    Fault::Lost,
    Fault::Duplicated,
    Fault::Swapped,
    Fault::Misrouted,
    Fault::RowLost,
    Fault::RowTwice,
];

/// One line for each fault, and whether each was seen.
pub(crate) fn run(seed: u64) -> (String, bool) {
    let mut lines = Vec::new();
    let mut passed = true;
    for fault in FAULTS {
        let (seen, expected) = (judged(fault, seed), due(fault));
        let well = seen == expected;
        passed &= well;
        lines.push(format!("{} {fault:?}: {seen:?}", if well { "ok  " } else { "MISS" }));
    }
    (lines.join("\n"), passed)
}

const ROOMS: u32 = 3;
const MEMBERS: u32 = 4;
const MESSAGES: u32 = 150; // a room's bits reach over several words

type Judgement = (Verdict, Storage, Findings);

/// What the checkers say about a run with this fault, at a place that the seed chooses.
fn judged(fault: Fault, seed: u64) -> Judgement {
    let mut random = fastrand::Rng::with_seed(seed);
    let room_of: Vec<Room> = (0..ROOMS * MEMBERS).map(|client| Room(client / MEMBERS)).collect();
    let mut ledger = Ledger::new(&room_of);
    (0..ROOMS * MEMBERS).for_each(|client| ledger.joined(Client(client)));
    let mut histories: Vec<Vec<Row>> = Vec::new();
    for room in 0..ROOMS {
        let publishers = (0..MESSAGES).map(|_| Client(room * MEMBERS + random.u32(0..MEMBERS)));
        let entries: Vec<Entry> = publishers
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|publisher| ledger.sent(publisher))
            .collect();
        let rows: Vec<Row> =
            entries.iter().zip(1..).map(|(entry, seq)| Row { seq, entry: Some(*entry) }).collect();
        entries.iter().zip(1..).for_each(|(entry, seq)| ledger.acked(*entry, Some(seq)));
        histories.push(rows);
    }
    let victim = Client(random.u32(0..ROOMS * MEMBERS));
    for client in (0..ROOMS * MEMBERS).map(Client) {
        let room = (client.0 / MEMBERS) as usize;
        let mut heard = histories.get(room).cloned().unwrap_or_default();
        if client == victim {
            let elsewhere = histories.get((room + 1) % ROOMS as usize).cloned().unwrap_or_default();
            broken(fault, &mut heard, &elsewhere, &mut random);
        }
        for Row { seq, entry } in heard {
            if let Some(entry) = entry {
                ledger.delivered(client, entry, Some(seq));
            }
        }
    }
    let mut findings = Findings::default();
    for (room, mut rows) in (0..ROOMS).map(Room).zip(histories) {
        if room.0 == victim.0 / MEMBERS {
            broken_history(fault, &mut rows, &mut random);
        }
        findings = findings.plus(audit::check(&ledger, room, &rows));
    }
    (ledger.verdict(ledger.everyone()), ledger.storage(), findings)
}

fn broken(fault: Fault, heard: &mut Vec<Row>, elsewhere: &[Row], random: &mut fastrand::Rng) {
    let place = random.usize(..heard.len().saturating_sub(1).max(1));
    match fault {
        Fault::Lost => drop(heard.remove(place)),
        Fault::Duplicated => heard.extend_from_within(place..=place),
        Fault::Swapped => heard.swap(place, place + 1),
        Fault::Misrouted => heard.extend(elsewhere.get(place).cloned()),
        Fault::Nothing | Fault::RowLost | Fault::RowTwice => {}
    }
}

fn broken_history(fault: Fault, rows: &mut Vec<Row>, random: &mut fastrand::Rng) {
    let place = random.usize(..rows.len().saturating_sub(1).max(1));
    match fault {
        Fault::RowLost => drop(rows.remove(place)),
        Fault::RowTwice => {
            let entry = rows.get(place).and_then(|row| row.entry);
            rows.push(Row { seq: u64::from(MESSAGES) + 1, entry });
        }
        _ => {}
    }
}

fn due(fault: Fault) -> Judgement {
    let pairs = u64::from(ROOMS * MEMBERS * MESSAGES);
    let messages = u64::from(ROOMS * MESSAGES);
    let mut verdict = Verdict { owed: pairs, delivered: pairs, ..Verdict::default() };
    let mut storage = Storage { sent: messages, acked: messages, ..Storage::default() };
    let mut findings = Findings { rooms: u64::from(ROOMS), rows: messages, ..Findings::default() };
    match fault {
        Fault::Nothing => {}
        Fault::Lost => (verdict.delivered, verdict.lost) = (pairs - 1, 1),
        Fault::Duplicated => (verdict.duplicate, storage.repeated) = (1, 1),
        Fault::Swapped => verdict.out_of_order = 1,
        Fault::Misrouted => verdict.foreign = 1,
        Fault::RowLost => {
            findings = Findings { rows: messages - 1, acked_lost: 1, gaps: 1, ..findings };
        }
        Fault::RowTwice => findings = Findings { rows: messages + 1, rows_twice: 1, ..findings },
    }
    (verdict, storage, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault) {
        for seed in 0..200 {
            assert_eq!(judged(fault, seed), due(fault), "{fault:?}, seed {seed}");
        }
    }

    #[test]
    fn a_good_run_is_found_good() {
        check(Fault::Nothing);
    }

    #[test]
    fn a_lost_delivery_is_seen() {
        check(Fault::Lost);
    }

    #[test]
    fn a_duplicated_delivery_is_seen() {
        check(Fault::Duplicated);
    }

    #[test]
    fn a_swapped_delivery_is_seen() {
        check(Fault::Swapped);
    }

    #[test]
    fn a_misrouted_delivery_is_seen() {
        check(Fault::Misrouted);
    }

    #[test]
    fn a_lost_row_is_seen() {
        check(Fault::RowLost);
    }

    #[test]
    fn a_row_that_is_there_twice_is_seen() {
        check(Fault::RowTwice);
    }

    #[test]
    fn the_command_says_so_too() {
        let (text, passed) = run(7);
        assert!(passed, "{text}");
        assert_eq!(text.lines().count(), FAULTS.len());
    }
}
