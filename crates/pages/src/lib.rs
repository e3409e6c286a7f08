//! What a browser is sent: the files of `web/` and the modules of `clients/js`, under one list of addresses for both
//! hosts. The native one compiles them in; for Cloudflare `cargo xtask worker` writes them where wrangler looks.
//!
//! There is no bundler between the source and the browser: a file is sent as it is written, less the comments that
//! stand on lines of their own. Those lines stay, empty, so what a browser reports is the line of the source.

mod comments;
mod list;

use std::borrow::Cow;

pub use list::PAGES;

/// A file with an address.
#[derive(Debug)]
pub struct Page {
    /// As it is asked for. A page of HTML has no ending there.
    pub path: &'static str,
    /// Under `web/`, or `clients/js/src/` or `docs/` where its address begins so.
    pub file: &'static str,
    source: &'static str,
}

impl Page {
    /// What is sent.
    pub fn text(&self) -> Cow<'static, str> {
        match self.ending() {
            "js" | "css" => comments::blanked(self.source).into(),
            _ => self.source.into(),
        }
    }

    /// Its content type.
    pub fn kind(&self) -> &'static str {
        match self.ending() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "md" => "text/markdown; charset=utf-8",
            "json" => "application/json",
            "svg" => "image/svg+xml",
            "txt" => "text/plain; charset=utf-8",
            _ => "text/html; charset=utf-8",
        }
    }

    fn ending(&self) -> &'static str {
        self.file.rsplit_once('.').map_or("", |(_, ending)| ending)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Found by the tools of its folder, and no browser's concern.
    const UNSERVED: [&str; 4] = ["jsconfig.json", "tests", "node.js", "node-websocket.js"];

    #[test]
    fn every_file_has_an_address_and_no_address_is_given_twice() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut there = Vec::new();
        for folder in ["web", "clients/js/src"] {
            files(&root.join(folder), &root.join(folder), &mut there);
        }
        let listed: BTreeSet<&str> = PAGES.iter().map(|page| page.file).collect();
        let missing: Vec<&String> = there.iter().filter(|file| !listed.contains(file.as_str())).collect();
        assert!(missing.is_empty(), "list these in crates/pages/src/list.rs: {missing:?}");
        assert_eq!(PAGES.iter().map(|page| page.path).collect::<BTreeSet<_>>().len(), PAGES.len());
    }

    fn files(base: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match path.is_dir() {
                _ if UNSERVED.contains(&name) => {}
                true => files(base, &path, found),
                false => found.push(path.strip_prefix(base).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }

    #[test]
    fn scripts_lose_their_comments_and_keep_their_lines() {
        for page in PAGES.iter().filter(|page| page.ending() == "js") {
            let text = page.text();
            assert_eq!(text.lines().count(), page.source.lines().count(), "{}", page.file);
            let comment = text.lines().find(|line| line.trim_start().starts_with("//"));
            assert_eq!(comment, None, "{}", page.file);
        }
    }
}
