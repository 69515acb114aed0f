//! Web sockets (RFC 6455).
//!
//! What a listener has not taken stays with the hub, so that one which does not read costs its place, one batch and its socket's
//! buffers, and ends after [`STALL`].

use std::time::Duration;

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use futures_util::SinkExt as _;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{BATCH, text};
use crate::{api::access::Admission, live::Subscription};

/// What a browser's page asks for beside its token.
const PROTOCOL: &str = "portcullis";
/// The most bytes of a message from a listener, which has nothing to say but pongs.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// What is read at once. The library clears as much each time it looks for something, and holds it for each listener.
const READ_BYTES: usize = 512;
/// Bytes that may wait to be written: a batch is larger only if its messages are.
const WRITE_BYTES: usize = 64 << 10;
/// Between two batches, so that many small messages make few writes.
const PAUSE: Duration = Duration::from_millis(25);
/// Between two pings.
const PING: Duration = Duration::from_secs(20);
/// A listener that takes nothing for so long, or does not answer a ping, is gone.
const STALL: Duration = Duration::from_mins(1);

pub(super) fn answer(
    upgrade: WebSocketUpgrade,
    subscription: Subscription,
    admission: Admission,
    place: OwnedSemaphorePermit,
) -> Response {
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .on_upgrade(async move |socket| {
            let reason = converse(socket, subscription, admission).await;
            tracing::debug!("API: a listener has gone: {reason}");
            drop(place);
        })
}

/// Tells until one side ends it. Returns why.
async fn converse(mut socket: WebSocket, mut subscription: Subscription, mut admission: Admission) -> String {
    let mut ping = interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut rested = Instant::now();
    loop {
        let ready = async {
            sleep_until(rested).await;
            subscription.ready().await;
        };
        let sent = tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_))) | None => return "it has closed".into(),
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
                Some(Err(error)) => return error.to_string(),
            },
            () = admission.ended() => return "its token is not known any more".into(),
            () = ready => {
                rested = Instant::now() + PAUSE;
                timeout(STALL, send(&mut socket, &mut subscription)).await
            }
            _ = ping.tick() => {
                if heard.elapsed() > STALL {
                    return "it does not answer".into();
                }
                timeout(STALL, socket.send(Message::Ping(Vec::new().into()))).await
            }
        };
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it does not read".into(),
        }
    }
}

async fn send(socket: &mut WebSocket, subscription: &mut Subscription) -> Result<(), axum::Error> {
    for next in subscription.take(BATCH) {
        socket.feed(Message::Text(text(&next).into())).await?;
    }
    socket.flush().await
}
