//! All calls of the API.

use serde_json::json;

use super::{
    Message, PATH,
    operation::{Operation, Schemas},
};
use crate::{
    api::{
        Done,
        access::Asker,
        allows::{Allows, NewAllow},
        blocks::{Blocks, NewBlock},
        check::{BatchOf, Judged, Results},
        exclusions::Exclusions,
        feeds::{Feeds, Wanted},
        health::Health,
        history::History,
        reload::Trial,
        requests::Requests,
        router::{Alerts, Jobs, Sources},
    },
    config::Config,
    control::{ExclusionEntry, MAX_PAGE, ModelStatus, NewExclusion, Reloaded, RulesStatus, Status},
    live::{Told, Topic},
    scan::CheckedRequest,
};

/// Of requests.
const DECISIONS: [&str; 3] = ["allow", "suspicious", "block"];
const TARGET: &str =
    "An address or a block of addresses: `192.0.2.7`, `2001:db8::/32`; its slash is a slash.";

pub(super) fn all(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = state(schemas);
    all.extend(chronicle(schemas));
    all.extend(lists(schemas));
    all.extend(checks(schemas));
    all.extend(reloads(schemas));
    all.push(events(schemas));
    all
}

fn state(s: &mut Schemas) -> Vec<Operation> {
    vec![
        Operation::get(s, "/health", "Each part of the engine")
            .json::<Health>(s, 200, "it works, if perhaps not as was asked for")
            .json::<Health>(s, 503, "a part does not work"),
        Operation::get(s, "/ready", "The same, for balancers")
            .json::<Health>(s, 200, "the engine filters")
            .json::<Health>(s, 503, "it does not"),
        Operation::get(s, "/metrics", "What Prometheus reads").text("metrics", "text/plain"),
        Operation::get(s, PATH, "This document").json::<serde_json::Map<String, serde_json::Value>>(
            s,
            200,
            "OpenAPI 3.1",
        ),
        Operation::get(s, "/v1/access", "Who asks, and what they may").json::<Asker>(
            s,
            200,
            "a name and a role",
        ),
        Operation::get(s, "/v1/stats", "The state of the engine").json::<Status>(
            s,
            200,
            "counters and levels",
        ),
        Operation::get(s, "/v1/rules", "The rules in force").json::<RulesStatus>(s, 200, "rules"),
        Operation::get(s, "/v1/config", "The configuration in force, without secrets").json::<Config>(
            s,
            200,
            "every key",
        ),
        Operation::get(s, "/v1/model", "The model in force").json::<ModelStatus>(
            s,
            200,
            "a model, or why there is none",
        ),
    ]
}

fn chronicle(s: &mut Schemas) -> Vec<Operation> {
    let limited = |operation: Operation, s: &mut Schemas| {
        let limit = json!({ "type": "integer", "minimum": 0 });
        operation
            .query("limit", "At most so many; never more than 1000.", &limit)
            .problem(s, 400, "no such selection")
    };
    let history = Operation::get(s, "/v1/history", "How the engine has done lately")
        .query(
            "resolution",
            "300 seconds, or 1440 minutes.",
            &json!({ "enum": ["second", "minute"] }),
        )
        .json::<History>(s, 200, "points, the oldest first")
        .problem(s, 400, "no such resolution");
    let requests = Operation::get(
        s,
        "/v1/requests",
        "The last requests that were not simply allowed",
    )
    .query(
        "client",
        "Of clients in this block of addresses.",
        &json!({ "type": "string" }),
    )
    .query(
        "decision",
        "Decided like this or worse.",
        &json!({ "enum": DECISIONS }),
    )
    .json::<Requests>(s, 200, "requests, the latest first");
    let request = Operation::get(s, "/v1/requests/{id}", "One of them")
        .part("id", "The number on its page.")
        .json::<Message<Told>>(s, 200, "a request")
        .problem(s, 400, "no number")
        .problem(s, 404, "it is not kept in memory");
    let sources = Operation::get(s, "/v1/sources", "Sources with a reputation").json::<Sources>(
        s,
        200,
        "the worst first",
    );
    vec![
        history,
        limited(requests, s),
        request,
        limited(sources, s),
        Operation::get(s, "/v1/alerts", "All alerts, on or off").json::<Alerts>(s, 200, "alerts"),
        Operation::get(s, "/v1/jobs", "What is done now and then").json::<Jobs>(s, 200, "jobs"),
    ]
}

fn lists(s: &mut Schemas) -> Vec<Operation> {
    let page = |operation: Operation, s: &mut Schemas| {
        operation
            .query("after", "Those behind this one.", &json!({ "type": "string" }))
            .query(
                "limit",
                &format!("At most so many; never more than {MAX_PAGE}."),
                &json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            )
            .problem(s, 400, "no such page")
    };
    let added = |operation: Operation, s: &mut Schemas| {
        operation
            .json::<Done>(s, 201, "done")
            .problem(s, 403, "the target holds an address that must not be blocked")
            .problem(s, 415, "the body is not sent as application/json")
            .problem(s, 507, "a table is full")
    };
    let removed = |operation: Operation, s: &mut Schemas| {
        operation
            .part("target", TARGET)
            .json::<Done>(s, 200, "done")
            .problem(s, 400, "no address")
            .problem(s, 404, "there is no such entry")
    };
    let mut all = Vec::new();
    let blocks =
        Operation::get(s, "/v1/blocks", "Blocked sources, in order").json::<Blocks>(s, 200, "a page");
    all.push(page(blocks, s));
    let block = Operation::post(s, "/v1/blocks", "Blocks a source").body::<NewBlock>(s, true);
    all.push(added(block, s));
    all.push(removed(
        Operation::delete(s, "/v1/blocks/{target}", "Ends a block"),
        s,
    ));
    let allows = Operation::get(s, "/v1/allows", "Sources that always pass").json::<Allows>(s, 200, "a page");
    all.push(page(allows, s));
    let allow = Operation::post(s, "/v1/allows", "Lets a source always pass").body::<NewAllow>(s, true);
    all.push(added(allow, s));
    all.push(removed(
        Operation::delete(s, "/v1/allows/{target}", "Lets it pass no more than others"),
        s,
    ));
    all.push(
        Operation::get(
            s,
            "/v1/exclusions",
            "Hits that do not count, made while the engine runs",
        )
        .json::<Exclusions>(s, 200, "those in force"),
    );
    all.push(
        Operation::post(s, "/v1/exclusions", "Lets hits not count")
            .body::<NewExclusion>(s, true)
            .json::<ExclusionEntry>(s, 201, "it is in force")
            .problem(s, 409, "a reload is on trial")
            .problem(s, 415, "the body is not sent as application/json")
            .problem(s, 422, "no such rule, or JSON of another form")
            .problem(s, 507, "there are 256 already"),
    );
    all.push(
        Operation::delete(s, "/v1/exclusions/{id}", "Lets them count again")
            .part("id", "Its number.")
            .json::<Done>(s, 200, "it has ended")
            .problem(s, 400, "no number")
            .problem(s, 404, "there is none of this number")
            .problem(s, 409, "a reload is on trial"),
    );
    all.push(Operation::get(s, "/v1/feeds", "Lists that others keep").json::<Feeds>(s, 200, "feeds"));
    all.push(
        Operation::post(s, "/v1/feeds/refresh", "Fetches one, or all")
            .body::<Wanted>(s, false)
            .json::<Done>(s, 200, "they are fetched")
            .problem(s, 404, "there is no such feed")
            .problem(s, 415, "the body is not sent as application/json"),
    );
    all
}

fn checks(s: &mut Schemas) -> Vec<Operation> {
    let check = |operation: Operation, s: &mut Schemas| {
        operation
            .for_viewers()
            .problem_for_now(s, 429, "rate_limited")
            .problem_for_now(s, 503, "queue_full or deadline_exceeded")
    };
    let one = Operation::post(s, "/v1/check", "Judges a request as those on the wire are")
        .body::<CheckedRequest>(s, true)
        .json::<Judged>(s, 200, "a judgement");
    let batch = Operation::post(s, "/v1/check/batch", "Judges several")
        .body::<BatchOf<CheckedRequest>>(s, true)
        .json::<Results>(s, 200, "judgements, in their order");
    vec![check(one, s), check(batch, s)]
}

fn reloads(s: &mut Schemas) -> Vec<Operation> {
    let reload = Operation::post(
        s,
        "/v1/reload",
        "Reads rules and settings again, for good or on trial",
    )
    .body::<Trial>(s, false)
    .query(
        "dry_run",
        "Only say what would change.",
        &json!({ "type": "boolean" }),
    )
    .json::<Reloaded>(s, 200, "what is in force, and what waits for the next start")
    .problem(s, 409, "a reload is on trial already")
    .problem(s, 415, "the body is not sent as application/json")
    .problem(s, 422, "rules or settings on disk are wrong; those in force stay");
    let ended = |operation: Operation, s: &mut Schemas| {
        operation
            .json::<Done>(s, 200, "done")
            .problem(s, 404, "none is on trial")
    };
    let confirm = Operation::post(s, "/v1/reload/confirm", "What is on trial stays");
    let revert = Operation::post(s, "/v1/reload/revert", "What is on trial goes");
    vec![reload, ended(confirm, s), ended(revert, s)]
}

fn events(s: &mut Schemas) -> Operation {
    let topics = Topic::ALL.map(Topic::name).join(", ");
    Operation::get(
        s,
        "/v1/events",
        "What happens, as it happens: a WebSocket, or Server-Sent Events",
    )
    .query(
        "topics",
        &format!("Topics with commas between them: {topics}. Messages about `verdicts` are those of /v1/requests, of `stats` the points of /v1/history."),
        &json!({ "type": "string" }),
    )
    .query(
        "client",
        "Only messages about clients and sources in this block of addresses.",
        &json!({ "type": "string" }),
    )
    .query(
        "decision",
        "Of requests, those decided like this or worse.",
        &json!({ "enum": DECISIONS }),
    )
    .query(
        "after",
        "From behind the message with this number.",
        &json!({ "type": "integer", "minimum": 0 }),
    )
    .text("messages, as they come", "text/event-stream")
    .problem(s, 400, "no such topic, client or decision, or no WebSocket")
    .problem(s, 426, "another upgrade than to a WebSocket of version 13")
    .problem_for_now(s, 503, "all places are taken")
}
