//! Who the client of a request is, where a proxy stands in front of the service.

use std::{net::IpAddr, sync::Arc};

use filter_common::{FlowState, block::Block};
use filter_score::{Exclusion, Policies, Policy, Tuning};
use filter_user::{
    client::{BlockedClients, ClientCount, Clients},
    config::Config,
    engine::{Command, EngineDrop, Event},
    tuning::ServiceNumbers,
};

use crate::{
    client::Client,
    requests::{ATTACKS, GET},
    site::{SECOND_NS, Site, TICK_NS, rules},
};

const ATTACK: &[u8] = ATTACKS[0].1;
/// 10.71.0.2, the clients' address, is a proxy.
const TRUSTED: &str = "[clients]\ntrusted_proxies = [\"10.71.0.0/24\", \"fd71::/16\"]\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\0\x50";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn clients(text: &str) -> (Config, Arc<Clients>) {
    let config = Config::parse("test", text, None, &[]).unwrap_or_else(|error| panic!("{error}"));
    let clients = Arc::new(Clients::new(&config, &config.services()));
    (config, clients)
}

/// A site with this configuration of services and clients.
fn site(text: &str) -> Site {
    let (config, clients) = clients(text);
    let mut site = Site::new();
    let services = ServiceNumbers::new(&config.services());
    site.worker = site.worker.serving(services).knowing(clients);
    site
}

fn service(proxy_protocol: &str) -> String {
    format!("{TRUSTED}[[service]]\nport = 80\nproxy_protocol = \"{proxy_protocol}\"\n")
}

fn count(site: &mut Site, what: ClientCount) -> u64 {
    site.counters().clients[what as usize]
}

fn last_event(site: &Site) -> Event {
    site.events.try_iter().last().expect("a decision is reported")
}

#[test]
fn a_proxy_header_names_the_client_and_goes_on_as_it_came() {
    for (header, client) in [(V1, "192.0.2.7"), (V2, "2001:db8::7")] {
        for mode in ["accept", "require"] {
            for size in [1, 7, 400] {
                let mut site = site(&service(mode));
                let proxy = Client::v4(40_000);
                site.open(&proxy);
                let stream = [header, GET, GET].concat();
                let mut at = 0;
                for piece in stream.chunks(size) {
                    site.send(proxy.data(at, piece));
                    at += piece.len();
                }
                assert_eq!(site.server(&proxy).bytes, stream);
                let seen: Vec<_> = site.events.try_iter().map(|event| event.client).collect();
                assert_eq!(seen, [address(client); 2], "{mode}, {size} bytes a segment");
                assert_eq!(count(&mut site, ClientCount::ProxyHeader), 1);
                assert_eq!(site.counters().requests, [2, 0, 0]);
                site.send(proxy.data(at, ATTACK));
                assert_eq!(site.dropped(EngineDrop::Attack), 1);
                assert_eq!(last_event(&site).client, address(client));
            }
        }
    }
}

#[test]
fn connections_of_the_proxy_itself_are_its_own() {
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut site = site(&service("require"));
        let proxy = Client::v4(40_000);
        site.open(&proxy);
        site.send(proxy.data(0, &[header, GET].concat()));
        assert_eq!(last_event(&site).client, proxy.source);
        assert_eq!(count(&mut site, ClientCount::ProxyOwn), 1);
    }
}

#[test]
fn without_a_header_a_connection_is_as_ever_if_none_is_required() {
    // `P` may be the beginning of a header: it is not lost when it is none.
    for (cut, request) in [(0, GET), (1, crate::requests::POST), (3, crate::requests::POST)] {
        let mut site = site(&service("accept"));
        let proxy = Client::v4(40_000);
        site.open(&proxy);
        if cut > 0 {
            site.send(proxy.data(0, &request[..cut]));
        }
        site.send(proxy.data(cut, &request[cut..]));
        assert_eq!(site.server(&proxy).bytes, request);
        assert_eq!(site.counters().requests, [1, 0, 0]);
        assert_eq!(last_event(&site).client, proxy.source);
        assert_eq!(count(&mut site, ClientCount::HeaderMissing), 1);
        assert_eq!(site.counters().clients.iter().sum::<u64>(), 1);
    }
}

#[test]
fn headers_that_should_not_be_are_violations() {
    let stranger = Client {
        source: [10, 70, 0, 2].into(),
        ..Client::v4(40_001)
    };
    let proxy = Client::v4(40_000);
    for (client, mode, stream, what) in [
        (
            &proxy,
            "accept",
            &b"PROXY TCP4 nobody\r\n"[..],
            ClientCount::ProxyMalformed,
        ),
        (
            &proxy,
            "require",
            b"PROXY / HTTP/1.1\r\n\r\n",
            ClientCount::ProxyMalformed,
        ),
        (&proxy, "require", GET, ClientCount::ProxyMissing),
        (&stranger, "accept", V1, ClientCount::ProxyUntrusted),
        (&stranger, "accept", V2, ClientCount::ProxyUntrusted),
        (&stranger, "require", V1, ClientCount::ProxyUntrusted),
        (&stranger, "require", GET, ClientCount::ProxyMissing),
    ] {
        for size in [1, 1400] {
            let mut site = site(&service(mode));
            site.open(client);
            for (at, piece) in stream.chunks(size).enumerate() {
                site.send(client.data(at * size, piece));
            }
            assert_eq!(count(&mut site, what), 1, "{mode} {}", stream.escape_ascii());
            assert_eq!(site.dropped(EngineDrop::Attack), 1);
            assert_eq!(site.counters().malformed, 1);
            let event = last_event(&site);
            assert_eq!(event.client, client.source);
            assert!(
                event.decision.explanation.contains("900100"),
                "{}",
                event.decision.explanation
            );
            assert!(site.server(client).bytes.len() < stream.len());
        }
    }
    // Where no header is expected, it is scored as any other bytes.
    for header in [V1, V2] {
        let mut site = site(&service("off"));
        site.open(&proxy);
        site.send(proxy.data(0, &[header, GET].concat()));
        assert_eq!(site.counters().clients, [0; ClientCount::ALL.len()]);
        assert_ne!(site.counters().requests, [1, 0, 0]);
    }
}

#[test]
fn a_reload_changes_whom_new_connections_believe() {
    let mut site = site(&service("accept"));
    let proxy = Client::v4(40_000);
    let distrusting = service("accept").replace("10.71.0.0/24", "10.79.0.0/24");
    let (_, clients) = clients(&distrusting);
    site.commands
        .send(Command::Clients(clients))
        .expect("the loop listens");
    site.advance(TICK_NS);
    site.open(&proxy);
    site.send(proxy.data(0, V1));
    assert_eq!(count(&mut site, ClientCount::ProxyUntrusted), 1);
}

/// Requests with this header line, and what the site makes of it.
fn with_line(line: &str, request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).expect("text");
    text.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1)
        .into_bytes()
}

fn plain(header: &str) -> String {
    format!("{TRUSTED}client_header = \"{header}\"\n[[service]]\nport = 80\n")
}

#[test]
fn each_request_of_a_connection_has_its_own_client() {
    for size in [1, 20, 1400] {
        let mut site = site(&plain("x-forwarded-for"));
        let proxy = Client::v4(40_000);
        site.open(&proxy);
        let stream = [
            with_line("X-Forwarded-For: 192.0.2.9, 192.0.2.7", GET),
            with_line("X-Forwarded-For: 192.0.2.8, 10.71.0.9", GET),
            with_line("X-Forwarded-For: nobody", GET),
            with_line("X-Forwarded-For: unknown", GET),
            GET.to_vec(),
        ]
        .concat();
        for (number, piece) in stream.chunks(size).enumerate() {
            site.send(proxy.data(number * size, piece));
        }
        assert_eq!(site.server(&proxy).bytes, stream);
        let seen: Vec<_> = site
            .events
            .try_iter()
            .map(|event| event.client.to_string())
            .collect();
        assert_eq!(
            seen,
            ["192.0.2.7", "192.0.2.8", "10.71.0.2", "10.71.0.2", "10.71.0.2"]
        );
        for (what, times) in [
            (ClientCount::HeaderNamed, 2),
            (ClientCount::HeaderMalformed, 1),
            (ClientCount::HeaderHidden, 1),
            (ClientCount::HeaderMissing, 1),
        ] {
            assert_eq!(count(&mut site, what), times);
        }
        site.send(proxy.data(stream.len(), &with_line("X-Forwarded-For: 192.0.2.7", ATTACK)));
        assert_eq!(last_event(&site).client, address("192.0.2.7"));
        assert_eq!(site.dropped(EngineDrop::Attack), 1);
        assert!(site.server(&proxy).bytes.len() <= stream.len());
    }
}

#[test]
fn headers_of_strangers_say_nothing() {
    let mut site = site(&plain("x-real-ip"));
    let stranger = Client {
        source: [10, 70, 0, 2].into(),
        ..Client::v4(40_001)
    };
    site.open(&stranger);
    site.send(stranger.data(0, &with_line("X-Real-IP: 192.0.2.7", GET)));
    assert_eq!(last_event(&site).client, stranger.source);
    assert_eq!(site.counters().clients, [0; ClientCount::ALL.len()]);
    // Trusted by a reload, its next request on the same connection is believed.
    let text = plain("x-real-ip").replace("10.71.0.0/24", "10.70.0.0/24");
    let (_, clients) = clients(&text);
    site.commands
        .send(Command::Clients(clients))
        .expect("the loop listens");
    site.advance(TICK_NS);
    let at = with_line("X-Real-IP: 192.0.2.7", GET).len();
    site.send(stranger.data(at, &with_line("X-Real-IP: 192.0.2.7", GET)));
    assert_eq!(last_event(&site).client, address("192.0.2.7"));
}

#[test]
fn a_header_counts_if_the_hop_that_a_proxy_header_names_is_trusted() {
    for (source, client) in [("10.71.0.77", "192.0.2.8"), ("192.0.2.7", "192.0.2.7")] {
        let mut site = site(&service("require"));
        let balancer = Client::v4(40_000);
        site.open(&balancer);
        let header = format!("PROXY TCP4 {source} 198.51.100.1 56324 80\r\n");
        let request = with_line("X-Forwarded-For: 192.0.2.8", GET);
        site.send(balancer.data(0, &[header.as_bytes(), &request].concat()));
        assert_eq!(last_event(&site).client, address(client));
    }
}

#[test]
fn exclusions_by_source_are_about_the_client() {
    let excluded = Tuning {
        exclusions: vec![Exclusion {
            reason: "our own scanner".into(),
            sources: vec!["192.0.2.7/32".parse().expect("a block")],
            ..Exclusion::default()
        }],
        ..Policy::default().into()
    };
    for (client, verdicts) in [("192.0.2.7", [1, 0, 0]), ("192.0.2.8", [0, 0, 1])] {
        for size in [30, 1400] {
            let mut site = site(&plain("forwarded"));
            let policies = Policies::compile(rules(), &excluded, &[]).expect("right");
            site.commands
                .send(Command::Policies(Arc::new(policies)))
                .expect("the loop listens");
            site.advance(TICK_NS);
            let proxy = Client::v6(40_000);
            site.open(&proxy);
            let request = with_line(&format!("Forwarded: for={client};proto=http"), ATTACK);
            for (number, piece) in request.chunks(size).enumerate() {
                site.send(proxy.data(number * size, piece));
            }
            assert_eq!(
                site.counters().requests,
                verdicts,
                "{client}, {size} bytes a segment"
            );
        }
    }
}

/// Which clients are blocked, for a while.
fn block(site: &mut Site, blocks: &[(&str, u64)]) {
    let net = |text: &str| filter_user::config::parse_cidr(text).expect("a block");
    let blocks = blocks.iter().map(|(text, until_ns)| {
        let block = Block {
            until_ns: *until_ns,
            ..Block::default()
        };
        (net(text), block)
    });
    let blocked = Arc::new(BlockedClients::new(blocks, []));
    site.commands
        .send(Command::Blocked(blocked))
        .expect("the loop listens");
    site.advance(TICK_NS);
}

#[test]
fn a_blocked_client_is_refused_behind_a_proxy_and_others_are_not() {
    for (header, config) in [("", plain("x-forwarded-for")), ("PROXY", service("require"))] {
        for cached in [false, true] {
            let mut site = site(&config);
            let now = site.now();
            block(&mut site, &[("192.0.2.7", now + SECOND_NS), ("2001:db8::/64", 0)]);
            let request = |client: &str| {
                if header.is_empty() {
                    return with_line(&format!("X-Forwarded-For: {client}"), GET);
                }
                let family = if client.contains(':') { "6" } else { "4" };
                let server = if family == "6" { "::1" } else { "127.0.0.1" };
                [
                    format!("PROXY TCP{family} {client} {server} 1 80\r\n").as_bytes(),
                    GET,
                ]
                .concat()
            };
            let mut port = 40_000;
            let mut visit = |site: &mut Site, client: &str| {
                port += 1;
                let proxy = Client::v4(port);
                site.open(&proxy);
                let request = request(client);
                let (head, rest) = request.split_at(if cached { 0 } else { request.len() - 3 });
                if !head.is_empty() {
                    site.send(proxy.data(0, head));
                }
                let answers = site.answers.len();
                site.send(proxy.data(head.len(), rest));
                let served = site.answers.len() == answers;
                let map = site.worker.maps_mut().flows.get(&proxy.key()).copied();
                assert_eq!(
                    map.is_some_and(|flow| flow.path == FlowState::PATH_BLOCK),
                    !served
                );
                if !served {
                    let page = site.answers[answers].tcp().expect("TCP").payload.clone();
                    assert!(page.starts_with(b"HTTP/1.1 403 "));
                }
                served
            };
            assert!(visit(&mut site, "192.0.2.8"));
            assert!(!visit(&mut site, "192.0.2.7"));
            assert!(!visit(&mut site, "2001:db8::abcd"));
            assert!(visit(&mut site, "2001:db8:0:1::1"));
            assert_eq!(
                site.counters().requests,
                [2, 0, 0],
                "those that are refused are not judged"
            );
            assert_eq!(count(&mut site, ClientCount::Blocked), 2);
            assert_eq!(site.dropped(EngineDrop::ClientBlocked), 2);
            site.advance(SECOND_NS);
            assert!(visit(&mut site, "192.0.2.7"), "its time is over");
            // The proxy itself, and everybody who comes directly, is the XDP program's business.
            block(&mut site, &[("10.71.0.2", 0)]);
            assert!(visit(&mut site, "192.0.2.8"));
        }
    }
}
