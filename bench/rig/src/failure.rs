//! Why a run could not be made, and who is to blame for it. A missed target is no failure but a result.

use std::fmt;

pub type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that is not offered.
    Usage(String),
    /// The server under test did not do its part.
    Server(String),
    /// This machine, or this tool on it.
    Machine(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Server(_) => 3,
            Self::Machine(_) => 4,
        }
    }

    /// Puts the place in front: `rooms on weeziq-full: …`.
    pub fn at(self, place: &str) -> Self {
        match self {
            Self::Usage(why) => Self::Usage(format!("{place}: {why}")),
            Self::Server(why) => Self::Server(format!("{place}: {why}")),
            Self::Machine(why) => Self::Machine(format!("{place}: {why}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => write!(f, "{why}"),
            Self::Server(why) => write!(f, "the server failed: {why}"),
            Self::Machine(why) => write!(f, "this machine failed: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Machine(error.to_string())
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Machine(error.to_string())
    }
}
