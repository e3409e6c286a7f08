//! The files of an export of a service on Cloudflare: objects one after the other, each a line that names it and its own lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "camelCase")]
pub(super) enum Holder {
    Room(String),
    Domain(String),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Heading {
    pub(super) holder: Holder,
}

/// Less than what a service takes at once, with room for the longest row.
const PART_BYTES: usize = 2 * 1024 * 1024;

impl Holder {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Room(_) => "room",
            Self::Domain(_) => "domain",
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Room(name) | Self::Domain(name) => name,
        }
    }
}

/// A file of many objects, one after the other.
pub(super) struct Objects<L> {
    lines: L,
    /// Of the object whose lines come next.
    heading: Option<Holder>,
}

impl<L> Objects<L> {
    pub(super) fn of(lines: L) -> Self {
        Self { lines, heading: None }
    }
}

impl<L: Iterator<Item = Result<String, String>>> Iterator for Objects<L> {
    type Item = Result<(Holder, Vec<String>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut gathered = Vec::new();
        for line in self.lines.by_ref() {
            let line = match line {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let Ok(Heading { holder }) = serde_json::from_str(&line) else {
                gathered.push(line);
                continue;
            };
            if let Some(done) = self.heading.replace(holder) {
                return Some(Ok((done, gathered)));
            }
        }
        self.heading.take().map(|done| Ok((done, gathered)))
    }
}

pub(super) fn parts(lines: &[String]) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in lines {
        if parts.last().is_some_and(|part| part.len() + line.len() > PART_BYTES && !part.is_empty()) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// Not one of what tables are, and not of the version that every object has.
pub(super) fn is_row(line: &str) -> bool {
    line.starts_with("{\"table\":") && !line.starts_with("{\"table\":\"schema_version\"")
}

pub(super) fn size_of(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.len() as u64 + 1).sum()
}

pub(super) fn lines_in(path: &Path) -> Result<impl Iterator<Item = Result<String, String>> + use<>, String> {
    let unreadable = format!("{} cannot be read: ", path.display());
    let file = File::open(path).map_err(|error| format!("{unreadable}{error}"))?;
    Ok(BufReader::new(file).lines().map(move |line| line.map_err(|error| format!("{unreadable}{error}"))))
}
