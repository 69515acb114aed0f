//! The lab itself: without it working, nothing that other tests say in it counts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::lab::frame::{Checksum, flag};
use xtask::lab::namespace::output_of;
use xtask::lab::origin::{self, Origin};
use xtask::lab::raw_tcp::{End, RawTcp};
use xtask::lab::wait::{wait_for, wait_until};
use xtask::lab::{Lab, Nginx, Offload, Options, address, nginx};

const SOON: Duration = Duration::from_secs(10);

fn servers(port: u16) -> [SocketAddr; 2] {
    [IpAddr::from(address::SERVER_V4), address::SERVER_V6.into()].map(|ip| SocketAddr::new(ip, port))
}

/// What curl prints for a path of the server, for each address family.
fn curl(lab: &Lab, server: SocketAddr, path: &str, arguments: &[&str]) -> Result<String> {
    let url = format!("http://{server}{path}");
    output_of(
        lab.client()
            .command("curl")
            .args(["-sS", "--globoff", "--max-time", "20"])
            .args(arguments)
            .arg(url),
    )
}

#[test]
fn both_families_are_forwarded() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options {
        queues: 4,
        ..Options::default()
    }) else {
        return Ok(());
    };
    for server in servers(80) {
        let ping = ["-c", "1", "-W", "5", &server.ip().to_string()].map(str::to_owned);
        output_of(lab.client().command("ping").args(ping))?;
    }
    let queues = output_of(lab.gateway().command("ethtool").args(["-l", "outside"]))?;
    ensure!(
        queues.matches("RX:\t\t4").count() == 2,
        "four queues possible and in use: {queues}"
    );
    Ok(())
}

#[test]
fn nginx_serves_and_logs() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options::default()) else {
        return Ok(());
    };
    let nginx = Nginx::start(&lab)?;
    let body = lab.directory().join("body");
    std::fs::write(&body, nginx::document(10 << 20))?;
    let upload = format!("@{}", body.display());
    for server in servers(address::NGINX_PORT) {
        for (path, length) in nginx::DOCUMENTS {
            let text = curl(&lab, server, path, &[])?;
            ensure!(
                text.as_bytes() == nginx::document(length),
                "{path} from {server} differs"
            );
        }
        for coding in ["Expect:", "Transfer-Encoding: chunked"] {
            let answer = curl(
                &lab,
                server,
                nginx::SINK,
                &["-H", coding, "--data-binary", &upload],
            )?;
            ensure!(answer.trim() == (10 << 20).to_string(), "{coding}: {answer}");
        }
    }
    // Every document and two uploads, of each family.
    let requests = nginx::DOCUMENTS.len() + 2;
    let log = wait_for("every request in the access log", SOON, || {
        nginx.access_log().ok().filter(|log| log.len() == 2 * requests)
    })?;
    ensure!(
        log.iter().all(|entry| entry.complete && entry.status == 200),
        "{log:?}"
    );
    ensure!(
        log.iter()
            .filter(|entry| entry.remote_address == "fd71::2")
            .count()
            == requests,
        "{log:?}"
    );
    Ok(())
}

#[test]
fn a_request_cut_off_is_logged_as_incomplete() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options::default()) else {
        return Ok(());
    };
    let nginx = Nginx::start(&lab)?;
    let mut client = RawTcp::connect(&lab, servers(address::NGINX_PORT)[0])?;
    client.send(b"POST /sink HTTP/1.1\r\nHost: lab\r\nContent-Length: 100\r\n\r\nonly this")?;
    client.receive_until(SOON, |client| client.acknowledged() > 60)?;
    client.reset()?;
    let entry = wait_for("the line of the request", SOON, || nginx.access_log().ok()?.pop())?;
    ensure!(!entry.complete, "{entry:?}");
    Ok(())
}

#[test]
fn the_origin_records_bytes_requests_and_ends() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options::default()) else {
        return Ok(());
    };
    let origin = Origin::start(&lab, address::ORIGIN_PORT)?;
    for server in servers(address::ORIGIN_PORT) {
        let answer = curl(&lab, server, "/a", &["--data", "hello"])?;
        ensure!(
            answer == format!("5 {:016x}\n", origin::digest(b"hello")),
            "{answer}"
        );
    }
    ensure!(origin.complete_requests().len() == 2);

    let mut cut = RawTcp::connect(&lab, servers(address::ORIGIN_PORT)[0])?;
    cut.send(b"GET /cut HTTP/1.1\r\nHost:")?;
    cut.receive_until(SOON, |client| client.acknowledged() == 24)?;
    cut.reset()?;
    let record = origin.wait_for_end(cut.local(), SOON)?;
    ensure!(
        record.end == Some(origin::End::Reset) && record.requests.is_empty(),
        "{record:?}"
    );
    ensure!(record.bytes == b"GET /cut HTTP/1.1\r\nHost:", "{record:?}");

    let mut whole = RawTcp::connect(&lab, servers(address::ORIGIN_PORT)[1])?;
    whole.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")?;
    for _ in 0..2 {
        ensure!(whole.response(SOON)?.status == 200);
    }
    whole.close()?;
    let record = origin.wait_for_end(whole.local(), SOON)?;
    let lines: Vec<_> = record
        .requests
        .iter()
        .map(|request| request.line.as_str())
        .collect();
    ensure!(lines == ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"] && record.end == Some(origin::End::Fin));
    Ok(())
}

/// One byte a segment, last first, over both families, whatever fills in the server's checksums.
#[test]
fn a_raw_client_gets_its_page_for_segments_in_any_order() -> Result<()> {
    for offload in [Offload::On, Offload::Off] {
        let options = Options {
            server_offload: offload,
            gateway_offload: offload,
            ..Options::default()
        };
        let Some(lab) = Lab::for_test(&options) else {
            return Ok(());
        };
        let _nginx = Nginx::start(&lab)?;
        let request = b"GET /1k HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
        for server in servers(address::NGINX_PORT) {
            let mut client = RawTcp::connect(&lab, server)?;
            for offset in (0..request.len()).rev() {
                client.send_segment(offset as u32, &request[offset..=offset], flag::PSH)?;
            }
            let response = client.response(SOON).context("one byte a segment")?;
            ensure!((response.status, response.body) == (200, nginx::document(1000)));
            ensure!(client.wait_for_end(SOON)? == End::Fin);
        }
    }
    Ok(())
}

#[test]
fn segments_with_wrong_sums_do_not_arrive() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options::default()) else {
        return Ok(());
    };
    let origin = Origin::start(&lab, address::ORIGIN_PORT)?;
    for server in servers(address::ORIGIN_PORT) {
        let mut client = RawTcp::connect(&lab, server)?;
        for (checksum, byte) in [
            (Checksum::Wrong, b"w"),
            (Checksum::PseudoHeader, b"p"),
            (Checksum::Valid, b"v"),
        ] {
            client.checksum = checksum;
            client.send_segment(0, byte, flag::PSH)?;
        }
        client.receive_until(SOON, |client| client.acknowledged() == 1)?;
        client.close()?;
        ensure!(origin.wait_for_end(client.local(), SOON)?.bytes == b"v");
    }
    Ok(())
}

#[test]
fn a_raw_client_receives_a_long_answer_whole() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options::default()) else {
        return Ok(());
    };
    let _nginx = Nginx::start(&lab)?;
    let mut client = RawTcp::connect(&lab, servers(address::NGINX_PORT)[1])?;
    client.send(b"GET /10m HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    ensure!(client.response(Duration::from_mins(1))?.body == nginx::document(10_000_000));
    Ok(())
}

#[test]
fn labs_do_not_meet_and_leave_nothing() -> Result<()> {
    let names = {
        let Some(first) = Lab::for_test(&Options::default()) else {
            return Ok(());
        };
        let second = Lab::start(&Options::default())?;
        ensure!(first.name() != second.name());
        let _nginx = Nginx::start(&first)?;
        curl(&first, servers(address::NGINX_PORT)[0], "/1k", &[])?;
        ensure!(
            curl(&second, servers(address::NGINX_PORT)[0], "/1k", &[]).is_err(),
            "the second lab has no nginx"
        );
        for (lab, file) in [(&first, "one"), (&second, "two")] {
            // Each sees only its own below the shared path, from commands and from closures.
            let path = format!("/run/portcullis/{file}");
            output_of(lab.gateway().command("touch").arg(&path))?;
            let listed = lab
                .client()
                .enter(|| std::fs::read_dir("/run/portcullis").map(Iterator::count))??;
            ensure!(listed == 1, "{file}: {listed}");
            ensure!(!std::path::Path::new(&path).exists(), "{path} is on the host");
            let kind = output_of(
                lab.gateway()
                    .command("stat")
                    .args(["-f", "-c", "%T", "/sys/fs/bpf"]),
            )?;
            ensure!(kind.trim() == "bpf_fs", "{kind}");
        }
        [first.name().to_owned(), second.name().to_owned()]
    };
    for name in names {
        wait_until("the namespaces being gone", SOON, || !Lab::is_up(&name))?;
        let left = output_of(std::process::Command::new("ip").args(["netns", "list"]))?;
        ensure!(!left.contains(&format!("{name}-")), "{left}");
        ensure!(!xtask::lab::lifetime::directory(&name).exists());
    }
    Ok(())
}

#[test]
fn a_panic_removes_the_lab() -> Result<()> {
    let Some(lab) = Lab::for_test(&Options::default()) else {
        return Ok(());
    };
    let name = lab.name().to_owned();
    let panic = std::thread::spawn(move || {
        let _lab = lab;
        panic!("on purpose");
    });
    ensure!(panic.join().is_err());
    ensure!(!Lab::is_up(&name));
    Ok(())
}

#[test]
fn a_killed_owner_leaves_a_lab_that_is_swept() -> Result<()> {
    if Lab::for_test(&Options::default()).is_none() {
        return Ok(());
    }
    let mut owner = std::process::Command::new("sleep").arg("1000").spawn()?;
    let namespace = format!("pcl-{}-0-gateway", owner.id());
    output_of(std::process::Command::new("ip").args(["netns", "add", &namespace]))?;
    let mut left = std::process::Command::new("ip")
        .args(["netns", "exec", &namespace, "sleep", "1000"])
        .spawn()?;
    let listed = || output_of(std::process::Command::new("ip").args(["netns", "pids", &namespace]));
    wait_until("the process being inside", SOON, || {
        listed().is_ok_and(|pids| !pids.is_empty())
    })?;
    xtask::lab::sweep();
    ensure!(
        xtask::lab::namespace::path(&namespace).exists(),
        "its owner is still there"
    );
    owner.kill()?;
    owner.wait()?;
    xtask::lab::sweep();
    ensure!(!xtask::lab::namespace::path(&namespace).exists());
    let ended = wait_for("the process ending", SOON, || left.try_wait().ok().flatten())?;
    ensure!(!ended.success());
    Ok(())
}
