//! What is told of a request that was not simply allowed.

use std::net::{IpAddr, SocketAddr};

use filter_score::{Family, OwnedDecision, OwnedExclusion, OwnedHit, OwnedInference, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    evidence,
    secrets::{mask_head, mask_line},
};
use crate::engine::Event;

/// A decision for people to read, without the request's secrets.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The number on the page.
    pub request_id: String,
    /// What was decided.
    pub decision: Verdict,
    /// Whether decisions are carried out.
    pub enforced: bool,
    /// Who sent the request.
    pub client: IpAddr,
    /// Through which proxy, if another address sent the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<IpAddr>,
    /// Where the packets came from.
    pub source: SocketAddr,
    /// Where they were going.
    pub destination: SocketAddr,
    /// Of rules, model and baseline together, 0 to 1.
    pub score: f32,
    /// Sum of the severities of the rules that hit.
    pub anomaly: u32,
    /// Families of the rules that count.
    pub categories: Vec<Family>,
    /// What hit.
    pub rules: Vec<OwnedHit>,
    /// What the model suspects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<OwnedInference>,
    /// What hit and does not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<OwnedExclusion>,
    /// One line for a person.
    pub explanation: String,
    /// The start of the request line.
    pub request_line: String,
    /// The head up to where the decision fell, at most 1024 bytes of it.
    pub head: String,
    /// Bytes up to where the decision fell.
    pub bytes: u64,
    /// Whether the request had ended.
    pub complete: bool,
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        let Event {
            request_id,
            flow,
            client,
            decision,
            enforced,
            ..
        } = event;
        let OwnedDecision {
            decision,
            score,
            anomaly,
            categories,
            mut rules,
            model,
            mut excluded,
            mut explanation,
            request_line,
            head,
            bytes,
            complete,
        } = decision;
        let mut model = model;
        let kept_back = keep_back(&mut rules, &mut excluded, model.as_mut());
        if kept_back {
            explanation = explain_again(&rules, model.as_ref());
        }
        let peer = IpAddr::from(flow.source);
        Self {
            request_id: format!("{request_id:016x}"),
            decision,
            enforced,
            client,
            proxy: (peer != client).then_some(peer),
            source: SocketAddr::new(peer, flow.source_port),
            destination: SocketAddr::new(flow.destination.into(), flow.destination_port),
            score,
            anomaly,
            categories,
            rules,
            model,
            excluded,
            explanation,
            request_line: mask_line(&request_line),
            head: mask_head(&head),
            bytes,
            complete,
        }
    }
}

/// What was found in a secret is not shown: it may be all of it. Returns whether there was any.
fn keep_back(
    rules: &mut [OwnedHit],
    excluded: &mut [OwnedExclusion],
    model: Option<&mut OwnedInference>,
) -> bool {
    let mut any = false;
    let excluded = excluded.iter_mut().map(|exclusion| &mut exclusion.hit);
    for hit in rules.iter_mut().chain(excluded) {
        if let Some(shown) = evidence::instead(&hit.target, &hit.matched) {
            hit.matched = shown;
            any = true;
        }
    }
    if let Some(model) = model.filter(|model| evidence::is_kept_back(&model.target)) {
        model.ngrams.clear();
        any = true;
    }
    any
}

/// The explanation without what was found.
fn explain_again(rules: &[OwnedHit], model: Option<&OwnedInference>) -> String {
    let told = |hit: &OwnedHit| {
        let OwnedHit {
            message,
            family,
            id,
            target,
            ..
        } = hit;
        format!("{message} [{} {id}] in {target}", family.name())
    };
    let hits = rules.iter().map(told);
    let model = model.map(|model| format!("Model {:.2} in {}", model.score, model.target));
    hits.chain(model).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use filter_common::FlowKey;
    use filter_score::{Model, OfflineScorer, Policy, RuleSet, builtin_packs};

    use super::*;

    fn told(request: &str) -> Told {
        let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
        let model = Model::builtin().expect("the built-in model is sound");
        let rules = Arc::new(rules.with_model(Some(Arc::new(model))));
        let mut scorer = OfflineScorer::new(rules, Policy::default());
        let decision = scorer.score_request(request.as_bytes());
        assert_eq!(decision.decision, Verdict::Block, "{request}");
        Told::from(Event {
            request_id: 0xab,
            time_ns: 0,
            flow: FlowKey {
                source: IpAddr::from([192, 0, 2, 1]).into(),
                destination: IpAddr::from([192, 0, 2, 2]).into(),
                source_port: 4000,
                destination_port: 80,
                protocol: 6,
                vlan: [0; 3],
            },
            client: IpAddr::from([198, 51, 100, 7]),
            decision,
            enforced: true,
        })
    }

    #[test]
    fn an_attack_is_told_with_its_head_and_without_secrets() {
        let attack = "1'+UNION+SELECT+card+FROM+users--";
        for (request, is_secret) in [
            (
                format!("GET /?id={attack} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3\r\n\r\n"),
                false,
            ),
            (
                format!("GET /?password={attack} HTTP/1.1\r\nHost: x\r\n\r\n"),
                true,
            ),
            (
                format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: id={attack}\r\n\r\n"),
                true,
            ),
        ] {
            let told = told(&request);
            let text = serde_json::to_string(&told).expect("JSON");
            assert_eq!(!text.contains("UNION"), is_secret, "{text}");
            assert!(!text.contains("s3"), "{text}");
            assert!(told.head.starts_with("GET /"), "{}", told.head);
            assert_eq!(told.proxy, Some([192, 0, 2, 1].into()));
            assert_eq!(told.request_id, "00000000000000ab");
        }
    }

    /// Whatever has no name may be somebody's password.
    #[test]
    fn of_what_has_no_name_the_attack_alone_is_told() {
        for (kind, body) in [
            (
                "text/xml",
                "<login><password>hunter2' UNION SELECT swordfish FROM users--</password></login>",
            ),
            (
                "application/json",
                r#"{"passwords": ["hunter2' UNION SELECT swordfish FROM users--"]}"#,
            ),
            (
                "application/json",
                r#"{"password": {"value": "hunter2' UNION SELECT swordfish FROM users--"}}"#,
            ),
            ("text/plain", "hunter2' UNION SELECT swordfish FROM users--"),
        ] {
            let told = told(&format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            let text = serde_json::to_string(&told).expect("JSON");
            assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
            assert!(text.contains("UNION") || text.contains("***"), "{text}");
        }
    }
}
