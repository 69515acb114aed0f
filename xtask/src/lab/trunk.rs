//! A switch between the server's link and an access port: VLAN-tagged frames on the link are the server's own, without their
//! tags, and what it answers gets them back. For kernels without VLAN devices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::frame::{Mac, TAG_8021AD, TAG_8021Q};
use super::namespace::run;
use super::{Lab, PacketSocket};

/// The server's device behind the switch, and the other end of it.
pub(super) const ACCESS: &str = "access";
const PORT: &str = "port";
/// How often the threads look whether they shall end.
const LOOK: Duration = Duration::from_millis(50);
/// Hardware addresses in front of a frame.
const MACS: usize = 12;

/// A running switch. Dropping it ends its threads.
#[derive(Debug)]
pub struct Trunk {
    tags: Vec<(u16, u16)>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Trunk {
    /// Connects the server by frames with these tags, outermost first: ethertype and control field each.
    ///
    /// # Errors
    /// If the lab is gone, or has such a switch already.
    pub fn start(lab: &Lab, tags: &[(u16, u16)]) -> Result<Self> {
        let server = lab.server();
        let Some(mtu) = 1500_usize.checked_sub(4 * tags.len()) else {
            bail!("too many tags");
        };
        server.ip(&format!(
            "link add {ACCESS} mtu {mtu} type veth peer name {PORT} mtu {mtu}\nlink set {ACCESS} up\nlink set {PORT} up\n"
        ))?;
        for device in [ACCESS, PORT] {
            let offloads = [
                "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off",
            ];
            run(server.command("ethtool").args(offloads)).context("switching offloads off")?;
        }
        let own = server.mac(ACCESS)?;
        let link = || PacketSocket::open(server, "eth0");
        let port = || PacketSocket::open(server, PORT);
        let ended = Arc::new(AtomicBool::new(false));
        let inwards = {
            let (mut link, port, ended) = (link()?, port()?, Arc::clone(&ended));
            thread::spawn(move || {
                copy(&mut link, &port, &ended, |frame| {
                    frame.starts_with(&own).then(|| without_tags(frame))
                });
            })
        };
        let outwards = {
            let (link, mut port, ended, tags) = (link()?, port()?, Arc::clone(&ended), tags.to_vec());
            thread::spawn(move || {
                copy(&mut port, &link, &ended, |frame| {
                    is_from(frame, own).then(|| with_tags(frame, &tags))
                });
            })
        };
        Ok(Self {
            tags: tags.to_vec(),
            ended,
            threads: vec![inwards, outwards],
        })
    }

    /// The tags of its frames.
    #[must_use]
    pub fn tags(&self) -> &[(u16, u16)] {
        &self.tags
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to say, whatever became of it.
            let _ = thread.join();
        }
    }
}

/// Copies frames until the end; a socket that fails is that of a lab which is gone.
fn copy(
    from: &mut PacketSocket,
    to: &PacketSocket,
    ended: &AtomicBool,
    change: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    while !ended.load(Ordering::Relaxed) {
        match from.receive(Instant::now() + LOOK) {
            Ok(Some(frame)) => {
                if let Some(frame) = change(frame)
                    && to.send(&frame).is_err()
                {
                    return;
                }
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

fn is_from(frame: &[u8], mac: Mac) -> bool {
    frame.get(mac.len()..).is_some_and(|rest| rest.starts_with(&mac))
}

/// The kernel has taken the outermost tag off already.
fn without_tags(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    while let Some(&[high, low]) = bytes.get(MACS..).and_then(|rest| rest.first_chunk())
        && matches!(u16::from_be_bytes([high, low]), TAG_8021Q | TAG_8021AD)
        && bytes.len() >= MACS + 4
    {
        bytes.drain(MACS..MACS + 4);
    }
    bytes
}

fn with_tags(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = frame[..MACS].to_vec();
    for (kind, control) in tags {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(control.to_be_bytes());
    }
    bytes.extend(&frame[MACS..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_and_go() {
        let plain: Vec<u8> = (0..60).collect();
        for tags in [
            &[][..],
            &[(TAG_8021Q, 5)],
            &[(TAG_8021AD, 7), (TAG_8021Q, 0x6005)],
        ] {
            let tagged = with_tags(&plain, tags);
            assert_eq!(tagged.len(), plain.len() + 4 * tags.len());
            assert_eq!(without_tags(&tagged), plain);
        }
    }
}
