//! The model that runs when no provider's key is set: a helpdesk of a few questions, so that the first run shows a
//! streamed answer without any account. It never pretends to be more than that.

use super::model::{ModelRequest, Speaker};

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
        words: &["person", "human", "agent", "operator", "someone", "people", "staff"],
        answer: "People and the AI share a room: an operator joins with the role agent and writes in the same chat.",
    },
    Entry {
        words: &["visitor", "visitors", "who", "online", "site", "live", "stats"],
        answer: "Send visitor-joined-domain when a page opens; get-domain-stats then tells who is on the site now.",
    },
    Entry {
        words: &["price", "cost", "pay", "free", "licence", "license", "buy"],
        answer: "WeeziQ is free software under the MIT licence and runs on your own machine.",
    },
];

const NO_MATCH: &str = "I have only a small built-in helpdesk and found nothing in it that fits.";

/// The answer to the last question.
pub fn answer(request: &ModelRequest) -> String {
    let asked = request.turns.iter().rev().find(|turn| turn.speaker == Speaker::User);
    let question = asked.map(|turn| turn.text.to_lowercase()).unwrap_or_default();
    let words: Vec<&str> = question.split(|c: char| !c.is_alphanumeric()).collect();
    let score = |entry: &Entry| entry.words.iter().filter(|word| words.contains(word)).count();
    // The first of equals: entries stand in the order in which a newcomer needs them.
    let best = HELPDESK.iter().rev().max_by_key(|entry| score(entry)).filter(|entry| score(entry) > 0);
    let found = best.map_or(NO_MATCH, |entry| entry.answer);
    format!("This is WeeziQ's offline demo, no AI model is connected. {found}")
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
    use super::super::model::{Provider, Turn};
    use super::*;

    fn check(question: &str, expected: &str) {
        let turns = vec![Turn { speaker: Speaker::User, text: question.into() }];
        let request = ModelRequest {
            provider: Provider::Demo,
            model: "gpt-3.5-turbo".into(),
            system: String::new(),
            turns,
        };
        let answer = answer(&request);
        assert!(answer.contains("offline demo") && answer.contains(expected), "{question}: {answer}");
        assert_eq!(pieces(&answer).collect::<String>(), answer);
    }

    #[test]
    fn answers_from_its_helpdesk() {
        check("Hi there", "Hello!");
        check("how do I set an OpenAI key?", "OPENAI_API_KEY");
        check("Will I lose messages in a crash?", "is stored");
        check("¿Qué?", "found nothing");
        check("", "found nothing");
    }
}
