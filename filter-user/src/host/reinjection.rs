//! The way back into the stack: for each queue a veth pair. The engine sends accepted frames into one end by
//! `AF_XDP`; out of the other, which carries the NIC's MAC address, the stack receives them.
//!
//! The firewall sees the receiving end (`pc-rx…`) as the input interface of such packets.

use std::io;

use futures_util::TryStreamExt;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, packet_route::link::LinkMessage};

use super::{Interface, sysctl};

/// Loose reverse-path filtering (RFC 3704 §2.4): the source must be reachable, by whatever interface.
const LOOSE: &str = "2";
/// Settings of the NIC that the receiving end takes over.
const INHERITED_V4: [&str; 3] = ["forwarding", "accept_local", "route_localnet"];

/// The pairs of all queues. They go with it, and with them every setting made on them.
#[derive(Debug)]
pub struct Reinjection {
    outputs: Vec<String>,
}

/// Why the devices could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReinjectionError {
    /// Netlink refused.
    #[error("cannot create the reinjection device {device}: {reason}")]
    Device {
        /// The device.
        device: String,
        /// What went wrong.
        reason: String,
    },
    /// A setting could not be made.
    #[error("cannot set {0}")]
    Setting(#[from] io::Error),
}

impl Reinjection {
    /// Makes one pair for each of the first `queues` queues of `nic`, replacing those a killed engine left. With `keep`, pairs that are
    /// there stay as they are, and what is on its way through them; those of further queues go.
    ///
    /// # Errors
    ///
    /// See [`ReinjectionError`].
    pub async fn create(nic: &Interface, queues: u32, keep: bool) -> Result<Self, ReinjectionError> {
        let device = |source: io::Error| ReinjectionError::Device {
            device: "pc-tx".into(),
            reason: source.to_string(),
        };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(device)?;
        let connection = tokio::spawn(connection);
        let mut made = Self { outputs: Vec::new() };
        let mut result = Ok(());
        for queue in 0..queues {
            let (output, input) = names(nic.index, queue);
            if !(keep && exists(&handle, &output).await) {
                result = create_pair(&handle, nic, &output, &input).await;
            }
            if result.is_err() {
                break;
            }
            made.outputs.push(output);
        }
        for queue in queues..filter_common::MAX_QUEUES {
            let (output, _) = names(nic.index, queue);
            if !exists(&handle, &output).await {
                break;
            }
            delete(&handle, &output).await;
        }
        connection.abort();
        match result {
            Ok(()) => Ok(made),
            Err(error) => {
                made.remove().await;
                Err(error)
            }
        }
    }

    /// The device that the engine of `queue` sends into.
    #[must_use]
    pub fn output(&self, queue: u32) -> Option<&str> {
        self.outputs.get(queue as usize).map(String::as_str)
    }

    /// Removes the devices.
    pub async fn remove(self) {
        let Ok((connection, handle, _)) = rtnetlink::new_connection() else {
            return;
        };
        let connection = tokio::spawn(connection);
        for output in &self.outputs {
            delete(&handle, output).await;
        }
        connection.abort();
    }
}

/// Names of the sending and the receiving end; at most 15 bytes.
fn names(index: u32, queue: u32) -> (String, String) {
    (format!("pc-tx{index}-{queue}"), format!("pc-rx{index}-{queue}"))
}

/// The index of the interface that a sending end is for.
pub(super) fn interface_of(output: &str) -> Option<u32> {
    let (index, queue) = output.strip_prefix("pc-tx")?.split_once('-')?;
    queue.parse::<u32>().ok().and_then(|_| index.parse().ok())
}

/// Removes a pair by its sending end.
pub(super) async fn remove_device(output: &str) -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    delete(&handle, output).await;
    connection.abort();
    Ok(())
}

async fn create_pair(
    handle: &Handle,
    nic: &Interface,
    output: &str,
    input: &str,
) -> Result<(), ReinjectionError> {
    let failed = |error: rtnetlink::Error| ReinjectionError::Device {
        device: output.to_owned(),
        reason: error.to_string(),
    };
    delete(handle, output).await;
    handle
        .link()
        .add(LinkVeth::new(output, input).build())
        .execute()
        .await
        .map_err(failed)?;

    // Neither end is part of the network: no addresses, no neighbours, no router advertisements.
    sysctl::write("ipv6", output, "disable_ipv6", "1").or_else(without_ipv6)?;
    sysctl::write("ipv6", input, "addr_gen_mode", "1").or_else(without_ipv6)?;
    sysctl::write("ipv6", input, "accept_ra", "0").or_else(without_ipv6)?;
    sysctl::write("ipv6", input, "accept_dad", "0").or_else(without_ipv6)?;
    for key in INHERITED_V4 {
        sysctl::write("ipv4", input, key, &sysctl::read("ipv4", &nic.name, key)?)?;
    }
    if let Ok(forwarding) = sysctl::read("ipv6", &nic.name, "forwarding") {
        sysctl::write("ipv6", input, "forwarding", &forwarding)?;
    }
    sysctl::write("ipv4", input, "rp_filter", reverse_path_filter(nic)?)?;

    let change = |name: &str| {
        LinkUnspec::new_with_name(name)
            .mtu(nic.mtu)
            .arp(false)
            .multicast(false)
            .up()
    };
    handle
        .link()
        .set(change(output).build())
        .execute()
        .await
        .map_err(failed)?;
    handle
        .link()
        .set(change(input).address(nic.address.to_vec()).build())
        .execute()
        .await
        .map_err(failed)?;
    Ok(())
}

/// The kernel takes the larger of the device's and the `all` setting. Strict filtering would drop everything, since
/// routes point at the NIC; where the NIC is not filtered, neither is the device.
fn reverse_path_filter(nic: &Interface) -> io::Result<&'static str> {
    let value = |interface| sysctl::read("ipv4", interface, "rp_filter");
    let unfiltered = value("all")? == "0" && value(&nic.name)? == "0";
    Ok(if unfiltered { "0" } else { LOOSE })
}

/// A kernel without IPv6, or with it switched off, has no such settings.
fn without_ipv6(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

async fn find(handle: &Handle, name: &str) -> Option<LinkMessage> {
    let links = handle.link().get().match_name(name.to_owned()).execute();
    std::pin::pin!(links).try_next().await.ok().flatten()
}

async fn exists(handle: &Handle, name: &str) -> bool {
    find(handle, name).await.is_some()
}

async fn delete(handle: &Handle, name: &str) {
    if let Some(link) = find(handle, name).await
        && let Err(error) = handle.link().del(link.header.index).execute().await
    {
        tracing::warn!("cannot remove {name}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernels_limit() {
        let (output, input) = names(99_999, 63);
        assert!(output.len() <= 15 && input.len() <= 15, "{output} {input}");
        assert_eq!(interface_of(&output), Some(99_999));
        for other in ["eth0", "pc-rx3-0", "pc-tx3", "pc-txa-0", "pc-tx3-b"] {
            assert_eq!(interface_of(other), None, "{other}");
        }
    }
}
