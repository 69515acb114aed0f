//! Limits: how many requests of a kind a client may send.

use std::sync::Arc;

use filter_score::Policy;
use filter_user::{
    client::{ClientCount, Clients},
    config::{Config, FailurePolicy},
    engine::{Command, EngineDrop},
    limit::Counts,
    tuning::{ServiceNumbers, Tuned},
};

use crate::{
    client::Client,
    requests::GET,
    site::{SECOND_NS, Site, TICK_NS, config},
};

const LOGIN: &[u8] = b"POST /a/../login HTTP/1.1\r\nHost: shop.example\r\n\
Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nuser=jane";
const INDEX: &[u8] = GET;

/// Two requests a minute.
fn limit(more: &str) -> String {
    format!("[[limit]]\nname = \"login\"\nrequests = 2\nwindow_s = 60\n{more}\n")
}

fn apply(site: &mut Site, text: &str) {
    let settings = Config::parse("test", text, None, &[]).unwrap_or_else(|error| panic!("{error}"));
    let clients = Arc::new(Clients::new(&settings, &settings.services()));
    let general = settings.tuning(&settings.scoring);
    let policies = filter_score::Policies::compile(crate::site::rules(), &general, &[]).expect("right");
    let policies = Arc::new(policies.noting_heads(!settings.limit.is_empty()));
    for command in [Command::Policies(policies), Command::Clients(clients)] {
        site.commands.send(command).expect("the loop listens");
    }
    site.advance(TICK_NS);
}

fn site_counting(text: &str, counts: &Arc<Counts>, cache: usize) -> Site {
    let mut site = Site::cached(config(FailurePolicy::Drop), Policy::default(), cache);
    let settings = Config::parse("test", text, None, &[]).unwrap_or_else(|error| panic!("{error}"));
    let services = ServiceNumbers::new(&settings.services());
    site.worker = site.worker.serving(services).counting(Arc::clone(counts));
    apply(&mut site, text);
    site
}

fn site(text: &str) -> Site {
    site_counting(text, &Arc::new(Counts::new(64)), 0)
}

/// A request on a connection of its own: what the client got, if not the server's answer.
fn visit(site: &mut Site, client: &Client, request: &[u8]) -> Option<String> {
    site.open(client);
    let answers = site.answers.len();
    site.send(client.data(0, request));
    let pages = &site.answers[answers..];
    let bytes: Vec<_> = pages
        .iter()
        .flat_map(|page| page.tcp().expect("TCP").payload.clone())
        .collect();
    if bytes.is_empty() {
        assert_eq!(site.server(client).bytes, request, "it has arrived whole");
        return None;
    }
    assert_eq!(site.server(client).bytes, b"", "nothing of it has arrived");
    assert!(site.server(client).reset.is_some());
    Some(String::from_utf8(bytes).expect("text"))
}

fn from(host: u8, port: u16) -> Client {
    Client {
        source: [10, 71, 1, host].into(),
        ..Client::v4(port)
    }
}

fn count(site: &mut Site, what: ClientCount) -> u64 {
    site.counters().clients[what as usize]
}

#[test]
fn one_too_many_gets_a_429_and_others_do_not() {
    let mut site = site(&limit("methods = [\"POST\"]\npaths = [\"/login\"]"));
    for port in 1..3 {
        assert_eq!(visit(&mut site, &from(1, port), LOGIN), None);
    }
    let page = visit(&mut site, &from(1, 3), LOGIN).expect("a page");
    assert!(page.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{page}");
    let event = site.events.try_iter().last().expect("it is reported");
    assert!(
        event
            .decision
            .explanation
            .contains("limit login: more than 2 requests in 60 s")
    );
    assert!(page.contains(&format!("X-Request-Id: {:016x}\r\n", event.request_id)));
    let head = page.split("\r\n\r\n").next().expect("a head");
    let retry: u64 = head
        .split("Retry-After: ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("a line")
        .parse()
        .expect("a number");
    // Other requests, and other clients, are not counted with it.
    assert_eq!(visit(&mut site, &from(1, 4), INDEX), None);
    assert_eq!(visit(&mut site, &from(2, 5), LOGIN), None);
    assert_eq!(count(&mut site, ClientCount::TooMany), 1);
    assert_eq!(site.dropped(EngineDrop::Limited), 1);
    assert_eq!(site.counters().requests, [4, 0, 0]);
    site.advance((retry - 1) * SECOND_NS - SECOND_NS);
    assert!(visit(&mut site, &from(1, 6), LOGIN).is_some(), "too early");
    site.advance(2 * SECOND_NS);
    assert_eq!(visit(&mut site, &from(1, 7), LOGIN), None);
}

#[test]
fn in_any_segmentation_the_packet_that_completes_the_head_is_the_one_dropped() {
    let head = LOGIN.len() - b"user=jane".len();
    for size in [1, 13, 100] {
        let mut site = site(&limit("paths = [\"/login\"]").replace("requests = 2", "requests = 1"));
        assert_eq!(visit(&mut site, &from(1, 1), LOGIN), None);
        let client = from(1, 2);
        site.open(&client);
        for (number, piece) in LOGIN.chunks(size).enumerate() {
            site.send(client.data(number * size, piece));
        }
        assert_eq!(site.server(&client).bytes, &LOGIN[..(head - 1) / size * size]);
        assert_eq!(count(&mut site, ClientCount::TooMany), 1);
    }
}

#[test]
fn requests_that_the_cache_knows_count_too() {
    let mut site = site_counting(&limit("paths = [\"*.html\"]"), &Arc::new(Counts::new(64)), 64);
    assert_eq!(visit(&mut site, &from(1, 1), INDEX), None);
    assert_eq!(visit(&mut site, &from(2, 2), INDEX), None);
    assert_eq!(visit(&mut site, &from(1, 3), INDEX), None);
    assert_eq!(site.counters().cached, 2);
    assert!(visit(&mut site, &from(1, 4), INDEX).is_some());
}

#[test]
fn an_ipv6_network_and_a_client_behind_a_proxy_are_one_client() {
    let trusting = "[clients]\ntrusted_proxies = [\"10.71.0.2\"]\n";
    let mut site = site(&format!("{trusting}{}", limit("")));
    for (host, port) in [(1, 1), (2, 2)] {
        let mut client = Client::v6(port);
        client.source = [0x2001, 0xdb8, 0, 7, 0, 0, 0, host].into();
        assert_eq!(visit(&mut site, &client, INDEX), None);
    }
    let behind = |address: &str| {
        let text = String::from_utf8(INDEX.to_vec()).expect("text");
        text.replacen("\r\n\r\n", &format!("\r\nX-Forwarded-For: {address}\r\n\r\n"), 1)
            .into_bytes()
    };
    let proxy = Client::v4;
    assert!(visit(&mut site, &proxy(3), &behind("2001:db8:0:7::99")).is_some());
    assert_eq!(visit(&mut site, &proxy(4), &behind("2001:db8:0:8::99")), None);
    // What the proxy does not attribute is not limited.
    for port in 5..9 {
        assert_eq!(visit(&mut site, &proxy(port), INDEX), None);
    }
}

#[test]
fn a_limit_blocks_or_logs_if_it_says_so() {
    let mut site = site(&limit("action = \"block\""));
    for port in 1..3 {
        assert_eq!(visit(&mut site, &from(1, port), INDEX), None);
    }
    site.events.try_iter().for_each(drop);
    for port in 3..6 {
        let page = visit(&mut site, &from(1, port), INDEX).expect("a page");
        assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
    }
    let offences: Vec<_> = site
        .events
        .try_iter()
        .map(|event| (event.decision.decision, event.client))
        .collect();
    assert_eq!(
        offences,
        [(filter_score::Verdict::Block, from(1, 3).source); 3],
        "each is an offence"
    );
    assert_eq!(count(&mut site, ClientCount::LimitBlocked), 3);

    for (text, detect) in [
        (limit("action = \"log\""), false),
        (limit("action = \"block\""), true),
    ] {
        let mode = if detect {
            "[scoring]\nmode = \"detect\"\n"
        } else {
            ""
        };
        let mut site = self::site(&format!("{mode}{text}"));
        for port in 1..7 {
            assert_eq!(visit(&mut site, &from(1, port), INDEX), None);
        }
        assert_eq!(count(&mut site, ClientCount::LimitLogged), 4);
        let told = site
            .events
            .try_iter()
            .filter(|event| event.decision.explanation.contains("limit login"));
        assert_eq!(told.count(), 1, "once a window");
    }
}

#[test]
fn queues_share_the_counts_and_a_reload_keeps_them() {
    let counts = Arc::new(Counts::new(64));
    let text = limit("");
    let mut queues = [site_counting(&text, &counts, 0), site_counting(&text, &counts, 0)];
    for (port, site) in queues.iter_mut().enumerate() {
        assert_eq!(visit(site, &from(1, port as u16 + 1), INDEX), None);
    }
    for site in &mut queues {
        assert!(visit(site, &from(1, 9), INDEX).is_some());
        apply(site, &format!("{text}action = \"block\"\n"));
        let page = visit(site, &from(1, 10), INDEX).expect("a page");
        assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
        apply(site, "");
        assert_eq!(visit(site, &from(1, 11), INDEX), None);
    }
}

#[test]
fn at_the_bound_the_oldest_count_goes_and_that_is_counted() {
    let mut site = site_counting(&limit(""), &Arc::new(Counts::new(1)), 0);
    for host in 1..=10 {
        assert_eq!(visit(&mut site, &from(host, u16::from(host)), INDEX), None);
    }
    assert_eq!(count(&mut site, ClientCount::CountEvicted), 2);
}

#[test]
fn the_configuration_reaches_the_policies() {
    let load = |text: &str| {
        let config = Config::parse("test", text, None, &[]).expect("right");
        let origin = filter_user::config::Origin::read(None, &[]).expect("defaults");
        Tuned::load(&config, &origin, &config.services(), None).expect("right")
    };
    assert!(!format!("{:?}", load("").policies).contains("notes_heads: true"));
    assert!(format!("{:?}", load(&limit("")).policies).contains("notes_heads: true"));
}
