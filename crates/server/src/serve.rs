//! Starting, serving, stopping.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use mio::net::TcpListener;
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;
use weeziq_core::Policy;
use weeziq_core::access::rate::Quota;

use crate::ai::Asker;
use crate::ai::limiter::{AddressLimiter, Limiter};
use crate::check;
use crate::domains::{Briefings, Domains};
use crate::files::{Files, sweeper};
use crate::http::{App, Peer, Watch, router, watch_router};
use crate::metrics::process::Birth;
use crate::metrics::requests::Requests;
use crate::proven::Proven;
use crate::retention;
use crate::salt::DailySalt;
use crate::settings::Settings;
use crate::shard::arrivals::{Arrived, Entrance};
use crate::shard::mailbox::{Message, Shards};
use crate::shard::{Environment, Foundation, Shard};
use crate::store::{Checkpointer, DataDir, unusable};

/// Connections that have not become sockets yet; more of them wait in the listener's queue.
const HTTP_CONNECTIONS_MAX: usize = 4_096;
const BACKLOG: u32 = 4_096;
/// A peer that has not sent its request's head by then is let go.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Requests under way have so long to end.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn run(settings: &Settings) -> Result<(), String> {
    // Fails only if a provider was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let born = Birth::now();
    let data = DataDir::open(&settings.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
        .enable_all()
        .build()
        .map_err(|error| format!("no threads: {error}"))?;
    // Before anything is written, so that a port in use leaves no trace.
    let listener = runtime.block_on(async { listen(SocketAddr::new(settings.host(), settings.port)) })?;
    let (models, providers) = settings.ai()?;
    let has_models = !models.is_demo();
    let key = settings.key()?.map(Arc::new);
    let environment = Arc::new(Environment {
        policy: Policy {
            models,
            context_messages: settings.ai_context_messages.into(),
            ai_per_user: Quota::per_minute(settings.ai_per_user_per_min),
        },
        events: settings.events(),
        durability: settings.durability,
        asker: Asker::new(runtime.handle().clone(), settings, providers)?,
        domains: Arc::new(Domains::open(&data.settings_file(), settings.ai_daily_tokens)?),
        addresses: Arc::new(AddressLimiter::new(Quota::per_minute(settings.ai_per_ip_per_min))),
        subjects: Limiter::new(Quota::per_minute(settings.ai_per_user_per_min)),
        proven: Proven::open(&data.access_file(), key.is_some())?,
        key,
    });
    let foundations = lay_foundations(&data, settings.shards())?;
    let metrics =
        settings.metrics_addr.0.map(|address| runtime.block_on(async { watch_at(address) })).transpose()?;
    let shards = Shards::new(foundations.iter().map(|foundation| foundation.mailbox.clone()).collect());
    let briefings = Briefings::start(environment.domains.clone(), shards.clone())
        .map_err(|error| format!("no threads: {error}"))?;
    let domains = environment.domains.clone();
    let app = App {
        briefings,
        watch: Watch {
            born,
            requests: Requests::default(),
            data_dir: settings.data_dir.as_path().into(),
            has_own_listener: metrics.is_some(),
        },
        shards,
        environment,
        files: Arc::new(Files::open(settings)?),
        origins: Arc::new(settings.origins()),
        geoip: settings.geoip()?.map(Arc::new),
        salt: Arc::new(DailySalt::open(&settings.data_dir)),
        trusted_proxies: settings.trust_proxy.clone().into(),
        polls: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX / 2)),
    };
    if let Some(listener) = metrics {
        runtime.spawn(serve_watch(listener, watch_router(app.clone())));
    }
    let address = listener.local_addr().ok();
    let (to_http, arrived) = mpsc::unbounded_channel();
    let threads = start_shards(foundations, &app, listener, &to_http)?;
    tell_start(settings, has_models, address, app.shards.count());
    let files = app.clone();
    runtime.spawn(async move { files.files.look().await });
    runtime.spawn(sweeper::run(app.clone()));
    runtime.spawn(retention::run(app.clone()));
    let salt = app.salt.clone();
    runtime.spawn(async move { salt.look_after().await });
    let served = runtime.block_on(serve(arrived, app));
    for thread in threads {
        if thread.join().is_err() {
            return Err("a shard panicked; this is a defect, please report it with the log".into());
        }
    }
    domains.fold_log();
    tracing::info!("stopped; everything acknowledged is stored");
    served
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let listening = socket.and_then(|socket| {
        socket.set_reuseaddr(true)?;
        // Frames are written whole; waiting for more would only make them late. Connections inherit it.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    });
    listening.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "PORT {} is in use on {}; stop what listens there, or set PORT to another",
                address.port(),
                address.ip()
            )
        }
        _ => format!("cannot listen on HOST {} PORT {}: {error}", address.ip(), address.port()),
    })
}

fn watch_at(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let listening = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.map_err(|error| format!("cannot listen on METRICS_ADDR {address}: {error}; choose another"))
}

/// Ends with the process, so that the end can be watched too.
async fn serve_watch(listener: std::net::TcpListener, router: Router) {
    let address = listener.local_addr().ok();
    let serving = async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await };
    tracing::info!(?address, "metrics are served there");
    if let Err(error) = serving.await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

fn lay_foundations(data: &DataDir, wanted: usize) -> Result<Vec<Foundation>, String> {
    let is_known = data.is_known();
    let files: Vec<_> = (0..data.shards(wanted)?).map(|shard| data.shard_file(shard)).collect();
    for file in files.iter().filter(|file| is_known && check::is_empty(file)) {
        tracing::warn!(file = %file.display(), "missing or empty, though there was data here before: its rooms begin anew");
    }
    files.into_iter().map(Foundation::lay).collect()
}

fn start_shards(
    foundations: Vec<Foundation>,
    app: &App,
    listener: std::net::TcpListener,
    to_http: &UnboundedSender<Arrived>,
) -> Result<Vec<JoinHandle<()>>, String> {
    let mut listener = Some(TcpListener::from_std(listener));
    let permits = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let (mut threads, mut checkpointers) = (Vec::new(), Vec::new());
    for (index, foundation) in foundations.into_iter().enumerate() {
        let file = foundation.database.clone();
        let entrance =
            Entrance { listener: listener.take(), permits: permits.clone(), to_http: to_http.clone() };
        let shard =
            Shard::new(index, foundation, app.clone(), entrance).map_err(|error| unusable(&file, &error))?;
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || shard.run());
        threads.push(thread.map_err(|error| format!("no threads: {error}"))?);
        checkpointers.push(Checkpointer::open(&file).map_err(|error| error.to_string())?);
    }
    let thread =
        std::thread::Builder::new().name("checkpoints".into()).spawn(move || checkpoint(&checkpointers));
    thread.map_err(|error| format!("no threads: {error}"))?;
    Ok(threads)
}

/// Copies what the shards have committed into their databases, off their hot path. Ends with the process.
fn checkpoint(checkpointers: &[Checkpointer]) {
    loop {
        std::thread::sleep(CHECKPOINT_EVERY);
        for checkpointer in checkpointers {
            if let Err(error) = checkpointer.run() {
                tracing::debug!(%error, "a checkpoint is put off");
            }
        }
    }
}

fn tell_start(settings: &Settings, has_models: bool, address: Option<SocketAddr>, shards: usize) {
    if !has_models {
        tracing::info!(
            "no model key is set: the built-in offline demo answers; set OPENAI_API_KEY or GOOGLE_AI_API_KEY for real ones"
        );
    }
    if matches!(settings.key(), Ok(None)) {
        tracing::warn!(
            "open mode: no AUTH_SECRET is set, so anyone who can reach this service may do anything: read and write every room, be anybody, change settings. Set AUTH_SECRET, or put it behind your own access control"
        );
    }
    let Some(address) = address else { return };
    // What a person can click: an unspecified address is no place to go.
    let host = match address.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() => "localhost".to_owned(),
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
        v4 => v4.to_string(),
    };
    let data = Path::new(&settings.data_dir).display();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %data, shards, "WeeziQ is ready at http://{host}:{}", address.port());
}

/// Serves what the shards leave to HTTP until told to stop, then lets the requests under way end.
async fn serve(mut arrived: UnboundedReceiver<Arrived>, app: App) -> Result<(), String> {
    let shards = app.shards.clone();
    let router = router(app);
    let no_signals = |error| format!("signals cannot be received: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(Arrived { stream, peer, permit }) = arrived.recv() => {
                let serving = connection(stream.into(), peer, router.clone(), stopping.clone());
                connections.spawn(async move { serving.await; drop(permit); });
            }
        }
        while connections.try_join_next().is_some() {}
    }
    tracing::info!(
        "stopping: no new connections, finishing what is under way; a second signal stops at once"
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Nothing acknowledged is lost by it: that is on disk.
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(1);
    });
    drop(arrived);
    drop(stop);
    for shard in 0..shards.count() {
        shards.send(shard, Message::Stop);
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
        tracing::warn!("requests were cut off because they took too long to end");
    }
    Ok(())
}

async fn connection(
    stream: std::net::TcpStream,
    peer: Peer,
    router: Router,
    mut stopping: watch::Receiver<()>,
) {
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a socket cannot be watched"),
    };
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            _ = stopping.changed(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
