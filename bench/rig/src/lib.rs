//! A server under test as our own child, in a folder that goes with it; for the load generator and the reliability rigs.

mod failure;

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use failure::{Failure, Result};

/// What is started, with its settings. It is told its port and its DATA_DIR besides.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, String)>,
}

impl Program {
    pub fn start(&self, folder: &Folder, port: u16) -> Result<Child> {
        let log = File::options().create(true).append(true).open(folder.log())?;
        Command::new(&self.path)
            .args(&self.arguments)
            // Neither the caller's settings nor a `.env` of the folder he stands in may leak into a run.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"))
            .current_dir(&folder.path)
            .envs([("HOST", "127.0.0.1"), ("NODE_ENV", "production")])
            .env("PORT", port.to_string())
            .env("DATA_DIR", folder.path.join("data"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| Failure::Usage(format!("{} does not start: {error}", self.path.display())))
    }
}

/// Asks it to end. What it then does is the caller's to see.
pub fn terminate(child: &Child) -> Result<()> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    Ok(())
}

/// A temporary folder with the server's data and log.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// `tool` is the beginning of its name.
    pub fn create(root: &Path, tool: &str) -> Result<Self> {
        for attempt in 0..1_000u32 {
            let path = root.join(format!("{tool}-{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    fs::create_dir(path.join("data"))?;
                    return Ok(Self { path });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::Usage(format!("{}: {error}", path.display()))),
            }
        }
        Err(Failure::Machine(format!("no free name for a folder in {}", root.display())))
    }

    /// All that it has written to its log, oldest first.
    pub fn lines(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // the system clears its temporary folder too
    }
}

/// A listening port below the ephemeral range: one inside it may be taken by one of our own connections while the server
/// is down, and a connection from a port to itself succeeds.
pub fn free_port() -> Result<u16> {
    let start = (std::process::id() as u16) % 8_000;
    for offset in 0..8_000 {
        let port = 20_000 + (start + offset) % 8_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::Machine("no port from 20000 to 27999 is free".into()))
}
