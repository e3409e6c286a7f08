//! A document in passages: pieces short enough to be read with a question, each with the headings that it stands under.

use super::document::Kind;
use crate::limits::{LABEL_CHARS_MAX, PASSAGE_CHARS_MAX};

/// A document as it is found and cited.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub title: Box<str>,
    pub passages: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The document's title and the headings below it.
    pub title: Box<str>,
    pub text: Box<str>,
}

struct Cutter {
    /// What it is called if it does not say itself.
    name: String,
    /// The headings of the place, by level.
    headings: [Option<String>; 6],
    /// What has been read since the last passage ended.
    text: String,
    passages: Vec<Piece>,
}

/// At headings, and where that leaves too much, between paragraphs, then sentences, then words.
pub fn cut(kind: Kind, name: &str, text: &str) -> Cut {
    let mut cutter = Cutter {
        name: name.to_owned(),
        headings: Default::default(),
        text: String::new(),
        passages: Vec::new(),
    };
    let mut fence: Option<&str> = None;
    for line in without_front_matter(kind, text).lines() {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(close)) if open == close => fence = None,
            _ => {}
        }
        let is_text = kind == Kind::Plain || fence.is_some() || mark.is_some();
        match heading(line).filter(|_| !is_text) {
            Some((level, heading)) => cutter.begin(level, heading),
            None => cutter.read(line),
        }
    }
    cutter.finish()
}

impl Cutter {
    fn begin(&mut self, level: usize, heading: &str) {
        self.end();
        for (at, known) in self.headings.iter_mut().enumerate().skip(level) {
            *known = (at == level).then(|| heading.chars().take(LABEL_CHARS_MAX).collect());
        }
    }

    fn read(&mut self, line: &str) {
        // A paragraph ends; if there is a passage's worth of them, so does the passage.
        if line.trim().is_empty() {
            if self.text.chars().count() >= PASSAGE_CHARS_MAX / 2 {
                return self.end();
            }
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            return;
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn end(&mut self) {
        let text = std::mem::take(&mut self.text);
        let title: Box<str> = self.title().into();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(place_to_cut(rest));
            let text = piece.trim();
            if !text.is_empty() {
                self.passages.push(Piece { title: title.clone(), text: text.into() });
            }
            rest = after.trim_start();
        }
    }

    fn title(&self) -> String {
        let headings: Vec<&str> = self.headings.iter().flatten().map(String::as_str).collect();
        if headings.is_empty() { self.name.clone() } else { headings.join(" › ") }
    }

    fn finish(mut self) -> Cut {
        self.end();
        let title = self.passages.first().map(|first| first.title.split(" › ").next().unwrap_or_default());
        Cut { title: title.unwrap_or(&self.name).into(), passages: self.passages }
    }
}

/// Where the first passage of a text ends: at its end, if that is near enough.
fn place_to_cut(text: &str) -> usize {
    let Some((max, _)) = text.char_indices().nth(PASSAGE_CHARS_MAX) else { return text.len() };
    let window = text.get(..max).unwrap_or_default();
    let after = |mark: &str| window.rfind(mark).map(|at| at + mark.len()).filter(|at| *at > max / 2);
    ["\n\n", "\n", ". ", "! ", "? ", "。", " "].into_iter().find_map(after).unwrap_or(max)
}

/// `## Heading ##`.
fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let text = line.get(level..).filter(|text| text.starts_with(' ') || text.starts_with('\t'))?;
    let text = text.trim().trim_end_matches('#').trim();
    ((1..=6).contains(&level) && !text.is_empty()).then(|| (level - 1, text))
}

/// What site generators put between two lines of `---` is not for readers.
fn without_front_matter(kind: Kind, text: &str) -> &str {
    let body = text.strip_prefix("---\n").filter(|_| kind == Kind::Markdown);
    let end = body.and_then(|body| Some((body, body.find("\n---\n")?)));
    end.and_then(|(body, at)| body.get(at + 5..)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(kind: Kind, text: &str) -> String {
        let cut = cut(kind, "the-name", text);
        let passages =
            cut.passages.iter().map(|piece| format!("[{}] {}", piece.title, piece.text.replace('\n', "|")));
        format!("{}: {}", cut.title, passages.collect::<Vec<_>>().join(" / "))
    }

    #[test]
    fn markdown_is_cut_at_its_headings() {
        let text = "---\ntitle: x\n---\n# Returns #\nAnything.\n\n## How long\n30 days.\n```\n# no heading\n```\n\n### Boots\nUnworn.\n## Money\nSoon.\n#hash\n";
        assert_eq!(
            shown(Kind::Markdown, text),
            "Returns: [Returns] Anything. / [Returns › How long] 30 days.|```|# no heading|``` / \
             [Returns › How long › Boots] Unworn. / [Returns › Money] Soon.|#hash"
        );
        assert_eq!(shown(Kind::Markdown, "Just text."), "the-name: [the-name] Just text.");
        assert_eq!(shown(Kind::Plain, "# Text\r\nmore"), "the-name: [the-name] # Text|more");
        assert_eq!(shown(Kind::Markdown, "\n \n# Only a heading\n"), "the-name: ");
    }

    #[test]
    fn long_text_is_cut_where_a_reader_would_pause() {
        let sentences = "This is a sentence of some forty letters. ".repeat(100);
        let passages = cut(Kind::Plain, "x", &sentences).passages;
        assert!(passages.len() > 4 && passages.iter().all(|piece| piece.text.ends_with('.')));
        let paragraphs =
            format!("{}\n\n{}", "a ".repeat(PASSAGE_CHARS_MAX / 3), "b ".repeat(PASSAGE_CHARS_MAX / 3));
        let texts: Vec<_> =
            cut(Kind::Plain, "x", &paragraphs).passages.iter().map(|p| p.text.chars().next()).collect();
        assert_eq!(texts, [Some('a'), Some('b')]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_long(text in "(#{0,7} ?|```|---|[a-zé語🎉.,!]{1,90}|[ \n\r\t]){0,120}") {
            for kind in [Kind::Plain, Kind::Markdown] {
                let cut = cut(kind, "name", &text);
                prop_assert!(cut.passages.iter().all(|piece| piece.text.chars().count() <= PASSAGE_CHARS_MAX + 1));
                prop_assert!(cut.passages.iter().all(|piece| !piece.text.trim().is_empty()));
                if kind == Kind::Plain {
                    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                    let found: String = cut.passages.iter().map(|piece| letters(&piece.text)).collect();
                    prop_assert_eq!(found, letters(&text));
                }
            }
        }
    }
}
