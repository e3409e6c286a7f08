//! What SECURITY.md says is tested is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop where it stands")]

use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Every second piece of a text that is cut at `mark`: what stands between two of them.
fn between(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

fn place(named: &str) -> Option<PathBuf> {
    [ROOT.to_owned(), format!("{ROOT}/conformance/tests")]
        .iter()
        .map(|folder| Path::new(folder).join(named))
        .find(|path| path.exists())
}

#[test]
fn each_threat_names_tests_that_there_are() {
    let text = std::fs::read_to_string(format!("{ROOT}/SECURITY.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat"));
    let mut checked = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let files: Vec<PathBuf> = between(tests, '`')
            .map(|named| place(named).unwrap_or_else(|| unreachable!("{named} is no file, in: {row}")))
            .collect();
        assert!(!files.is_empty(), "no test is named in: {row}");
        let sources: Vec<String> = files
            .iter()
            .filter(|file| file.is_file())
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        for name in between(tests, '*') {
            assert!(
                sources.iter().any(|source| source.contains(name)),
                "no test is called {name:?}, in: {row}"
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "the table is read");
}
