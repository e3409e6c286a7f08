//! A server under test as our own child: started fresh, asked whether it is ready, ended by its pid.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use weeziq_rig::{Failure, Folder, Program, Result, free_port};

use crate::dialect::Dialect;
use crate::limits::{READY_MAX, STOP_MAX};
use crate::process::Pid;
use crate::swarm::Target;

/// How to start one; the same again for each scenario and round.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) dialect: Dialect,
}

pub(crate) struct Server {
    child: Child,
    port: u16,
    dialect: Dialect,
    folder: Folder,
    /// The start of what `/readyz` said; a peer tells its versions there.
    pub(crate) readiness: String,
}

impl Server {
    /// `data_root` is where its DATA_DIR is made, and removed again.
    pub(crate) fn start(launch: &Launch, data_root: &Path) -> Result<Self> {
        let folder = Folder::create(data_root, "weeziq-bench")?;
        let port = free_port()?;
        let child = launch.program.start(&folder, port)?;
        let dialect = launch.dialect;
        let mut server = Self { child, port, dialect, folder, readiness: String::new() };
        server.wait_ready()?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    pub(crate) fn target(&self) -> Target {
        Target { port: self.port, path: self.dialect.path().into(), dialect: self.dialect }
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            if let Some(body) = readiness(self.port) {
                self.readiness = body;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("it ended at start with {status}")));
            }
            if Instant::now() > deadline {
                let seconds = READY_MAX.as_secs();
                return Err(self.failed(&format!("GET /readyz gave no 200 within {seconds} s")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn failed(&self, what: &str) -> Failure {
        let log = self.folder.lines();
        let tail = log.get(log.len().saturating_sub(5)..).unwrap_or_default();
        Failure::Server(format!("{what}; the end of its log: {}", tail.join(" / ")))
    }

    /// SIGTERM; an error if it does not end in time, or not with 0. It is gone afterwards in any case.
    pub(crate) fn stop(mut self) -> Result<()> {
        weeziq_rig::terminate(&self.child)?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failed(&format!("SIGTERM ended it with {status}"))),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        let seconds = STOP_MAX.as_secs();
        Err(self.failed(&format!("SIGTERM did not end it within {seconds} s")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The start of the body if `/readyz` answers 200.
fn readiness(port: u16) -> Option<String> {
    let timeout = Duration::from_secs(1);
    let mut socket =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), timeout).ok()?;
    socket.set_read_timeout(Some(timeout)).ok()?;
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let _ = socket.take(4096).read_to_end(&mut answer); // a server may keep the connection; what came is enough
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // Of a body in chunks only the object.
    let object = body.find('{').zip(body.rfind('}')).and_then(|(start, end)| body.get(start..=end));
    head.starts_with("HTTP/1.1 200").then(|| object.unwrap_or(body).chars().take(200).collect())
}
