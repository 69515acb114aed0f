//! The answering end of the control socket.

use std::{io, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Blocked, ControlSocket, Engine, MAX_REASON_BYTES, MAX_REQUEST_BYTES, MAX_TARGETS, Protected, Refusal,
    RefusalCode, RefusedTarget, Request, Response, TRIAL_S, VERSION, Versioned,
};
use crate::config::{Level, short_cidr};

/// Bounds of what clients may take from the engine.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Clients connected at once; further ones are told to come back.
    pub clients: usize,
    /// How long a client may be silent between requests, and take for one.
    pub idle: Duration,
    /// How long a client may take to read an answer.
    pub write: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            clients: 32,
            idle: Duration::from_secs(30),
            write: Duration::from_secs(10),
        }
    }
}

/// Answers the clients of `socket` until dropped. An error means that the socket cannot be used at all.
///
/// Runs on a tokio runtime with I/O and time enabled; the engine's methods run on its blocking threads.
pub async fn serve<E: Engine>(
    socket: &ControlSocket,
    engine: Arc<E>,
    protected: Arc<Protected>,
    limits: ServerLimits,
) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    let places = Arc::new(Semaphore::new(limits.clients));
    let mut clients = tokio::task::JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors or memory: wait for clients to leave instead of spinning.
            Err(error) => {
                tracing::warn!(%error, "control socket: cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            turn_away(&stream, limits.clients);
            continue;
        };
        let session = Session {
            engine: Arc::clone(&engine),
            protected: Arc::clone(&protected),
            _place: place,
        };
        clients.spawn(session.run(stream, limits.clone()));
    }
}

/// Tells a client that there is no place. It waits for nothing: what does not fit the socket's buffer is lost.
fn turn_away(stream: &UnixStream, places: usize) {
    let refusal = Refusal::new(
        RefusalCode::Busy,
        format!("all {places} places for clients are taken"),
        "close other `portcullis` commands or try again",
    );
    let _ = stream.try_write(&line(&Response::Error(refusal)));
}

/// One connected client.
struct Session<E> {
    engine: Arc<E>,
    protected: Arc<Protected>,
    _place: OwnedSemaphorePermit,
}

impl<E: Engine> Session<E> {
    async fn run(self, mut stream: UnixStream, limits: ServerLimits) {
        let (read, mut write) = stream.split();
        let mut read = BufReader::new(read);
        let mut request = Vec::new();
        loop {
            request.clear();
            let length = timeout(limits.idle, read_line(&mut read, &mut request)).await;
            let (response, last) = match length {
                Ok(Ok(Line::Complete)) => (self.answer(&request).await, false),
                Ok(Ok(Line::TooLong)) => {
                    let message = format!("a request has at most {MAX_REQUEST_BYTES} bytes");
                    (
                        Response::Error(Refusal::new(RefusalCode::TooLong, message, "send less at once")),
                        true,
                    )
                }
                // The end of the connection, an I/O error, or too long a silence.
                Ok(Ok(Line::End) | Err(_)) | Err(_) => return,
            };
            let sent = timeout(limits.write, write.write_all(&line(&response))).await;
            if last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Answers one line.
    async fn answer(&self, request: &[u8]) -> Response {
        let request = match parse(request) {
            Ok(request) => request,
            Err(refusal) => return Response::Error(refusal),
        };
        let (engine, protected) = (Arc::clone(&self.engine), Arc::clone(&self.protected));
        let answer = tokio::task::spawn_blocking(move || dispatch(&*engine, &protected, request)).await;
        answer
            .unwrap_or_else(|error| {
                Err(Refusal::new(
                    RefusalCode::Failed,
                    format!("the engine failed: {error}"),
                    "see its log",
                ))
            })
            .unwrap_or_else(Response::Error)
    }
}

fn parse(line: &[u8]) -> Result<Request, Refusal> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    let bad = |error: serde_json::Error| {
        Refusal::new(
            RefusalCode::BadRequest,
            format!("not a request: {error}"),
            "send one JSON object a line",
        )
    };
    // The version first: what else an unknown version has in it is unknown.
    let version: Version = serde_json::from_slice(line).map_err(bad)?;
    if version.v != VERSION {
        return Err(Refusal::new(
            RefusalCode::Version,
            format!(
                "this engine speaks version {VERSION} of the protocol, not {}",
                version.v
            ),
            "use the `portcullis` program that the engine was started with",
        ));
    }
    Ok(serde_json::from_slice::<Versioned<Request>>(line)
        .map_err(bad)?
        .body)
}

/// Has the engine do what is asked, if it is sound.
pub(crate) fn dispatch<E: Engine + ?Sized>(
    engine: &E,
    protected: &Protected,
    request: Request,
) -> Result<Response, Refusal> {
    let done = |message: String| Ok(Response::Done { message });
    match request {
        Request::Status {} => Ok(Response::Status(Box::new(engine.status()))),
        Request::Block {
            target,
            for_s,
            reason,
        } => {
            let target = target.trunc();
            check_block(for_s, &reason)?;
            protected.check(&target)?;
            engine.block(target, for_s, &reason)?;
            let end = for_s.map_or("until it is unblocked".to_owned(), |s| format!("for {s} s"));
            done(format!("{} is blocked {end}", short_cidr(&target)))
        }
        Request::BlockAll {
            targets,
            for_s,
            reason,
        } => {
            check_block(for_s, &reason)?;
            if targets.len() > MAX_TARGETS {
                let message = format!("{} targets are more than {MAX_TARGETS}", targets.len());
                return Err(Refusal::new(
                    RefusalCode::BadRequest,
                    message,
                    "send less at once",
                ));
            }
            Ok(Response::BlockedAll(block_all(
                engine, protected, &targets, for_s, &reason,
            )))
        }
        Request::Unblock { target } => {
            engine.unblock(target.trunc())?;
            done(format!("{} is no longer blocked", short_cidr(&target.trunc())))
        }
        Request::Allow {
            target,
            remove: false,
        } => {
            engine.allow(target.trunc())?;
            done(format!("{} is on the allow list", short_cidr(&target.trunc())))
        }
        Request::Allow { target, remove: true } => {
            engine.disallow(target.trunc())?;
            done(format!("{} is off the allow list", short_cidr(&target.trunc())))
        }
        Request::Blocks(page) => Ok(Response::Blocks {
            blocks: engine.blocks(page)?,
        }),
        Request::Allowed(page) => Ok(Response::Allowed {
            targets: engine.allowed(page)?,
        }),
        Request::Latency { reset } => Ok(Response::Latency(engine.latencies(reset))),
        Request::Reload { dry_run: true, .. } => Ok(Response::Reloaded(engine.preview_reload()?)),
        Request::Reload { confirm_within_s, .. } => {
            Ok(Response::Reloaded(engine.reload(trial(confirm_within_s)?)?))
        }
        Request::Config {} => Ok(Response::Config {
            config: Box::new(engine.config()),
        }),
        Request::Feeds {} => Ok(Response::Feeds {
            feeds: engine.feeds(),
        }),
        Request::RefreshFeeds { name } => {
            let count = engine.refresh_feeds(name.as_deref())?;
            done(format!("feeds that are being fetched: {count}"))
        }
        Request::Confirm {} => done(engine.confirm()?),
        Request::Revert {} => done(engine.revert()?),
        Request::HandOver(successor) => Ok(Response::HandedOver(engine.hand_over(&successor)?)),
        Request::TakeBack {} => {
            engine.take_back()?;
            done("the engine goes on".to_owned())
        }
        Request::Retire {} => {
            engine.retire()?;
            done("the engine ends".to_owned())
        }
        Request::Queues { count } => done(set_queues(engine, count)?),
        Request::LogLevel {
            engine: None,
            ebpf: None,
        } => Err(Refusal::new(
            RefusalCode::BadRequest,
            "no log level is given",
            "name one for the engine, for the XDP program, or both",
        )),
        Request::LogLevel { engine: level, ebpf } => done(set_log_level(engine, level, ebpf)?),
    }
}

fn set_log_level<E: Engine + ?Sized>(
    engine: &E,
    level: Option<Level>,
    ebpf: Option<Level>,
) -> Result<String, Refusal> {
    engine.set_log_level(level, ebpf)?;
    let of = |name, level: Option<_>| level.map(|level| format!("{name} logs {level}"));
    let told = [of("the engine", level), of("the XDP program", ebpf)];
    Ok(told.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn set_queues<E: Engine + ?Sized>(engine: &E, count: u32) -> Result<String, Refusal> {
    if !(1..=filter_common::MAX_QUEUES).contains(&count) {
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            format!(
                "{count} queues are none, or more than the {} that are supported",
                filter_common::MAX_QUEUES
            ),
            "name another number",
        ));
    }
    engine.set_queues(count)?;
    Ok(format!("queues that are read now: {count}"))
}

fn trial(seconds: Option<u64>) -> Result<Option<Duration>, Refusal> {
    if let Some(seconds) = seconds
        && !TRIAL_S.contains(&seconds)
    {
        let (shortest, longest) = TRIAL_S.into_inner();
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            format!("a trial of {seconds} s is too short or too long"),
            format!("give it {shortest} to {longest} s"),
        ));
    }
    Ok(seconds.map(Duration::from_secs))
}

fn check_block(for_s: Option<u64>, reason: &str) -> Result<(), Refusal> {
    if for_s == Some(0) {
        let message = "a block of 0 seconds blocks nothing";
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            message,
            "give it some time, or none to keep it",
        ));
    }
    if reason.len() > MAX_REASON_BYTES {
        let message = format!("the reason has {} bytes", reason.len());
        let remedy = format!("keep it within {MAX_REASON_BYTES}");
        return Err(Refusal::new(RefusalCode::BadRequest, message, remedy));
    }
    Ok(())
}

/// Blocks what is not on the never-block list; that is refused in its place.
fn block_all<E: Engine + ?Sized>(
    engine: &E,
    protected: &Protected,
    targets: &[IpNet],
    for_s: Option<u64>,
    reason: &str,
) -> Blocked {
    let (mut refused, mut places, mut admitted) = (Vec::new(), Vec::new(), Vec::new());
    for (at, target) in targets.iter().map(IpNet::trunc).enumerate() {
        match protected.check(&target) {
            Ok(()) => {
                places.push(at);
                admitted.push(target);
            }
            Err(refusal) => refused.push(RefusedTarget { at, refusal }),
        }
    }
    let mut blocked = engine.block_all(&admitted, for_s, reason);
    for refused in &mut blocked.refused {
        refused.at = places.get(refused.at).copied().unwrap_or(refused.at);
    }
    let end = blocked
        .refused
        .iter()
        .find(|refused| refused.refusal.code != RefusalCode::Protected);
    let tried = end.map_or(targets.len(), |end| end.at);
    blocked
        .refused
        .extend(refused.into_iter().filter(|refused| refused.at < tried));
    blocked.refused.sort_unstable_by_key(|refused| refused.at);
    blocked
}

enum Line {
    Complete,
    TooLong,
    End,
}

/// Reads up to a newline, holding at most [`MAX_REQUEST_BYTES`]. A line the connection cuts off is no line.
async fn read_line(read: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Line> {
    loop {
        let buffer = read.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(Line::End);
        }
        let end = memchr_newline(buffer);
        let take = end.map_or(buffer.len(), |end| end + 1);
        if line.len() + take > MAX_REQUEST_BYTES {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(&buffer[..take]);
        read.consume(take);
        if end.is_some() {
            return Ok(Line::Complete);
        }
    }
}

fn memchr_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}

fn line(response: &Response) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Versioned::new(response)).unwrap_or_else(|error| {
        let refusal = Refusal::new(
            RefusalCode::Failed,
            format!("the answer has no JSON form: {error}"),
            "",
        );
        serde_json::to_vec(&Versioned::new(Response::Error(refusal)))
            .expect("strings always have a JSON form")
    });
    line.push(b'\n');
    line
}
