//! `--flag value` pairs: each may be given once, and each must be asked for.

use std::collections::BTreeMap;

use weeziq_rig::{Failure, Result};

/// The flags given and not yet asked for.
pub(crate) struct Flags {
    given: BTreeMap<String, Option<String>>,
}

impl Flags {
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut given = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                return Err(usage(&format!("\"{argument}\" stands where a --flag should be")));
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, arguments.next_if(|next| !next.starts_with("--"))),
            };
            if given.insert(name.to_owned(), value).is_some() {
                return Err(usage(&format!("--{name} is given twice")));
            }
        }
        match given.iter().find(|(name, value)| value.is_none() && *name != "peers") {
            Some((name, _)) => Err(usage(&format!("--{name} needs a value"))),
            None => Ok(Self { given }),
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name).flatten()
    }

    pub(crate) fn switch(&mut self, name: &str) -> Result<bool> {
        match self.given.remove(name) {
            Some(Some(value)) => Err(usage(&format!("--{name} takes no value, and \"{value}\" is given"))),
            given => Ok(given.is_some()),
        }
    }

    pub(crate) fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        self.text(name).map(|text| bounded(name, &text, least, most)).transpose()
    }

    pub(crate) fn finish(self, command: &str) -> Result<()> {
        match self.given.keys().next() {
            Some(name) => Err(usage(&format!("{command} has no flag --{name}; see weeziq-bench help"))),
            None => Ok(()),
        }
    }
}

pub(crate) fn bounded(name: &str, text: &str, least: u64, most: u64) -> Result<u64> {
    let value = text.parse::<u64>().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| usage(&format!("--{name} is a whole number from {least} to {most}, not \"{text}\"")))
}

pub(crate) fn usage(why: &str) -> Failure {
    Failure::Usage(why.into())
}
