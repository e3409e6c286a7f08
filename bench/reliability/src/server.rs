//! The server under test as our own child: started fresh, killed and started again on the same port and data.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use weeziq_rig::{Failure, Folder, Program, Result, free_port};

use crate::process::Pid;

pub(crate) struct Server {
    program: Program,
    folder: Folder,
    pub(crate) port: u16,
    child: Child,
}

/// A start: when the process was there, and when it first accepted a connection and answered on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) spawned: Instant,
    pub(crate) ready: Instant,
}

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(20);
const PROBE_EVERY: Duration = Duration::from_millis(2);

impl Server {
    /// `data_root` is where its folder is made, and removed again.
    pub(crate) async fn start(program: Program, data_root: &Path) -> Result<Self> {
        let folder = Folder::create(data_root, "weeziq-reliability")?;
        let port = free_port()?;
        let child = program.start(&folder, port)?;
        let mut server = Self { program, folder, port, child };
        server.ready().await?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; returns how it ended. Killed if it does not end in time.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus> {
        weeziq_rig::terminate(&self.child)?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill()?;
        Err(self.failed(&format!("SIGTERM did not end it within {} s", STOP_MAX.as_secs())))
    }

    /// After `kill` or `terminate`.
    pub(crate) async fn restart(&mut self) -> Result<Start> {
        let spawned = Instant::now();
        self.child = self.program.start(&self.folder, self.port)?;
        let ready = self.ready().await?;
        Ok(Start { spawned, ready })
    }

    /// Asked from a thread of its own: two thousand clients that return at once would keep this one from noticing,
    /// and their way back would look shorter than it was.
    async fn ready(&mut self) -> Result<Instant> {
        let (port, deadline) = (self.port, Instant::now() + READY_MAX);
        let (tell, mut told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            while Instant::now() < deadline && !tell.is_closed() {
                let asked = Instant::now();
                if answers(port) {
                    let _ = tell.send(asked); // nobody waits any more
                    return;
                }
                std::thread::sleep(PROBE_EVERY);
            }
        });
        loop {
            tokio::select! {
                ready = &mut told => {
                    return ready.map_err(|_| self.failed(&format!("not ready within {} s", READY_MAX.as_secs())));
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(self.failed(&format!("it ended at start with {status}")));
                    }
                }
            }
        }
    }

    /// The last lines that it wrote.
    pub(crate) fn log(&self) -> Vec<String> {
        let mut lines = self.folder.lines();
        lines.drain(..lines.len().saturating_sub(LOG_LINES));
        lines
    }

    /// Lines of the log that speak of an error or a warning, but for the one that each start gives.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaint = |line: &String| {
            (line.contains("WARN") || line.contains("ERROR") || line.contains("panicked"))
                && !line.contains("open mode")
        };
        self.folder.lines().into_iter().filter(complaint).take(LOG_LINES).collect()
    }

    fn failed(&self, what: &str) -> Failure {
        Failure::Server(format!("{what}; the end of its log: {}", self.log().join(" / ")))
    }
}

const LOG_LINES: usize = 12;

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `/readyz` says 200.
fn answers(port: u16) -> bool {
    let timeout = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<bool> {
        let mut socket = TcpStream::connect_timeout(&address, timeout)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        socket.read_exact(&mut head)?;
        Ok(head.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
