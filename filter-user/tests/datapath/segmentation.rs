//! However a request is cut up and whatever the order of its parts, the verdict is the same.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::lab::{RawTcp, frame::flag, http::Response, origin::End, wait::wait_until};

use crate::support::{
    SOON,
    engine::RunningEngine,
    site::{self, Site},
};

const BENIGN: &[u8] = b"GET /1k?q=the+union+may+select HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
const ATTACK: &[u8] = b"GET /1k?id=1'+UNION+SELECT+a+FROM+users-- HTTP/1.1\r\nHost: lab\r\n\r\n";
const BENIGN_FORM: &[u8] = b"POST /sink HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\
    Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 21\r\n\r\nname=O'Brien&q=select";
const ATTACK_FORM: &[u8] = b"POST /sink HTTP/1.1\r\nHost: lab\r\n\
    Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 38\r\n\r\nid=1'+UNION+SELECT+password+FROM+users";

/// Deterministic noise: xorshift64.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// How a request is cut up and ordered.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// One byte a segment, in order.
    Bytes,
    /// One byte a segment, last first.
    Reversed,
    /// Segments of 1 to 9 bytes in any order, some of them twice, some overlapping their neighbour.
    Shuffled(u64),
}

/// Segments as offsets and lengths.
fn cut(length: usize, how: Cut) -> Vec<(usize, usize)> {
    match how {
        Cut::Bytes => (0..length).map(|at| (at, 1)).collect(),
        Cut::Reversed => (0..length).rev().map(|at| (at, 1)).collect(),
        Cut::Shuffled(seed) => {
            let mut noise = Noise(seed);
            let mut segments = Vec::new();
            let mut at = 0;
            while at < length {
                let size = (1 + noise.below(9)).min(length - at);
                segments.push((at, size));
                if noise.below(4) == 0 {
                    segments.push((at, size));
                }
                if noise.below(4) == 0 {
                    segments.push((at, (size + 3).min(length - at)));
                }
                at += size;
            }
            noise.shuffle(&mut segments);
            segments
        }
    }
}

/// Sends the segments, and again from the first byte that was not acknowledged, as a client does.
fn deliver(client: &mut RawTcp, request: &[u8], how: Cut) -> Result<Response> {
    let mut segments = cut(request.len(), how);
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        let acknowledged = client.acknowledged() as usize;
        for (at, size) in segments.iter().filter(|(at, size)| at + size > acknowledged) {
            client.send_segment(*at as u32, &request[*at..at + size], flag::PSH)?;
        }
        let whole = |client: &RawTcp| client.end().is_some() || Response::parse(client.received()).is_some();
        if client.receive_until(Duration::from_millis(500), whole).is_ok() {
            return client.response(SOON);
        }
        segments.sort_unstable();
    }
    bail!("no answer: {} bytes acknowledged", client.acknowledged())
}

fn every_cut() -> impl Iterator<Item = Cut> {
    [Cut::Bytes, Cut::Reversed]
        .into_iter()
        .chain((1..=6).map(Cut::Shuffled))
}

fn same_verdict(server: SocketAddr, site: &Site, how: Cut) -> Result<()> {
    for (request, status) in [
        (BENIGN, 200),
        (ATTACK, 403),
        (BENIGN_FORM, 200),
        (ATTACK_FORM, 403),
    ] {
        let mut client = RawTcp::connect(&site.lab, server)?;
        let what = || format!("{how:?} of {:?} to {server}", String::from_utf8_lossy(request));
        let response = deliver(&mut client, request, how).with_context(what)?;
        ensure!(response.status == status, "{response:?} to {}", what());
        let Some(record) = (server.port() != 80)
            .then(|| site.origin.wait_for_end(client.local(), SOON))
            .transpose()
            .with_context(what)?
        else {
            continue;
        };
        if status == 200 {
            ensure!(record.bytes == request, "{record:?} of {}", what());
        } else {
            ensure!(record.requests.is_empty(), "{record:?} of {}", what());
            ensure!(request.starts_with(&record.bytes), "{record:?} of {}", what());
            ensure!(record.bytes.len() < request.len() && record.end == Some(End::Reset));
        }
    }
    Ok(())
}

#[test]
fn any_cut_in_any_order_gives_the_same_verdict() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = ["engine.on_failure=drop", "reputation.threshold=1000000"];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    for how in every_cut() {
        for server in site::nginx().into_iter().chain(site::origin()) {
            same_verdict(server, &site, how)?;
        }
    }
    let log = site.nginx.access_log()?;
    ensure!(
        log.iter()
            .filter(|entry| entry.complete)
            .all(|entry| !entry.request.contains("UNION")),
        "{log:#?}"
    );
    engine.stop()
}

/// Two versions of the same bytes, one of them an attack: what the server gets is what was scored.
#[test]
fn overlaps_with_other_bytes_are_dropped_and_counted() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop"])?;
    let good = b"GET /1k?id=1234567890123456789012 HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
    let evil = b"GET /1k?id=1'+UNION+SELECT+a+FROM HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
    for server in site::origin() {
        // While held: the part that came first counts.
        let conflicts = engine.dropped("overlap_conflict")?;
        let mut client = RawTcp::connect(&site.lab, server)?;
        client.send_segment(11, &good[11..], flag::PSH)?;
        client.send_segment(11, &evil[11..33], flag::PSH)?;
        wait_until("the overlap counted", SOON, || {
            engine
                .dropped("overlap_conflict")
                .is_ok_and(|now| now == conflicts + 1)
        })?;
        client.send_segment(0, &good[..11], flag::PSH)?;
        ensure!(client.response(SOON)?.status == 200);
        let record = site.origin.wait_for_end(client.local(), SOON)?;
        ensure!(record.bytes == good, "{record:?}");

        // After it was passed on: again what came first is what the server has.
        let mut client = RawTcp::connect(&site.lab, server)?;
        client.send_segment(0, &good[..33], flag::PSH)?;
        client.send_segment(11, &evil[11..33], flag::PSH)?;
        client.send_segment(33, &good[33..], flag::PSH)?;
        ensure!(client.response(SOON)?.status == 200);
        let record = site.origin.wait_for_end(client.local(), SOON)?;
        ensure!(record.bytes == good, "{record:?}");
    }
    engine.stop()
}

/// A segment that the server would ignore is not scored, so it cannot hide what follows.
#[test]
fn segments_with_a_wrong_checksum_are_dropped_not_scored() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop"])?;
    for server in site::origin() {
        let before = engine.dropped("bad_tcp_checksum")?;
        let mut client = RawTcp::connect(&site.lab, server)?;
        client.checksum = xtask::lab::frame::Checksum::Wrong;
        client.send_segment(
            0,
            b"POST /harmless HTTP/1.1\r\nHost: lab\r\nContent-Length: 999\r\n\r\n",
            flag::PSH,
        )?;
        wait_until("the segment dropped", SOON, || {
            engine
                .dropped("bad_tcp_checksum")
                .is_ok_and(|now| now == before + 1)
        })?;
        client.checksum = xtask::lab::frame::Checksum::Valid;
        client.send_segment(0, ATTACK, flag::PSH)?;
        ensure!(client.response(SOON)?.status == 403);
        let record = site.origin.wait_for_end(client.local(), SOON)?;
        ensure!(record.bytes.is_empty(), "{record:?}");
    }
    engine.stop()
}
