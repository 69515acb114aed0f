//! What types cannot say: ranges, and keys that must agree with one another.

mod clients;

use std::{collections::HashMap, fmt::Display, ops::RangeInclusive, path::Path};

use filter_common::MAX_INTERFACES;

use super::{Address, Config, Engine, Forward, RulesSource, Scoring, cidr, feed};
use crate::feed::Copies;

/// The longest custom 403 page, in bytes: it must fit a few segments.
pub const MAX_PAGE_BYTES: u64 = 8 * 1024;

/// Addresses that the API is served on, and tokens, at most.
const MAX_API_ENTRIES: usize = 64;

/// A mistake before its place in the text is known.
pub(super) struct Finding {
    pub(super) key: String,
    pub(super) message: String,
    pub(super) remedy: String,
}

/// Everything wrong with a configuration whose types are right.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    engine(config, &mut findings);
    services(config, &mut findings);
    clients::proxies(config, &mut findings);
    clients::limits(config, &mut findings);
    limits(config, &mut findings);
    config.flood.check(&mut findings);
    decisions(config, &mut findings);
    deep(config, &mut findings);
    lists(config, &mut findings);
    config.geo.check(&mut findings);
    let copies = config.engine.state_dir.join(Copies::DIRECTORY);
    feed::check(&config.feed, &copies, &mut findings);
    api(config, &mut findings);
    findings.0
}

/// Mistakes found so far.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a mistake.
    pub(super) fn add(
        &mut self,
        key: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding {
            key: key.into(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes a value that is not in `range`.
    pub(super) fn range<T: PartialOrd + Display + Copy>(
        &mut self,
        key: &str,
        value: T,
        range: RangeInclusive<T>,
    ) {
        if !range.contains(&value) {
            self.add(
                key,
                format!("{value} is out of range"),
                format!("use {} to {}", range.start(), range.end()),
            );
        }
    }
}

/// The kernel's own rule (`dev_valid_name`): 1 to 15 bytes, no '/', ':' or white space.
fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

/// The kernel's own rule, as a mistake.
fn interface_name(key: &str, name: &str, findings: &mut Findings) {
    if !is_interface_name(name) {
        findings.add(
            key,
            format!("`{name}` cannot be the name of a network interface"),
            "use a name that `ip link` shows",
        );
    }
}

fn interfaces(engine: &Engine, findings: &mut Findings) {
    const KEY: &str = "engine.interface";
    if let Some(name) = &engine.server_interface {
        interface_name("engine.server_interface", name, findings);
    }
    let Some(interfaces) = &engine.interface else {
        return;
    };
    let names = interfaces.names();
    for (i, name) in names.iter().enumerate() {
        interface_name(KEY, name, findings);
        if names[..i].contains(name) {
            findings.add(KEY, format!("`{name}` is named twice"), "name it once");
        }
    }
    if !(1..=MAX_INTERFACES as usize).contains(&names.len()) {
        findings.add(
            KEY,
            format!("{} interfaces for one engine", names.len()),
            format!("name 1 to {MAX_INTERFACES}"),
        );
    } else if names.len() > 1 && engine.forward == Forward::Bridge {
        findings.add(
            KEY,
            format!(
                "a bridge has one interface that clients come in by, not {}",
                names.len()
            ),
            "name one, or set `forward = \"host\"`",
        );
    }
}

fn forwarding(engine: &Engine, findings: &mut Findings) {
    match (engine.forward, &engine.server_interface) {
        (Forward::Host, None) => {}
        (Forward::Host, Some(_)) => findings.add(
            "engine.server_interface",
            "only a bridge has an interface that the servers are behind",
            "set `forward = \"bridge\"`, or leave the key out",
        ),
        (Forward::Bridge, None) => findings.add(
            "engine.forward",
            "a bridge has two interfaces, and the second one is not named",
            "add `--bridge eth1`, or `server_interface = \"eth1\"`: the one that the servers are behind",
        ),
        (Forward::Bridge, Some(name)) => {
            let clients = engine.interface.as_ref();
            if clients.is_some_and(|clients| clients.names().contains(name)) {
                findings.add(
                    "engine.server_interface",
                    format!("`{name}` is the interface that clients come in by"),
                    "name the other one, which the servers are behind",
                );
            }
        }
    }
}

fn engine(config: &Config, findings: &mut Findings) {
    let engine = &config.engine;
    interfaces(engine, findings);
    forwarding(engine, findings);
    if let super::Queues::Count(queues) = engine.queues {
        findings.range("engine.queues", queues, 1..=256);
        let interfaces = engine.interface.as_ref().map_or(1, |all| all.names().len());
        let queues = interfaces.saturating_mul(queues as usize);
        if !engine.cpus.is_empty() && engine.cpus.len() != queues {
            findings.add(
                "engine.cpus",
                format!("{} CPUs for {queues} queues", engine.cpus.len()),
                "name one CPU a queue, or leave `cpus` empty",
            );
        }
    }
    if let Some(cpu) = engine.cpus.iter().find(|&&cpu| cpu > 4095) {
        findings.add(
            "engine.cpus",
            format!("there is no CPU {cpu}"),
            "use the numbers that `nproc` and `lscpu -e` show",
        );
    }
    findings.range("engine.poll.spin_us", engine.poll.spin_us, 0..=1_000_000);
    // What a driver's NAPI takes at most in one turn.
    findings.range("engine.poll.busy_budget", engine.poll.busy_budget, 0..=64);
    if ["root", "0"].contains(&engine.user.as_str()) {
        findings.add(
            "engine.user",
            "root is no ordinary user",
            "name another, or leave it empty to stay who starts the engine",
        );
    }
    findings.range("engine.watch_s", engine.watch_s, 0..=86_400);
    absolute("engine.pin_dir", &engine.pin_dir, findings);
    absolute("engine.state_dir", &engine.state_dir, findings);
    unix_socket("engine.control_socket", &engine.control_socket, findings);
}

fn absolute(key: &str, path: &Path, findings: &mut Findings) {
    if !path.is_absolute() {
        findings.add(
            key,
            format!("`{}` is not an absolute path", path.display()),
            "start it with `/`",
        );
    }
}

fn unix_socket(key: &str, path: &Path, findings: &mut Findings) {
    absolute(key, path, findings);
    // sockaddr_un holds 108 bytes with the terminating zero.
    if path.as_os_str().len() > 107 {
        findings.add(
            key,
            "a Unix socket's path holds at most 107 bytes",
            "use a shorter path",
        );
    }
}

fn api(config: &Config, findings: &mut Findings) {
    let api = &config.api;
    if let Some(socket) = &api.socket {
        unix_socket("api.socket", socket, findings);
        if *socket == config.engine.control_socket {
            findings.add(
                "api.socket",
                "this is the control socket, which speaks another protocol",
                "use another path",
            );
        }
    }
    if !api.listen.is_empty() && api.tokens.is_empty() {
        findings.add(
            "api.listen",
            "nobody could ask there: there is no token",
            "add `tokens = [{ name = \"prometheus\", role = \"viewer\", file = \"prometheus.token\" }]`, and make that file with \
             `(umask 077; openssl rand -hex 32 > prometheus.token)`",
        );
    }
    match (&api.tls.certificate, &api.tls.key) {
        (Some(_), None) => findings.add(
            "api.tls.certificate",
            "a certificate without its private key",
            "name the key's file as api.tls.key, or leave both out to serve without TLS",
        ),
        (None, Some(_)) => findings.add(
            "api.tls.key",
            "a private key without its certificate",
            "name the certificate's file as api.tls.certificate, or leave both out to serve without TLS",
        ),
        _ => {}
    }
    for (key, count) in [("api.listen", api.listen.len()), ("api.tokens", api.tokens.len())] {
        if count > MAX_API_ENTRIES {
            findings.add(
                key,
                format!("{count} are too many"),
                format!("use at most {MAX_API_ENTRIES}"),
            );
        }
    }
    findings.range("api.connections", api.connections, 1..=4096);
    let check = &api.check;
    findings.range("api.check.workers", check.workers, 1..=64);
    // At least one whole batch.
    findings.range("api.check.queue", check.queue, 1000..=1_000_000);
    findings.range("api.check.deadline_ms", check.deadline_ms, 1..=60_000);
    findings.range("api.timeout_s", api.timeout_s, 1..=300);
    let events = &config.events;
    findings.range("events.rate", events.rate, 1..=100_000);
    findings.range("events.history", events.history, 16..=1_000_000);
    findings.range("events.clients", events.clients, 1..=10_000);
    findings.range("audit.file_mb", config.audit.file_mb, 1..=4096);
    findings.range("audit.files", config.audit.files, 1..=1000);
    if config.history.interval_s > 0 {
        findings.range("history.interval_s", config.history.interval_s, 1..=86_400);
    }
    findings.range("history.files", config.history.files, 1..=100_000);
    config.alerts.check(findings);
}

fn services(config: &Config, findings: &mut Findings) {
    let mut seen: HashMap<(Address, u16), usize> = HashMap::new();
    for (i, service) in config.service.iter().enumerate() {
        if service.port == 0 {
            findings.add(
                format!("service.{i}.port"),
                "0 is not a TCP port",
                "use 1 to 65535",
            );
        }
        if let Some(changes) = &service.scoring {
            let merged = changes.over(&config.scoring);
            thresholds(&format!("service.{i}.scoring"), &merged, findings);
        }
        if let Some(first) = seen.insert((service.address, service.port), i) {
            findings.add(
                format!("service.{i}"),
                format!(
                    "{} port {} is also service.{first}",
                    service.address, service.port
                ),
                "keep one of the two",
            );
        }
    }
    if config.service.len() > super::MAX_SERVICES {
        findings.add(
            "service",
            format!("{} services", config.service.len()),
            format!(
                "at most {} are possible; use address = \"any\" where a port means the same everywhere",
                super::MAX_SERVICES
            ),
        );
    }
}

fn methods(key: &str, methods: &[String], findings: &mut Findings) {
    for (i, method) in methods.iter().enumerate() {
        let of_method = |byte: u8| byte.is_ascii_uppercase() || b"-_".contains(&byte);
        if method.is_empty() || !method.bytes().all(of_method) {
            findings.add(
                format!("{key}.{i}"),
                format!("`{method}` is no method"),
                "methods are in capitals, such as \"POST\"",
            );
        }
    }
}

fn limits(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    findings.range("limits.max_flows", limits.max_flows, 64..=16_777_216);
    findings.range("limits.max_sources", limits.max_sources, 64..=16_777_216);
    findings.range("limits.max_blocks", limits.max_blocks, 64..=16_777_216);
    findings.range("limits.max_counted", limits.max_counted, 64..=16_777_216);
    findings.range("limits.max_list_entries", limits.max_list_entries, 16..=4_194_304);
    findings.range("limits.frames_per_queue", limits.frames_per_queue, 64..=1_048_576);
    if !limits.frames_per_queue.is_power_of_two() {
        findings.add(
            "limits.frames_per_queue",
            format!("{} is not a power of two", limits.frames_per_queue),
            format!(
                "use {}",
                limits
                    .frames_per_queue
                    .checked_next_power_of_two()
                    .unwrap_or(1 << 20)
            ),
        );
    }
    findings.range("limits.held_bytes", limits.held_bytes, 0..=1 << 40);
    // One segment of the largest window without scaling must fit, or reordering would always fail.
    findings.range(
        "limits.held_bytes_per_flow",
        limits.held_bytes_per_flow,
        0..=1 << 30,
    );
    if u64::from(limits.held_bytes_per_flow) > limits.held_bytes {
        findings.add(
            "limits.held_bytes_per_flow",
            format!(
                "{} is more than held_bytes = {}",
                limits.held_bytes_per_flow, limits.held_bytes
            ),
            "lower it, or raise limits.held_bytes",
        );
    }
    for (key, seconds) in [
        ("limits.half_open_timeout_s", limits.half_open_timeout_s),
        ("limits.established_timeout_s", limits.established_timeout_s),
        ("limits.closing_timeout_s", limits.closing_timeout_s),
    ] {
        findings.range(key, seconds, 1..=604_800);
    }
    findings.range("limits.request_timeout_s", limits.request_timeout_s, 0..=604_800);
    findings.range(
        "limits.heartbeat_timeout_ms",
        limits.heartbeat_timeout_ms,
        20..=60_000,
    );
    if let Some(credits) = limits.credits {
        findings.range("limits.credits", credits, 1..=limits.frames_per_queue);
    }
    findings.range("limits.decoded_bytes", limits.decoded_bytes, 1 << 16..=1 << 30);
    findings.range("limits.decoded_ratio", limits.decoded_ratio, 1..=u16::MAX);
    findings.range("limits.inflaters", limits.inflaters, 2..=4096);
    findings.range("limits.brotli_decoders", limits.brotli_decoders, 0..=256);
    findings.range("limits.body_depth", limits.body_depth, 1..=64);
    findings.range("limits.body_values", limits.body_values, 1..=u32::MAX);
}

fn decisions(config: &Config, findings: &mut Findings) {
    let scoring = &config.scoring;
    thresholds("scoring", scoring, findings);
    findings.range("scoring.cache", scoring.cache, 0..=1 << 24);
    findings.range("scoring.baseline.entries", scoring.baseline.entries, 64..=65_536);
    if let RulesSource::Directory(path) = &scoring.rules
        && !path.is_dir()
    {
        findings.add(
            "scoring.rules",
            format!("`{}` is not a directory", path.display()),
            "name the directory that holds the rule packs, or \"builtin\"",
        );
    }
    findings.range("rules.watch_s", config.rules.watch_s, 0..=86_400);
    if let Some(path) = &config.rules.folder
        && !path.is_dir()
    {
        findings.add(
            "rules.folder",
            format!("`{}` is not a directory", path.display()),
            "create it, or leave the key out",
        );
    }
    if let Some(path) = &config.response.page {
        page(path, findings);
    }
    let reputation = &config.reputation;
    findings.range(
        "reputation.points_per_block",
        reputation.points_per_block,
        0..=1_000_000,
    );
    findings.range("reputation.half_life_s", reputation.half_life_s, 1..=31_536_000);
    findings.range("reputation.threshold", reputation.threshold, 1..=1_000_000);
    findings.range(
        "reputation.first_block_s",
        reputation.first_block_s,
        1..=31_536_000,
    );
    findings.range("reputation.max_block_s", reputation.max_block_s, 1..=31_536_000);
    if reputation.max_block_s < reputation.first_block_s {
        findings.add(
            "reputation.max_block_s",
            format!(
                "{} is below first_block_s = {}",
                reputation.max_block_s, reputation.first_block_s
            ),
            "raise it, or lower reputation.first_block_s",
        );
    }
    findings.range(
        "reputation.forgive_after_s",
        reputation.forgive_after_s,
        0..=31_536_000,
    );
    findings.range("reputation.ipv6_prefix", reputation.ipv6_prefix, 32..=128);
    findings.range(
        "report.summary_interval_s",
        config.report.summary_interval_s,
        0..=86_400,
    );
}

/// What `[scoring]` and a service's changes to it have in common; `table` is where they are written.
fn thresholds(table: &str, scoring: &Scoring, findings: &mut Findings) {
    let key = |name: &str| format!("{table}.{name}");
    findings.range(&key("suspicious"), scoring.suspicious, 0.0..=1.0);
    findings.range(&key("block"), scoring.block, 0.0..=1.0);
    if scoring.suspicious > scoring.block {
        findings.add(
            key("suspicious"),
            format!("{} is above block = {}", scoring.suspicious, scoring.block),
            format!("lower it, or raise {}", key("block")),
        );
    }
    findings.range(&key("anomaly"), scoring.anomaly, 1..=1_000_000);
    findings.range(&key("paranoia"), scoring.paranoia, 1..=4);
    let window = filter_score::Limits::default().window;
    findings.range(
        &key("limits.param_bytes"),
        scoring.limits.param_bytes.unwrap_or(0),
        0..=window,
    );
    findings.range(
        &key("limits.params"),
        scoring.limits.params.unwrap_or(1),
        1..=u16::MAX,
    );
    findings.range(
        &key("limits.headers"),
        scoring.limits.headers.unwrap_or(1),
        1..=u16::MAX,
    );
    if let Some(allowed) = &scoring.allow.methods {
        methods(&key("allow.methods"), allowed, findings);
    }
    if let Some(level) = scoring.detect_paranoia {
        findings.range(&key("detect_paranoia"), level, 1..=4);
        if level < scoring.paranoia {
            findings.add(
                key("detect_paranoia"),
                format!("{level} is below paranoia = {}", scoring.paranoia),
                "rules that count are detected anyway: raise it, or leave it out",
            );
        }
    }
}

fn deep(config: &Config, findings: &mut Findings) {
    let deep = &config.deep;
    findings.range("deep.workers.min", deep.workers.min, 1..=64);
    findings.range("deep.workers.max", deep.workers.max, 1..=64);
    if deep.workers.min > deep.workers.max {
        findings.add(
            "deep.workers.min",
            format!("{} is above max = {}", deep.workers.min, deep.workers.max),
            "lower it, or raise deep.workers.max",
        );
    }
    findings.range("deep.batch", deep.batch, 1..=1024);
    findings.range("deep.collect_us", deep.collect_us, 0..=100_000);
    findings.range("deep.deadline_ms", deep.deadline_ms, 1..=1000);
    findings.range("deep.queue", deep.queue, 1..=65_536);
    findings.range("deep.cache", deep.cache, 0..=1 << 20);
    if deep.collect_us >= deep.deadline_ms.saturating_mul(1000) {
        findings.add(
            "deep.collect_us",
            format!(
                "{} is not below deadline_ms = {}",
                deep.collect_us, deep.deadline_ms
            ),
            "lower it: what waits for company misses its deadline",
        );
    }
    let heartbeat = config.limits.heartbeat_timeout_ms;
    if deep.deadline_ms >= heartbeat {
        findings.add(
            "deep.deadline_ms",
            format!(
                "{} is not below limits.heartbeat_timeout_ms = {heartbeat}",
                deep.deadline_ms
            ),
            "lower it, or raise limits.heartbeat_timeout_ms",
        );
    }
}

fn page(path: &Path, findings: &mut Findings) {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => findings.add(
            "response.page",
            format!("`{}` is not a file", path.display()),
            "name an HTML file",
        ),
        Ok(metadata) if metadata.len() > MAX_PAGE_BYTES => findings.add(
            "response.page",
            format!("`{}` has {} bytes", path.display(), metadata.len()),
            format!("keep it within {MAX_PAGE_BYTES} bytes"),
        ),
        Ok(_) => {}
        Err(error) => findings.add(
            "response.page",
            format!("`{}`: {error}", path.display()),
            "name a readable HTML file, or leave the key out for the built-in page",
        ),
    }
}

/// What is wrong with `[lists]`.
pub(super) fn list_findings(config: &Config) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    lists(config, &mut findings);
    findings.0
}

fn lists(config: &Config, findings: &mut Findings) {
    let lists = &config.lists;
    for (key, list) in [
        ("lists.allow", &lists.allow),
        ("lists.block", &lists.block),
        ("lists.watch", &lists.watch),
    ] {
        if list.len() > config.limits.max_list_entries as usize {
            findings.add(
                key,
                format!("{} entries are more than limits.max_list_entries", list.len()),
                format!("raise limits.max_list_entries to {} or more", list.len()),
            );
        }
    }
    for (i, block) in lists.block.iter().enumerate() {
        if let Some(never) = lists.never_block.iter().find(|never| cidr::overlap(block, never)) {
            findings.add(
                format!("lists.block.{i}"),
                format!(
                    "{} overlaps {} of lists.never_block",
                    cidr::short(block),
                    cidr::short(never)
                ),
                "remove one of the two, or block the parts around it",
            );
        }
        if let Some(allow) = lists.allow.iter().find(|allow| *allow == block) {
            findings.add(
                format!("lists.block.{i}"),
                format!("{} is also on lists.allow", cidr::short(allow)),
                "keep it on one list",
            );
        }
    }
}
