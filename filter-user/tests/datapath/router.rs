//! What only a router shows: a hop of its own on the way, and frames that a stack makes anew.

use anyhow::Result;
use xtask::lab::{Options, frame::flag};

use crate::{
    evasion::{play, send},
    forwarding::everything_passes,
    support::modes::in_both_modes,
};

#[test]
fn hop_limit_that_ends_before_the_server() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        let mut frame = client.frame(client.segment(0, decoy, flag::PSH));
        frame.ttl = 1;
        client.send_frame(&frame)?;
        send(client, request)
    })
}

#[test]
fn end_that_never_arrives() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        client.send_segment(0, &request[..20], flag::PSH)?;
        let mut frame = client.frame(client.segment(20, &decoy[20..], flag::PSH | flag::FIN));
        frame.ttl = 1;
        client.send_frame(&frame)?;
        client.send_segment(20, &request[20..], flag::PSH)
    })
}

/// With the client's checksums the cutting of its segments is left to hardware, too: in generic mode they arrive whole.
fn checksums_left_to_hardware(mode: &str) -> Result<()> {
    everything_passes(&Options::default(), &[mode])
}

in_both_modes!(checksums_left_to_hardware);
