//! The model that runs when no provider's key is set: a helpdesk of a few questions, so that the first run shows a
//! streamed answer without any account. It never pretends to be more than that.

use super::context::FALLBACK;
use super::model::{ModelRequest, Speaker};
use crate::knowledge::{Passage, words};

struct Entry {
    /// Words of a question that this answers, lower case.
    words: &'static [&'static str],
    answer: &'static str,
}

const HELPDESK: &[Entry] = &[
    Entry {
        words: &["hello", "hi", "hey", "hallo", "hola", "bonjour", "morning"],
        answer: "Hello! Ask me how WeeziQ stores messages, how to connect a real model, or how a person takes over.",
    },
    Entry {
        words: &["key", "openai", "gemini", "google", "gpt", "model", "provider", "real"],
        answer: "Set OPENAI_API_KEY or GOOGLE_AI_API_KEY in the environment or in a file named .env, then start \
                 WeeziQ again: from then on that model answers here.",
    },
    Entry {
        words: &[
            "store", "storage", "save", "saved", "lost", "lose", "crash", "restart", "durable", "history",
            "data",
        ],
        answer: "Every message is stored before anyone sees it, so a crash or a restart loses nothing that was \
                 acknowledged.",
    },
    Entry {
        words: &["person", "human", "agent", "operator", "someone", "people", "staff", "take", "takeover"],
        answer: "People and the AI share a room: an operator joins with the role agent and writes in the same chat.",
    },
    Entry {
        words: &["visitor", "visitors", "online", "site", "live", "stats"],
        answer: "Send visitor-joined-domain when a page opens; get-domain-stats then tells who is on the site now.",
    },
    Entry {
        words: &["price", "cost", "pay", "free", "licence", "license", "buy"],
        answer: "WeeziQ is free software under the MIT licence and runs on your own machine.",
    },
];

const NO_MATCH: &str = "I have only a small built-in helpdesk and found nothing in it that fits.";

const DEMO: &str = "This is WeeziQ's offline demo, no AI model is connected.";

/// The answer to the last question: the site's own, where its documents have one. It says that no model wrote it, save
/// where that is an operator's business (a budget that is used up).
pub fn answer(request: &ModelRequest) -> String {
    let asked = request.turns.iter().rev().find(|turn| turn.speaker == Speaker::User);
    let question = asked.map(|turn| turn.text.as_str()).unwrap_or_default();
    let words = words::words(question);
    let found = request.passages.iter().find(|passage| words::speaks_of(passage, &words));
    match (found, request.is_over_budget) {
        (Some(passage), true) => passage.text.clone().into(),
        (None, true) if request.fallback.is_empty() => FALLBACK.into(),
        (None, true) => request.fallback.clone().into(),
        (Some(Passage { title, text, .. }), false) => {
            format!("{DEMO} The site says under \u{201c}{title}\u{201d}: {text}")
        }
        (None, false) => format!("{DEMO} {}", built_in(question)),
    }
}

fn built_in(question: &str) -> &'static str {
    let question = question.to_lowercase();
    let words: Vec<&str> = question.split(|c: char| !c.is_alphanumeric()).collect();
    let score = |entry: &Entry| entry.words.iter().filter(|word| words.contains(word)).count();
    // The first of equals: entries stand in the order in which a newcomer needs them.
    let best = HELPDESK.iter().rev().max_by_key(|entry| score(entry)).filter(|entry| score(entry) > 0);
    best.map_or(NO_MATCH, |entry| entry.answer)
}

/// The answer in the pieces in which it is told: a word with the space before it.
pub fn pieces(answer: &str) -> impl Iterator<Item = &str> {
    let mut rest = answer;
    std::iter::from_fn(move || {
        let after_first =
            rest.char_indices().skip(1).find(|(_, c)| *c == ' ').map_or(rest.len(), |(at, _)| at);
        let (piece, remaining) = rest.split_at(after_first);
        rest = remaining;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::Turn;
    use super::*;

    fn check(question: &str, expected: &str) {
        let turns = vec![Turn { speaker: Speaker::User, text: question.into() }];
        let request = ModelRequest { turns, ..ModelRequest::default() };
        let answer = answer(&request);
        assert!(answer.contains("offline demo") && answer.contains(expected), "{question}: {answer}");
        assert_eq!(pieces(&answer).collect::<String>(), answer);
    }

    #[test]
    fn answers_from_its_helpdesk() {
        check("Hi there", "Hello!");
        check("how do I set an OpenAI key?", "OPENAI_API_KEY");
        check("Will I lose messages in a crash?", "is stored");
        check("Who can take over from the AI?", "operator joins");
        check("¿Qué?", "found nothing");
        check("", "found nothing");
    }

    #[test]
    fn a_sites_own_documents_come_first() {
        let passage =
            |title: &str, text: &str| Passage { name: "a.md".into(), title: title.into(), text: text.into() };
        let asked = |question: &str, is_over_budget| {
            let turns = vec![Turn { speaker: Speaker::User, text: question.into() }];
            let passages = [passage("Boots", "Brush them."), passage("Returns", "Within 30 days.")].into();
            answer(&ModelRequest { turns, passages, is_over_budget, ..ModelRequest::default() })
        };
        let told = asked("How can I return a hat?", false);
        assert!(
            told.contains("offline demo") && told.contains("Returns") && told.ends_with("Within 30 days."),
            "{told}"
        );
        assert_eq!(asked("How can I return a hat?", true), "Within 30 days.");
        assert_eq!(asked("Who won the cup in 1998?", true), FALLBACK);
        assert!(asked("Who won the cup in 1998?", false).contains("found nothing"));
    }
}
