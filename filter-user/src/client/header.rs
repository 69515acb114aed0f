//! The client in a request's head: `X-Forwarded-For`, `Forwarded` (RFC 7239), or a header with one address.
//!
//! Lists are read from the right, where the nearest proxy has written: what a client has written itself stands to the left
//! of that and is never reached, well-formed or not.

use std::net::{IpAddr, Ipv6Addr};

use filter_score::parse_field_line;

use super::{ClientCount, TrustedProxies};
use crate::config::ClientHeader;

/// Hops of a list that are looked at. A longer way through trusted proxies is no way.
const MAX_HOPS: usize = 64;
/// The longest way to write a node.
const NODE_BYTES: usize = 64;

/// What a header says of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The client, or the last hop that is certain.
    pub client: IpAddr,
    /// What is counted of it.
    pub count: ClientCount,
}

/// Takes a list's last node off: what stands before it, and the node, unless the element is empty.
type LastNode = fn(&[u8]) -> (&[u8], Option<Node>);

/// One node of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// `unknown`, `_hidden`: it does not say.
    Hidden,
    Malformed,
}

/// Whom the header in `head`, a request's head with its line ends, names as the client. `hop` is the trusted one that sent it.
#[must_use]
pub fn client(header: &ClientHeader, head: &[u8], hop: IpAddr, trusted: &TrustedProxies) -> Named {
    match header {
        ClientHeader::None => named(hop, ClientCount::HeaderMissing),
        ClientHeader::XForwardedFor => walk("x-forwarded-for", address_list, head, hop, trusted),
        ClientHeader::Forwarded => walk("forwarded", forwarded_list, head, hop, trusted),
        ClientHeader::Single(name) => single(name, head, hop),
    }
}

fn named(client: IpAddr, count: ClientCount) -> Named {
    Named { client, count }
}

/// Follows a list from the right through trusted proxies.
fn walk(name: &str, last_node: LastNode, head: &[u8], mut hop: IpAddr, trusted: &TrustedProxies) -> Named {
    let mut count = ClientCount::HeaderMissing;
    let mut hops = 0;
    for value in values_from_below(name, head) {
        let Some(mut rest) = value else {
            return named(hop, ClientCount::HeaderMalformed);
        };
        while !rest.is_empty() {
            let (before, node) = last_node(rest);
            rest = before;
            hops += 1;
            match node {
                _ if hops > MAX_HOPS => return named(hop, ClientCount::HeaderMalformed),
                // An empty element of a list (RFC 9110 §5.6.1.2).
                None => {}
                Some(Node::Address(address)) => {
                    hop = address;
                    count = ClientCount::HeaderNamed;
                    if !trusted.contains(address) {
                        return named(hop, count);
                    }
                }
                Some(Node::Hidden) => return named(hop, ClientCount::HeaderHidden),
                Some(Node::Malformed) => return named(hop, ClientCount::HeaderMalformed),
            }
        }
    }
    named(hop, count)
}

/// A header with one address, which must be there once.
fn single(name: &str, head: &[u8], hop: IpAddr) -> Named {
    let mut values = values_from_below(name, head);
    match (values.next(), values.next()) {
        (None, _) => named(hop, ClientCount::HeaderMissing),
        (Some(Some(value)), None) => match node(value) {
            Node::Address(address) => named(address, ClientCount::HeaderNamed),
            Node::Hidden => named(hop, ClientCount::HeaderHidden),
            Node::Malformed => named(hop, ClientCount::HeaderMalformed),
        },
        _ => named(hop, ClientCount::HeaderMalformed),
    }
}

/// The values of all lines of a field, the last line first; `None` for one that is folded, which servers read differently.
fn values_from_below<'a>(name: &'a str, head: &'a [u8]) -> impl Iterator<Item = Option<&'a [u8]>> {
    let mut folded = false;
    head.rsplit(|byte| *byte == b'\n').filter_map(move |line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let goes_on = std::mem::replace(&mut folded, matches!(line, [b' ' | b'\t', ..]));
        let (found, value) = parse_field_line(line)?;
        let same = found.eq_ignore_ascii_case(name.as_bytes());
        same.then_some((!goes_on).then_some(value))
    })
}

/// The last node of a list of addresses, and what stands before it.
fn address_list(value: &[u8]) -> (&[u8], Option<Node>) {
    let (before, last) = split_last(value, value.iter().rposition(|byte| *byte == b','));
    let last = last.trim_ascii();
    (before, (!last.is_empty()).then(|| node(last)))
}

/// The same for elements such as `for="[2001:db8::1]:4711";proto=http`.
fn forwarded_list(value: &[u8]) -> (&[u8], Option<Node>) {
    let (before, last) = split_last(value, outside_quotes(value, b','));
    let last = last.trim_ascii();
    (before, (!last.is_empty()).then(|| element(last)))
}

/// What stands before and behind the separator at `at`; without one, all of it is the last element.
fn split_last(text: &[u8], at: Option<usize>) -> (&[u8], &[u8]) {
    at.map_or((&[], text), |at| (&text[..at], &text[at + 1..]))
}

/// The last place of a byte that is in no quoted string. Read from the right: quotes that the client has left open, further
/// left, change nothing here.
fn outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    (0..text.len()).rev().find(|&at| {
        if text[at] == b'"' {
            let escapes = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            quoted ^= escapes % 2 == 0;
        }
        text[at] == wanted && !quoted
    })
}

/// The node of a `for` pair, of which an element has one.
fn element(element: &[u8]) -> Node {
    let mut found = None;
    let mut rest = element;
    while !rest.is_empty() {
        let (before, pair) = split_last(rest, outside_quotes(rest, b';'));
        rest = before;
        let pair = pair.trim_ascii();
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
            return Node::Malformed;
        };
        if pair[..equals].eq_ignore_ascii_case(b"for") && found.replace(node(&pair[equals + 1..])).is_some() {
            return Node::Malformed;
        }
    }
    found.unwrap_or(Node::Hidden)
}

/// An address with or without a port, in quotes or not; IPv6 in brackets or, without a port, not.
fn node(text: &[u8]) -> Node {
    let text = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text);
    let Some(text) = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() <= NODE_BYTES)
    else {
        return Node::Malformed;
    };
    let is_hidden = |name: &str| {
        let rest = name.strip_prefix('_').filter(|rest| !rest.is_empty());
        name.eq_ignore_ascii_case("unknown")
            || rest.is_some_and(|rest| {
                rest.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            })
    };
    let is_port = |port: &str| {
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        digits || (port.starts_with('_') && is_hidden(port))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return Node::Malformed;
        };
        let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return match address.parse::<Ipv6Addr>() {
            Ok(address) if port_is_right => Node::Address(IpAddr::V6(address).to_canonical()),
            _ => Node::Malformed,
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Node::Address(address.to_canonical());
    }
    let name = match text.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return Node::Malformed,
        None => text,
    };
    match name.parse() {
        Ok(address) => Node::Address(IpAddr::V4(address)),
        Err(_) if is_hidden(name) => Node::Hidden,
        Err(_) => Node::Malformed,
    }
}

#[cfg(test)]
mod tests;
