//! The server under test as our own child: started fresh, killed and started again on the same port and data.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::process::Pid;

#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<PathBuf>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

pub(crate) struct Server {
    launch: Launch,
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
    pub(crate) async fn start(launch: Launch, data_root: &Path) -> Result<Self> {
        let folder = Folder::create(data_root)?;
        let port = free_port()?;
        let child = spawn(&launch, &folder, port)?;
        let mut server = Self { launch, folder, port, child };
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
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
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
        self.child = spawn(&self.launch, &self.folder, self.port)?;
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
        let log = fs::read_to_string(self.folder.log()).unwrap_or_default();
        let mut lines: Vec<String> = log.lines().rev().take(LOG_LINES).map(str::to_owned).collect();
        lines.reverse();
        lines
    }

    /// Lines of the log that speak of an error or a warning, but for the one that each start gives.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.log()).unwrap_or_default();
        let complaint = |line: &&str| {
            (line.contains("WARN") || line.contains("ERROR") || line.contains("panicked"))
                && !line.contains("open mode")
        };
        log.lines().filter(complaint).take(LOG_LINES).map(str::to_owned).collect()
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

fn spawn(launch: &Launch, folder: &Folder, port: u16) -> Result<Child> {
    let log = fs::File::options().create(true).append(true).open(folder.log())?;
    Command::new(&launch.program)
        .args(&launch.arguments)
        // Neither the caller's settings nor a `.env` of the folder he stands in may leak into a run.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"))
        .current_dir(&folder.path)
        .envs([("HOST", "127.0.0.1"), ("NODE_ENV", "production")])
        .env("PORT", port.to_string())
        .env("DATA_DIR", folder.path.join("data"))
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| Failure::Usage(format!("{} does not start: {error}", launch.program.display())))
}

/// A temporary folder with the server's data and log.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn create(root: &Path) -> Result<Self> {
        for attempt in 0..1_000u32 {
            let path = root.join(format!("weeziq-reliability-{}-{attempt}", std::process::id()));
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

    fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // the system clears its temporary folder too
    }
}

/// Below the ephemeral range: one inside it may be taken by one of our own connections while the server is down.
fn free_port() -> Result<u16> {
    let start = (std::process::id() as u16) % 8_000;
    for offset in 0..8_000 {
        let port = 20_000 + (start + offset) % 8_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::Machine("no port from 20000 to 27999 is free".into()))
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
