//! The lab's addresses. They are the same in every lab: namespaces keep them apart.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The client, IPv4.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 71, 0, 2);
/// The client, IPv6.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd71, 0, 0, 0, 0, 0, 0, 2);
/// The gateway's side towards the client, IPv4.
pub const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(10, 71, 0, 1);
/// The gateway's side towards the client, IPv6.
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd71, 0, 0, 0, 0, 0, 0, 1);
/// The gateway's side towards the server, IPv4.
pub const INSIDE_V4: Ipv4Addr = Ipv4Addr::new(10, 72, 0, 1);
/// The gateway's side towards the server, IPv6.
pub const INSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0, 0, 0, 0, 0, 0, 1);
/// The server, IPv4.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 72, 0, 2);
/// The server, IPv6.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0, 0, 0, 0, 0, 0, 2);
/// The client at its second cable, in a lab that has one ([`super::Options::second_cable`]), IPv4.
pub const SECOND_CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 73, 0, 2);
/// The client at its second cable, IPv6.
pub const SECOND_CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd73, 0, 0, 0, 0, 0, 0, 2);
/// The gateway's side towards it, IPv4.
pub const SECOND_OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(10, 73, 0, 1);
/// The gateway's side towards it, IPv6.
pub const SECOND_OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd73, 0, 0, 0, 0, 0, 0, 1);
/// The prefix length of all IPv4 networks.
pub const PREFIX_V4: u8 = 24;
/// The prefix length of all IPv6 networks.
pub const PREFIX_V6: u8 = 64;

/// nginx's port.
pub const NGINX_PORT: u16 = 80;
/// nginx's port where connections begin with a PROXY header.
pub const NGINX_PROXIED_PORT: u16 = 81;
/// nginx's port where connections are HTTP/2 without TLS.
pub const NGINX_H2C_PORT: u16 = 82;
/// nginx's port where any request is answered with a kilobyte, unlogged.
pub const NGINX_ANSWERS_PORT: u16 = 83;
/// The recording origin's usual port.
pub const ORIGIN_PORT: u16 = 8080;

/// Where floods of requests come from, in a lab with an Internet ([`super::Lab::add_internet`]): the network of RFC 2544, and its
/// prefix length.
pub const CROWD: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);
/// Where visitors come from there: the third network of RFC 5737, and its prefix length.
pub const VISITORS: (Ipv4Addr, u8) = (Ipv4Addr::new(203, 0, 113, 0), 24);
