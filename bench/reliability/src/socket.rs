//! A client's TCP connection and the WebSocket on it. Only to this machine: there is no way to name another.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::mark::Client;

pub(crate) type Socket = WebSocketStream<TcpStream>;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Segments as on a network: loopback's of 64 KiB make the kernel keep megabytes for each reader that does not
    /// read, and no real path has such segments.
    pub(crate) narrow: bool,
}

const OPEN_MAX: Duration = Duration::from_secs(10);
const WINDOW_BYTES_MIN: usize = 4 * 1024;
const WINDOW_BYTES: usize = 512 * 1024;
const NARROW_SEGMENT_BYTES: u32 = 1_460;
/// The default of 128 KiB is 2.5 GB for 20,000 clients.
const READ_BYTES: usize = 4 * 1024;
/// The ephemeral ports of one address carry some 28,000 connections, less those that linger after a close.
const ADDRESSES: u32 = 50;

pub(crate) async fn open(client: Client, port: u16, path: &str, options: &Options) -> io::Result<Socket> {
    match tokio::time::timeout(OPEN_MAX, handshake(client, port, path, options)).await {
        Ok(socket) => socket,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn handshake(client: Client, port: u16, path: &str, options: &Options) -> io::Result<Socket> {
    let socket = TcpSocket::new_v4()?;
    if options.narrow {
        SockRef::from(&socket).set_tcp_mss(NARROW_SEGMENT_BYTES)?;
    }
    let last = 2 + (client.0 % ADDRESSES) as u8;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
    let url = format!("ws://127.0.0.1:{port}{path}");
    let opened = client_async_with_config(url, stream, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(io::Error::other)
}

/// How much the kernel takes for a client that does not read, or that reads again. A failure means that the connection is
/// no more, which its next use will show.
pub(crate) fn window(socket: &Socket, reads: bool) {
    let bytes = if reads { WINDOW_BYTES } else { WINDOW_BYTES_MIN };
    let _ = SockRef::from(socket.get_ref()).set_recv_buffer_size(bytes);
}

/// The connection ends with a reset, as one does whose machine lost its network and forgot it: no close frame, no FIN,
/// and what was under way is gone.
pub(crate) fn cut(socket: &Socket) -> io::Result<()> {
    socket.get_ref().set_zero_linger()
}
