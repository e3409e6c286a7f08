//! From text to what the index is asked. Whatever a visitor types, the index sees words in quotes and nothing else.

use std::collections::HashSet;

use super::Passage;
use crate::limits::QUERY_WORDS_MAX;

const STEM_CHARS: usize = 5;

/// Words of questions that say nothing of what is asked, where they are many: those of the languages that sites of small
/// shops are mostly written in. They are left out of queries, not of the index.
const SILENT: &str = "a about after again all also am an and any anybody anyone are as at be because been before being but by \
    can cannot could d did do does doing don down during each for from further get had has have having he hello help her here hers hey hi \
    him his how i if in into is it its just know let like ll m may me might mine more most much must my need no nor not now of off \
    on once one only or other our ours out over own please possible re s same shall she should so some still such t tell thank thanks than that \
    the their theirs them then there these they this those through to too under until up us ve very want was we were what \
    when where which while who whom why will with would yes you your yours \
    aber als am an auch auf aus bei bin bis bitte da danke dann das dass dem den der des dir doch du ein eine einem einen einer eines \
    er es für gibt hab habe haben hallo hatte ich ihr ihre im in ist ja kann kein keine können könnte mein meine meinen meiner \
    mich mir mit möchte muss nach nein nicht noch nur ob oder sein sich sie sind so und uns unser unsere vom von vor wann warum was wenn wer wie \
    wieder will wir wird wo wurde zu zum zur über \
    au aux avec bonjour ce ces cette comment dans de des du elle en est et il ils je la le les leur lui ma mais me merci mes moi mon ne \
    nous on ou où par pas peut peux pour puis quand que quel quelle qui sa se ses si sont sur tu un une vos votre vous y à été \
    como cual cuando cuándo cómo de del donde dónde el ella en es eso esta este estoy gracias ha hay hola la las lo los me mi mis muy no nos o \
    para pero por puede puedo que qué quiero se si sobre son su sus también te tengo tu un una uno usted y ya yo";

/// The text as the index is given it. Scripts that write no spaces are cut into letters, which are asked for side by side.
pub fn indexed(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // NUL would end the text for SQLite's tokeniser.
            '\0' => words.push(' '),
            c if stands_alone(c) => words.extend([' ', c, ' ']),
            c => words.push(c),
        }
    }
    words
}

/// The words of a question that it can be found by, in their order, each once.
pub fn words(question: &str) -> Vec<String> {
    let silent: HashSet<&str> = SILENT.split_ascii_whitespace().collect();
    let mut seen = HashSet::new();
    let folded = question.to_lowercase();
    let words = folded.split(|c: char| !is_of_a_word(c)).flat_map(pieces);
    let telling = words.filter(|word| !silent.contains(word.as_str()) && seen.insert(word.clone()));
    telling.take(QUERY_WORDS_MAX).collect()
}

/// Whether a passage says enough of what a question asks to be the answer itself, with no model to judge: half of its
/// words, by their first letters, since stems are the index's own.
pub fn speaks_of(passage: &Passage, words: &[String]) -> bool {
    let told = format!("{} {}", passage.title, passage.text).to_lowercase();
    let told: Vec<&str> = told.split(|c: char| !is_of_a_word(c)).collect();
    let stem = |word: &str| word.char_indices().nth(STEM_CHARS).map_or(word.len(), |(at, _)| at);
    let is_told = |word: &&String| {
        let stem = word.get(..stem(word)).unwrap_or_default();
        told.iter().any(|known| known.starts_with(stem) || known.contains(word.as_str()))
    };
    !words.is_empty() && words.iter().filter(is_told).count() * 2 >= words.len()
}

/// A query in the index's own language for any of these words, on this site. None if there is nothing to look for.
pub fn query(site: &str, words: &[String]) -> Option<String> {
    let any: Vec<String> = words.iter().map(|word| format!("\"{}\"", indexed(word).trim())).collect();
    (!any.is_empty()).then(|| format!("site : \"{site}\" AND {{title text}} : ({})", any.join(" OR ")))
}

/// A run of letters as words: two neighbours at a time where a script writes no spaces.
fn pieces(run: &str) -> Vec<String> {
    if !run.chars().any(stands_alone) {
        return if run.is_empty() { Vec::new() } else { vec![run.to_owned()] };
    }
    let letters: Vec<char> = run.chars().collect();
    match letters.len() {
        1 => vec![run.to_owned()],
        _ => letters.windows(2).map(|pair| pair.iter().collect()).collect(),
    }
}

/// What the index's tokeniser takes for part of a word, and marks above and below letters.
fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{1cff}')
}

/// Han, kana, hangul, Thai, Lao, Khmer, Burmese.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_telling_words_are_asked_for() {
        assert_eq!(words("How do I return my Boots, please? BOOTS!"), ["return", "boots"]);
        assert_eq!(
            words("don't can't \"quoted\" NEAR(a b) site:x -y *"),
            ["quoted", "near", "b", "site", "x"]
        );
        assert_eq!(words("Wann kommt das Päckchen?"), ["kommt", "päckchen"]);
        assert_eq!(words("配送はいつ"), ["配送", "送は", "はい", "いつ"]);
        assert!(words("how are you? 🎉 … \0 \u{200b}").is_empty());
        assert_eq!(words(&"word1 word2 ".repeat(1_000)).len(), 2);
        let many: Vec<String> = (0..1_000).map(|n| format!("w{n}")).collect();
        assert_eq!(words(&many.join(" ")).len(), QUERY_WORDS_MAX);
    }

    #[test]
    fn a_query_has_words_in_quotes() {
        let words = ["boots".to_owned(), "配送".to_owned()];
        assert_eq!(
            query("d1", &words).as_deref(),
            Some("site : \"d1\" AND {title text} : (\"boots\" OR \"配  送\")")
        );
        assert_eq!(query("d1", &[]), None);
    }
}
