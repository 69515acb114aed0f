//! The engine's state as Prometheus metrics. Names, labels and their values come from the code, never from traffic, so there are
//! only so many series.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::exposition::{Exposition, Labels, real};
use crate::{
    control::{DeepStatus, EventsStatus, FeedStatus, QueueStatus, Status},
    latency::Stage,
};

/// All metrics, in the text format.
///
/// # Errors
///
/// When a family is malformed.
pub(super) fn text(
    status: &Status,
    latencies: &[(Stage, Histogram<u64>)],
) -> Result<String, prometheus::Error> {
    let mut out = Exposition::default();
    engine(&mut out, status);
    packets(&mut out, status);
    queues(&mut out, &status.queues);
    requests(&mut out, status);
    rules(&mut out, status);
    if let Some(deep) = &status.deep {
        second_tier(&mut out, deep);
    }
    fills(&mut out, status);
    events(&mut out, &status.events);
    feeds(&mut out, &status.feeds);
    let stages: Vec<_> = latencies
        .iter()
        .map(|(stage, latencies)| ([("stage", stage.name())], latencies))
        .collect();
    out.latency(
        "portcullis_latency_seconds",
        "Time that packets took through a stage of the engine.",
        stages.iter().map(|(labels, latencies)| (&labels[..], *latencies)),
    );
    out.text()
}

fn engine(out: &mut Exposition, status: &Status) {
    let info: Labels<'_> = &[
        ("version", &status.version),
        ("interface", &status.interface),
        ("xdp_mode", status.xdp_mode.as_str()),
        ("mode", status.mode.as_str()),
        ("on_failure", status.on_failure.as_str()),
    ];
    out.gauge(
        "portcullis_info",
        "Always 1; the labels say how the engine runs.",
        [(info, 1.0)],
    );
    out.gauge(
        "portcullis_uptime_seconds",
        "Time since the engine started.",
        [(&[][..], status.uptime_s)],
    );
    out.gauge(
        "portcullis_warnings",
        "Things that an operator should look at, which `portcullis status` spells out.",
        [(&[][..], real(status.warnings.len() as u64))],
    );
}

/// Their names are those of the configuration.
fn feeds(out: &mut Exposition, feeds: &[FeedStatus]) {
    fn name(feed: &FeedStatus) -> &str {
        &feed.name
    }
    let labels: Vec<_> = feeds.iter().map(|feed| [("feed", feed.name.as_str())]).collect();
    let each = |of: fn(&FeedStatus) -> Option<u64>| {
        labels
            .iter()
            .zip(feeds)
            .filter_map(move |(labels, feed)| Some((&labels[..], real(of(feed)?))))
    };
    out.gauge(
        "portcullis_feed_entries",
        "Entries of a feed that are in force.",
        each(|feed| Some(feed.entries)),
    );
    let left_out = |reason, of: fn(&FeedStatus) -> u64| {
        let sample = move |feed| ([("feed", name(feed)), ("reason", reason)], real(of(feed)));
        feeds.iter().map(sample).collect::<Vec<_>>()
    };
    let left_out = [
        left_out("protected", |feed| feed.protected),
        left_out("too_wide", |feed| feed.too_wide),
        left_out("no_room", |feed| feed.no_room),
    ]
    .concat();
    out.gauge(
        "portcullis_feed_left_out_entries",
        "Entries of a feed that are not in force, by reason.",
        left_out.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    out.gauge(
        "portcullis_feed_failing",
        "Whether a feed could not be had the last time; what it had before stays in force.",
        each(|feed| Some(feed.error.is_some().into())),
    );
    out.gauge(
        "portcullis_feed_last_success_timestamp_seconds",
        "When a feed was last had, in Unix time.",
        each(|feed| feed.last_success_s),
    );
}

fn packets(out: &mut Exposition, status: &Status) {
    let labels: Vec<_> = status
        .xdp
        .iter()
        .map(|counter| {
            (
                [
                    ("action", counter.action.as_str()),
                    ("reason", counter.reason.as_str()),
                ],
                counter.packets,
            )
        })
        .collect();
    out.counter(
        "portcullis_xdp_packets_total",
        "Packets that the XDP program decided on, since its maps were made.",
        labels.iter().map(|(labels, packets)| (&labels[..], *packets)),
    );
}

type Of<T> = fn(&QueueStatus) -> T;
type OfReasons = fn(&QueueStatus) -> &BTreeMap<String, u64>;

/// Name, help and value of what each queue counts.
const QUEUE_COUNTERS: [(&str, &str, Of<u64>); 6] = [
    ("read", "Packets read from a queue's ring.", |queue| queue.read),
    ("forwarded", "Packets that a queue's thread passed on.", |queue| {
        queue.forwarded
    }),
    (
        "lost",
        "Packets redirected to a queue that the kernel could not deliver.",
        |queue| queue.lost,
    ),
    (
        "injected",
        "Packets that a queue's thread made itself: pages, resets.",
        |queue| queue.injected,
    ),
    (
        "handed_over",
        "Packets given to the thread of another queue, which knows their flow.",
        |queue| queue.handed_over,
    ),
    ("fragments", "Fragments read from a queue's ring.", |queue| {
        queue.fragments
    }),
];

/// What each queue counts by reason.
const QUEUE_REASONS: [(&str, &str, OfReasons); 2] = [
    ("dropped", "Packets that a queue's thread dropped.", |queue| {
        &queue.dropped
    }),
    ("unscored", "Packets passed on without being scored.", |queue| {
        &queue.unscored
    }),
];

/// Levels of each queue.
const QUEUE_GAUGES: [(&str, &str, Of<f64>); 6] = [
    (
        "heartbeat_age_seconds",
        "Time since a queue's thread last showed itself.",
        |queue| real(queue.heartbeat_age_ms) / 1000.0,
    ),
    (
        "in_flight_frames",
        "Frames redirected to a queue and not yet read.",
        |queue| real(queue.credits.used),
    ),
    (
        "in_flight_frames_limit",
        "Frames that may be in flight.",
        |queue| real(queue.credits.capacity),
    ),
    ("held_segments", "Segments held out of order.", |queue| {
        real(queue.held.used)
    }),
    ("held_segments_limit", "Segments that may be held.", |queue| {
        real(queue.held.capacity)
    }),
    ("flows", "Flows that a queue's thread tracks.", |queue| {
        real(queue.flows)
    }),
];

fn queues(out: &mut Exposition, queues: &[QueueStatus]) {
    let numbers: Vec<_> = queues.iter().map(|queue| queue.queue.to_string()).collect();
    let labels: Vec<_> = numbers
        .iter()
        .map(|number| [("queue", number.as_str())])
        .collect();
    for (name, help, of) in QUEUE_COUNTERS {
        let samples = labels.iter().zip(queues);
        out.counter(
            &format!("portcullis_queue_{name}_packets_total"),
            help,
            samples.map(|(labels, queue)| (&labels[..], of(queue))),
        );
    }
    for (name, help, of) in QUEUE_REASONS {
        let samples: Vec<_> = numbers
            .iter()
            .zip(queues)
            .flat_map(|(number, queue)| of(queue).iter().map(move |counted| (number.as_str(), counted)))
            .map(|(number, (reason, packets))| ([("queue", number), ("reason", reason)], *packets))
            .collect();
        out.counter(
            &format!("portcullis_queue_{name}_packets_total"),
            help,
            samples.iter().map(|(labels, packets)| (&labels[..], *packets)),
        );
    }
    for (name, help, of) in QUEUE_GAUGES {
        let samples = labels.iter().zip(queues);
        out.gauge(
            &format!("portcullis_queue_{name}"),
            help,
            samples.map(|(labels, queue)| (&labels[..], of(queue))),
        );
    }
}

fn requests(out: &mut Exposition, status: &Status) {
    let requests = &status.requests;
    out.counter(
        "portcullis_requests_total",
        "Requests that were judged. In detect mode, those under block went on.",
        [
            (&[("decision", "allow")][..], requests.allow),
            (&[("decision", "suspicious")][..], requests.suspicious),
            (&[("decision", "block")][..], requests.block),
        ],
    );
    let families = counted("family", &requests.families);
    out.counter(
        "portcullis_attacks_total",
        "Blocked requests by family of attack; one may be of several.",
        families.iter().map(|(labels, count)| (&labels[..], *count)),
    );
    for (name, help, count) in [
        (
            "portcullis_malformed_requests_total",
            "Requests that do not parse; also counted by decision.",
            requests.malformed,
        ),
        (
            "portcullis_cached_requests_total",
            "Requests that went on because the same bytes were found clean before.",
            requests.cached,
        ),
        (
            "portcullis_detect_only_requests_total",
            "Requests in which a rule above the paranoia level hit, without counting.",
            requests.detect_only,
        ),
        (
            "portcullis_excluded_requests_total",
            "Requests in which exclusions kept hits from counting.",
            requests.excluded,
        ),
    ] {
        out.counter(name, help, [(&[][..], count)]);
    }
    let memories = [
        ([("memory", "lines")], requests.known_lines),
        ([("memory", "fields")], requests.known_fields),
    ];
    out.counter(
        "portcullis_memory_lookups_total",
        "Header lines and fields that were looked up among those found clean before.",
        memories
            .iter()
            .map(|(labels, [_, lookups])| (&labels[..], *lookups)),
    );
    out.counter(
        "portcullis_memory_hits_total",
        "Header lines and fields that were found there.",
        memories.iter().map(|(labels, [hits, _])| (&labels[..], *hits)),
    );
    let clients = counted("event", &status.clients);
    out.counter(
        "portcullis_client_events_total",
        "What was learnt of clients and of those who speak for them.",
        clients.iter().map(|(labels, count)| (&labels[..], *count)),
    );
}

fn rules(out: &mut Exposition, status: &Status) {
    let rules = &status.rules;
    let info: Labels<'_> = &[
        ("version", &rules.version),
        ("model", rules.model.version.as_deref().unwrap_or("")),
    ];
    out.gauge(
        "portcullis_rules_info",
        "Always 1; the labels name the rules and the model in force.",
        [(info, 1.0)],
    );
    out.gauge(
        "portcullis_rules",
        "Rules in force.",
        [(&[][..], real(rules.count))],
    );
    out.counter(
        "portcullis_reloads_total",
        "Reloads that succeeded.",
        [(&[][..], rules.reloads)],
    );
    out.gauge(
        "portcullis_reload_failed",
        "1 if the last reload failed; then what was in force before still is.",
        [(&[][..], f64::from(u8::from(rules.last_error.is_some())))],
    );
}

fn second_tier(out: &mut Exposition, deep: &DeepStatus) {
    let outcomes = counted("outcome", &deep.requests);
    out.counter(
        "portcullis_second_tier_requests_total",
        "What became of requests that the second tier was asked about.",
        outcomes.iter().map(|(labels, count)| (&labels[..], *count)),
    );
    let breaker = ["closed", "half-open", "open"]
        .map(|state| ([("state", state)], f64::from(u8::from(deep.breaker == state))));
    out.gauge(
        "portcullis_second_tier_breaker",
        "1 for the state that the circuit breaker is in.",
        breaker.iter().map(|(labels, is)| (&labels[..], *is)),
    );
    for (name, help, value) in [
        (
            "portcullis_second_tier_waiting_requests",
            "Requests that wait for the second tier.",
            deep.waiting,
        ),
        (
            "portcullis_second_tier_queued_requests",
            "Requests that no worker has taken yet.",
            deep.depth,
        ),
        ("portcullis_second_tier_workers", "Workers.", deep.workers),
    ] {
        out.gauge(name, help, [(&[][..], real(value))]);
    }
    out.counter(
        "portcullis_second_tier_scaling_total",
        "Changes of the number of workers.",
        [
            (&[("direction", "up")][..], deep.grown),
            (&[("direction", "down")][..], deep.shrunk),
        ],
    );
    out.counter(
        "portcullis_second_tier_replaced_workers_total",
        "Workers that were replaced.",
        [
            (&[("reason", "panicked")][..], deep.died),
            (&[("reason", "hung")][..], deep.stalled),
        ],
    );
}

fn fills(out: &mut Exposition, status: &Status) {
    for (name, what, fill) in [
        ("portcullis_flows", "Tracked flows", status.flows),
        ("portcullis_sources", "Sources with a reputation", status.sources),
        ("portcullis_blocks", "Blocks with an end", status.blocks),
        (
            "portcullis_held_bytes",
            "Bytes of segments held out of order",
            status.held_bytes,
        ),
    ] {
        out.gauge(name, &format!("{what}."), [(&[][..], real(fill.used))]);
        out.gauge(
            &format!("{name}_limit"),
            &format!("{what}, at most."),
            [(&[][..], real(fill.capacity))],
        );
    }
}

fn events(out: &mut Exposition, events: &EventsStatus) {
    out.counter(
        "portcullis_events_total",
        "Decisions that were told to those who listen, or were not.",
        [
            (&[("outcome", "told")][..], events.told),
            (&[("outcome", "suppressed")][..], events.suppressed),
            (&[("outcome", "lost")][..], events.lost),
        ],
    );
    out.gauge(
        "portcullis_listeners",
        "Clients that listen to events.",
        [(&[][..], real(events.listeners))],
    );
    out.counter(
        "portcullis_audit_lines_total",
        "Lines of the audit log.",
        [
            (&[("outcome", "written")][..], events.audited),
            (&[("outcome", "lost")][..], events.audit_lost),
        ],
    );
}

/// Samples of what is counted by name.
fn counted<'a>(
    label: &'static str,
    counts: &'a BTreeMap<String, u64>,
) -> Vec<([(&'static str, &'a str); 1], u64)> {
    counts
        .iter()
        .map(|(name, count)| ([(label, name.as_str())], *count))
        .collect()
}
