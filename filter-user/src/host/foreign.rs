//! XDP programs of others.

use rtnetlink::{
    Handle, LinkUnspec,
    packet_route::link::{LinkAttribute, LinkXdp},
};

use super::Interface;
use crate::bpf::XdpMode;

/// What the kernel takes for "no program".
const NONE: i32 = -1;
/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE`: which of its programs is meant.
const GENERIC: u32 = 1 << 1;
const NATIVE: u32 = 1 << 2;

/// Takes off the XDP program that was attached to an interface when it was looked at, as `ip link set dev NAME xdp off` does.
///
/// # Errors
///
/// What the kernel says: it refuses if the program is held by a link of a process that runs, or of a pin.
pub async fn take_off_program(interface: &Interface) -> Result<(), String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let result = take_off(&handle, interface).await;
    connection.abort();
    result.map_err(|error| error.to_string())
}

async fn take_off(handle: &Handle, interface: &Interface) -> Result<(), rtnetlink::Error> {
    let flags = match interface.xdp_mode {
        Some(XdpMode::Generic) => GENERIC,
        Some(XdpMode::Native) => NATIVE,
        None => return Ok(()),
    };
    let message = LinkUnspec::new_with_index(interface.index)
        .append_extra_attribute(LinkAttribute::Xdp(vec![LinkXdp::Fd(NONE), LinkXdp::Flags(flags)]))
        .build();
    handle.link().set(message).execute().await
}
