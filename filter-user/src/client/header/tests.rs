use proptest::prelude::*;

use super::*;
use crate::config::parse_cidr;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// 10.0.0.0/8 and `fd00::/8`.
fn trusted() -> TrustedProxies {
    TrustedProxies::new(&["10.0.0.0/8", "fd00::/8"].map(|net| parse_cidr(net).expect("a block")))
}

fn read(header: &str, lines: &[&str]) -> (String, ClientCount) {
    let config = format!("[clients]\nclient_header = '{header}'\n");
    let config = crate::config::Config::parse("test", &config, None, &[]).expect("right");
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", lines.join("\r\n"));
    let named = client(
        &config.clients.client_header,
        head.as_bytes(),
        address("10.0.0.1"),
        &trusted(),
    );
    (named.client.to_string(), named.count)
}

use ClientCount::{
    HeaderHidden as Hidden, HeaderMalformed as Malformed, HeaderMissing as Missing, HeaderNamed as Client,
};

#[test]
fn lists_of_addresses_are_followed_from_the_right() {
    for (lines, client, count) in [
        (&["X-Forwarded-For: 192.0.2.7"][..], "192.0.2.7", Client),
        (&["x-forwarded-for:192.0.2.7"], "192.0.2.7", Client),
        (
            &["X-Forwarded-For: 198.51.100.1, 192.0.2.7, 10.0.0.2"],
            "192.0.2.7",
            Client,
        ),
        (
            &["X-Forwarded-For: 192.0.2.7,10.0.0.2 ,\t10.0.0.3"],
            "192.0.2.7",
            Client,
        ),
        (
            &[
                "X-Forwarded-For: 198.51.100.1",
                "X-Forwarded-For: 192.0.2.7",
                "X-Forwarded-For: 10.0.0.2",
            ],
            "192.0.2.7",
            Client,
        ),
        (&["X-Forwarded-For: 10.0.0.9, 10.0.0.2"], "10.0.0.9", Client),
        (&["X-Forwarded-For: 2001:db8::7"], "2001:db8::7", Client),
        (&["X-Forwarded-For: [2001:db8::7]"], "2001:db8::7", Client),
        (
            &["X-Forwarded-For: [2001:db8::7]:4711, [fd00::1]:80"],
            "2001:db8::7",
            Client,
        ),
        (
            &["X-Forwarded-For: \"[2001:db8::7]:4711\""],
            "2001:db8::7",
            Client,
        ),
        (&["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7", Client),
        (&["X-Forwarded-For: 192.0.2.7:65535"], "192.0.2.7", Client),
        (&["X-Forwarded-For: 192.0.2.7, , ,"], "192.0.2.7", Client),
        (
            &["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For:"],
            "192.0.2.7",
            Client,
        ),
        // What a client has made up stands to the left of what a proxy wrote.
        (
            &["X-Forwarded-For: garbage, \"192.0.2.9, 192.0.2.7"],
            "192.0.2.7",
            Client,
        ),
        (
            &["X-Forwarded-For: 192.0.2.7, garbage, 10.0.0.2"],
            "10.0.0.2",
            Malformed,
        ),
        (&["X-Forwarded-For: garbage"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: 192.0.2.7:"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: 192.0.2.7:123456"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: 192.0.2"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: [2001:db8::7"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: [2001:db8::7]4711"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: [192.0.2.7]"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: fe80::1%eth0"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: 192.0.2.7 192.0.2.8"], "10.0.0.1", Malformed),
        (
            &["X-Forwarded-For: 192.0.2.7", "  , 192.0.2.8"],
            "10.0.0.1",
            Malformed,
        ),
        (&["X-Forwarded-For: unknown, 10.0.0.2"], "10.0.0.2", Hidden),
        (&["X-Forwarded-For: _gazonk"], "10.0.0.1", Hidden),
        (&["Via: 1.1 a"], "10.0.0.1", Missing),
        (&["X-Forwarded-For:"], "10.0.0.1", Missing),
        (&["X-Forwarded-For : 192.0.2.7"], "10.0.0.1", Missing),
    ] {
        assert_eq!(
            read("X-Forwarded-For", lines),
            (client.to_owned(), count),
            "{lines:?}"
        );
    }
}

#[test]
fn forwarded_elements_are_followed_from_the_right() {
    for (lines, client, count) in [
        (&["Forwarded: for=192.0.2.7"][..], "192.0.2.7", Client),
        (
            &["Forwarded: For=192.0.2.7;proto=http;by=10.0.0.1"],
            "192.0.2.7",
            Client,
        ),
        (
            &["Forwarded: by=10.0.0.1; FOR=\"192.0.2.7:4711\" ; host=\"a,b;for=6.6.6.6\""],
            "192.0.2.7",
            Client,
        ),
        (
            &["Forwarded: for=\"[2001:db8::7]:4711\", for=10.0.0.2"],
            "2001:db8::7",
            Client,
        ),
        (&["Forwarded: for=\"[2001:db8::7]:_port\""], "2001:db8::7", Client),
        (
            &[
                "Forwarded: for=198.51.100.1, for=192.0.2.7",
                "Forwarded: for=10.0.0.2",
            ],
            "192.0.2.7",
            Client,
        ),
        // A quote that the client has left open does not hide what the proxy wrote.
        (&["Forwarded: for=\"x, for=192.0.2.7"], "192.0.2.7", Client),
        (
            &["Forwarded: for=198.51.100.1;host=\"a\\\", for=192.0.2.7;host=\"b\""],
            "192.0.2.7",
            Client,
        ),
        (
            &["Forwarded: for=192.0.2.7;host=\"a\\\", for=6.6.6.6;x=\\\"\""],
            "192.0.2.7",
            Client,
        ),
        (&["Forwarded: for=_hidden"], "10.0.0.1", Hidden),
        (&["Forwarded: for=\"_SEVKISEK:80\""], "10.0.0.1", Hidden),
        (&["Forwarded: for=unknown, for=10.0.0.2"], "10.0.0.2", Hidden),
        (&["Forwarded: proto=https"], "10.0.0.1", Hidden),
        (&["Forwarded: for=192.0.2.7;for=192.0.2.8"], "10.0.0.1", Malformed),
        (&["Forwarded: 192.0.2.7"], "10.0.0.1", Malformed),
        (&["Forwarded: for="], "10.0.0.1", Malformed),
        (&["Forwarded: for=\"192.0.2.7"], "10.0.0.1", Malformed),
        (&["Forwarded: for=_"], "10.0.0.1", Malformed),
        (&["X-Forwarded-For: 192.0.2.7"], "10.0.0.1", Missing),
    ] {
        assert_eq!(read("forwarded", lines), (client.to_owned(), count), "{lines:?}");
    }
}

#[test]
fn a_header_with_one_address_has_one() {
    for (lines, client, count) in [
        (&["CF-Connecting-IP: 192.0.2.7"][..], "192.0.2.7", Client),
        (&["cf-connecting-ip: 2001:db8::7"], "2001:db8::7", Client),
        (&["CF-Connecting-IP: 192.0.2.7, 192.0.2.8"], "10.0.0.1", Malformed),
        (
            &["CF-Connecting-IP: 192.0.2.7", "CF-Connecting-IP: 192.0.2.7"],
            "10.0.0.1",
            Malformed,
        ),
        (&["CF-Connecting-IP:"], "10.0.0.1", Malformed),
        (&["CF-Connecting-IP: unknown"], "10.0.0.1", Hidden),
        (&["X-Forwarded-For: 192.0.2.7"], "10.0.0.1", Missing),
    ] {
        assert_eq!(
            read("CF-Connecting-IP", lines),
            (client.to_owned(), count),
            "{lines:?}"
        );
    }
    assert_eq!(read("none", &["X-Forwarded-For: 192.0.2.7"]).1, Missing);
}

#[test]
fn long_ways_end() {
    let list = |hops: usize| format!("X-Forwarded-For: 192.0.2.7{}", ", 10.0.0.2".repeat(hops));
    assert_eq!(read("x-forwarded-for", &[&list(MAX_HOPS - 1)]).1, Client);
    assert_eq!(
        read("x-forwarded-for", &[&list(MAX_HOPS)]),
        ("10.0.0.2".into(), Malformed)
    );
    let commas = format!("X-Forwarded-For: 192.0.2.7{}", ",".repeat(60_000));
    assert_eq!(read("x-forwarded-for", &[&commas]).1, Malformed);
    let quotes = format!("Forwarded: for=192.0.2.7{}", "\\".repeat(60_000));
    assert_eq!(read("forwarded", &[&quotes]).1, Malformed);
}

proptest! {
    /// Whatever a client writes, the proxy's word at the end of it counts.
    #[test]
    fn what_stands_to_the_left_does_not_matter(made_up in "[ -~]{0,80}", which in any::<bool>()) {
        let (header, line) = if which {
            ("x-forwarded-for", format!("X-Forwarded-For: {made_up}, 192.0.2.7"))
        } else {
            ("forwarded", format!("Forwarded: {made_up}, for=192.0.2.7;host=\"a\""))
        };
        prop_assert_eq!(read(header, &[&line]), ("192.0.2.7".to_owned(), Client));
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for header in [ClientHeader::XForwardedFor, ClientHeader::Forwarded] {
            let head = [b"Forwarded: ", &bytes[..], b"\r\nX-Forwarded-For: ", &bytes, b"\r\n\r\n"].concat();
            let _ = client(&header, &head, address("10.0.0.1"), &trusted());
        }
    }
}
