//! Mistakes in `[clients]`, in what services expect of proxies, and in `[[limit]]`.

use super::{Findings, cidr, methods};
use crate::config::{ClientHeader, Clients, Config, Inspect, LimitedService, ProxyProtocol};

/// The most entries of `clients.trusted_proxies`.
const MAX_TRUSTED: usize = 4096;

/// The most `[[limit]]`s: those about a service are all looked at for each of its requests.
const MAX_LIMITS: usize = 64;

/// `[clients]`, and `proxy_protocol` of services.
pub(super) fn proxies(config: &Config, findings: &mut Findings) {
    let Clients {
        trusted_proxies,
        client_header,
    } = &config.clients;
    for (i, service) in config.service.iter().enumerate() {
        if service.proxy_protocol == ProxyProtocol::Off {
            continue;
        }
        let key = format!("service.{i}.proxy_protocol");
        if trusted_proxies.is_empty() {
            findings.add(
                key,
                "nobody may send such a header: clients.trusted_proxies is empty",
                "name the proxies there, as in trusted_proxies = [\"192.0.2.7\"]",
            );
        } else if service.inspect == Inspect::None {
            findings.add(
                key,
                "nothing is read of this service: its inspect is \"none\"",
                "leave it out, or use inspect = \"all\"",
            );
        }
    }
    if trusted_proxies.len() > MAX_TRUSTED {
        findings.add(
            "clients.trusted_proxies",
            format!("{} entries", trusted_proxies.len()),
            format!("at most {MAX_TRUSTED} are possible; use wider blocks"),
        );
    }
    for (i, proxy) in trusted_proxies.iter().enumerate() {
        if proxy.prefix_len() == 0 {
            findings.add(
                format!("clients.trusted_proxies.{i}"),
                format!("{proxy} trusts everybody: each client could say that it is another"),
                "name the proxies alone",
            );
        }
        let blocked = config.lists.block.iter().enumerate();
        for (j, block) in blocked.filter(|(_, block)| cidr::overlap(block, proxy)) {
            findings.add(
                format!("lists.block.{j}"),
                format!(
                    "{} overlaps {} of clients.trusted_proxies",
                    cidr::short(block),
                    cidr::short(proxy)
                ),
                "remove one of the two, or block the parts around it",
            );
        }
    }
    if let ClientHeader::Single(name) = client_header {
        let line = format!("{name}:");
        let is_name = filter_score::parse_field_line(line.as_bytes())
            .is_some_and(|(found, _)| found == name.as_bytes());
        if !is_name || name.len() > 64 {
            findings.add(
                "clients.client_header",
                format!("`{name}` cannot be the name of a header"),
                "use \"x-forwarded-for\", \"forwarded\", \"none\" or a name such as \"x-real-ip\"",
            );
        }
    }
}

/// `[[limit]]`.
pub(super) fn limits(config: &Config, findings: &mut Findings) {
    let services = config.services();
    for (i, limit) in config.limit.iter().enumerate() {
        let key = |name: &str| format!("limit.{i}.{name}");
        if limit.name.is_empty() || limit.name.len() > 64 {
            findings.add(
                key("name"),
                "it has no name, or a long one",
                "give it one of at most 64 bytes, such as name = \"login\"",
            );
        }
        if let Some(first) = config.limit[..i]
            .iter()
            .position(|other| other.name == limit.name)
        {
            findings.add(
                key("name"),
                format!("`{}` is also limit.{first}", limit.name),
                "give it another name",
            );
        }
        findings.range(&key("requests"), limit.requests, 1..=1_000_000);
        findings.range(&key("window_s"), limit.window_s, 1..=86_400);
        methods(&key("methods"), &limit.methods, findings);
        if let LimitedService::One(address, port) = *limit.service.value()
            && !services
                .iter()
                .any(|service| (service.address, service.port) == (address, port))
        {
            let known: Vec<_> = services
                .iter()
                .take(8)
                .map(|service| LimitedService::One(service.address, service.port).to_string())
                .collect();
            findings.add(
                key("service"),
                format!("there is no service {}", limit.service.text()),
                format!("use \"any\" or one of {}", known.join(", ")),
            );
        }
    }
    if config.limit.len() > MAX_LIMITS {
        findings.add(
            "limit",
            format!("{} limits", config.limit.len()),
            format!("at most {MAX_LIMITS} are possible; use patterns in paths"),
        );
    }
}
