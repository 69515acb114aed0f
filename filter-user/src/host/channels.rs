//! The queues of an interface: how many its driver has in use.

use std::time::{Duration, Instant};

use ethtool::{EthtoolAttr, EthtoolChannelAttr, EthtoolHandle};
use futures_util::StreamExt as _;

/// How long queues may still be taken by sockets that were closed.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// What the driver calls its queues: those for both directions, or those for each.
#[derive(Clone, Copy, Debug, Default)]
struct Channels {
    rx: u32,
    combined: u32,
    combined_max: u32,
}

/// RX queues in use: the channels that receive. Drivers without the call have one queue.
pub(super) async fn queues(name: &str) -> Option<u32> {
    let (connection, mut handle, _) = ethtool::new_connection().ok()?;
    let connection = tokio::spawn(connection);
    let channels = channels(&mut handle, name).await;
    connection.abort();
    Some(channels.rx + channels.combined).filter(|count| *count > 0)
}

/// Sets how many queues the interface `name` has. The kernel refuses this while `AF_XDP` sockets use those that would go, and some time
/// after they were closed.
///
/// # Errors
///
/// What the driver says.
pub async fn set_queues(name: &str, count: u32) -> Result<(), String> {
    let (connection, mut handle, _) = ethtool::new_connection().map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let channels = channels(&mut handle, name).await;
    let deadline = Instant::now() + PATIENCE;
    let result = loop {
        let request = handle.channel().set(name);
        let request = if channels.combined_max > 0 {
            request.combined_count(count)
        } else {
            request.rx_count(count).tx_count(count)
        };
        match request.execute().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            result => break result,
        }
    };
    connection.abort();
    result.map_err(|error| error.to_string())
}

async fn channels(handle: &mut EthtoolHandle, name: &str) -> Channels {
    let mut channels = Channels::default();
    if let Ok(messages) = handle.channel().get(Some(name)).execute().await {
        let mut messages = std::pin::pin!(messages);
        while let Some(Ok(message)) = messages.next().await {
            for attribute in &message.payload.nlas {
                match attribute {
                    EthtoolAttr::Channel(EthtoolChannelAttr::RxCount(count)) => channels.rx += count,
                    EthtoolAttr::Channel(EthtoolChannelAttr::CombinedCount(count)) => {
                        channels.combined += count;
                    }
                    EthtoolAttr::Channel(EthtoolChannelAttr::CombinedMax(count)) => {
                        channels.combined_max += count;
                    }
                    _ => {}
                }
            }
        }
    }
    channels
}
