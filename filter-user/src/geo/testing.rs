//! Databases that are made here: the format is that of "`MaxMind` DB File Format Specification" 2.0.

use std::net::IpAddr;

use ipnet::IpNet;

/// A value of a database.
pub(crate) enum Value {
    Text(&'static str),
    /// A number of 16 bits.
    Short(u16),
    /// A number of 32 bits.
    Number(u32),
    /// A number of 64 bits.
    Long(u64),
    /// An empty list.
    Nothing,
    Map(Vec<(&'static str, Value)>),
}

use Value::{Long, Map, Nothing, Number, Short, Text};

fn encode(value: &Value, out: &mut Vec<u8>) {
    let control =
        |kind: u8, size: usize, out: &mut Vec<u8>| out.push((kind << 5) | u8::try_from(size).expect("short"));
    match value {
        Text(text) => {
            control(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Number(number) => {
            control(6, 4, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Short(number) => {
            control(5, 2, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Long(number) => {
            // Types from 8 on follow in a byte of their own, less seven.
            out.extend_from_slice(&[8, 9 - 7]);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Nothing => out.extend_from_slice(&[0, 11 - 7]),
        Map(map) => {
            control(7, map.len(), out);
            for (key, value) in map {
                encode(&Text(key), out);
                encode(value, out);
            }
        }
    }
}

/// A database of 128-bit addresses with 32-bit records; IPv4 is below `::/96`.
pub(crate) fn database(networks: &[(&str, Value)]) -> Vec<u8> {
    const EMPTY: usize = usize::MAX;
    // Records: of a node, or of the data behind `1 << 40`.
    let (mut tree, mut data): (Vec<[usize; 2]>, Vec<u8>) = (vec![[EMPTY; 2]], Vec::new());
    for (network, value) in networks {
        let network: IpNet = network.parse().expect("a network");
        let (bits, length) = match network.addr() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), network.prefix_len() + 96),
            IpAddr::V6(address) => (u128::from(address), network.prefix_len()),
        };
        let at = (1 << 40) + data.len();
        encode(value, &mut data);
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from((bits >> (127 - depth)) & 1 == 1);
            if depth + 1 == length {
                tree[node][side] = at;
            } else {
                if tree[node][side] == EMPTY {
                    tree[node][side] = tree.len();
                    tree.push([EMPTY; 2]);
                }
                node = tree[node][side];
            }
        }
    }
    let nodes = tree.len();
    let mut out = Vec::new();
    for record in tree.iter().flatten() {
        let number = match *record {
            EMPTY => nodes,
            data if data >= 1 << 40 => data - (1 << 40) + nodes + 16,
            node => node,
        };
        out.extend_from_slice(&u32::try_from(number).expect("small").to_be_bytes());
    }
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Map(vec![
        ("node_count", Number(u32::try_from(nodes).expect("small"))),
        ("record_size", Short(32)),
        ("ip_version", Short(6)),
        ("binary_format_major_version", Short(2)),
        ("binary_format_minor_version", Short(0)),
        ("database_type", Text("Test")),
        ("build_epoch", Long(1)),
        ("languages", Nothing),
        ("description", Map(Vec::new())),
    ]);
    encode(&metadata, &mut out);
    out
}
