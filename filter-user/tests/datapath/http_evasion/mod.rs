//! Tricks with which a client shows a filter other requests than the server reads, by the HTTP in its stream.
//!
//! Every trick is played four times: without the engine an attack and its benign twin must be answered by nginx, or the
//! trick is none; with the engine the twin must be answered as before, and the attack by the engine, for the reason that
//! is expected. Lengths beside chunks, obfuscated or repeated framing headers, folded lines, spaces before colons, chunk sizes
//! beyond 64 bits, CONNECT and authorities as targets nginx refuses by itself: `framing.rs` of filter-score has those.
//!
//! | module | what it plays with |
//! |---|---|
//! | [`framing`] | where one request ends and the next begins |
//! | [`heads`] | request lines, targets, header lines, pipelines |
//! | [`protocols`] | upgrades, HTTP/2 without TLS, HTTP/0.9 |
//! | [`bodies`] | codings, parts and charsets of bodies |
//! | [`pace`] | requests that take too long |

mod bodies;
mod framing;
mod heads;
mod pace;
mod protocols;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::lab::{RawTcp, wait::wait_for};

use crate::support::{
    SOON,
    engine::RunningEngine,
    site::{self, Site},
    trick::in_two_runs,
};

const SQL: &str = "1'+UNION+SELECT+password+FROM+users--";
const SALAD: &str = "1.+Onions+salad+with+pepper+and+oil..";
/// What only attacks have in their request lines.
const MARK: &str = "run=1";

/// A request that stands before others.
const FIRST: &str = "GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n";

const CLOSE: &str = "Connection: close\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// Failures are refused, and no source is blocked, so that every request is judged by itself.
const SETTINGS: [&str; 2] = ["engine.on_failure=drop", "reputation.threshold=1000000"];

/// How long to wait for an answer that need not come.
const NOTHING: Duration = Duration::from_secs(1);

/// Which side of a trick is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Attack,
    Twin,
}

impl Role {
    fn pick<T>(self, attack: T, twin: T) -> T {
        match self {
            Self::Attack => attack,
            Self::Twin => twin,
        }
    }

    /// What nginx's log tells attack and twin by.
    fn mark(self) -> &'static str {
        self.pick(MARK, "run=2")
    }

    fn value(self) -> &'static str {
        self.pick(SQL, SALAD)
    }

    fn target(self) -> String {
        format!("/1k?{}&id={}", self.mark(), self.value())
    }

    /// A request whose query is the attack; it ends the connection.
    fn get(self) -> String {
        format!("GET {} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n", self.target())
    }

    /// A request with a line of its own among the headers; it ends the connection.
    fn get_with(self, line: &str) -> String {
        format!(
            "GET /1k?{} HTTP/1.1\r\nHost: lab\r\n{line}\r\n{CLOSE}\r\n",
            self.mark()
        )
    }

    /// A request whose body follows; with `headers`, which end in CRLF.
    fn post(self, headers: &str, body: &str) -> String {
        format!(
            "POST /sink?{} HTTP/1.1\r\nHost: lab\r\n{headers}\r\n{body}",
            self.mark()
        )
    }

    /// A form whose field is the attack.
    fn form(self) -> String {
        format!("id={}", self.value())
    }
}

/// A request that only comes before the others.
fn post_before(headers: &str, body: &str) -> String {
    format!("POST /sink HTTP/1.1\r\nHost: lab\r\n{headers}\r\n{body}")
}

/// A trick: what is sent, how, and what is to come of it.
struct Case {
    name: String,
    /// What the engine's log says of the attack: a family, or a rule's id.
    sign: &'static str,
    streams: [Vec<u8>; 2],
    /// Bytes of a segment.
    segment: usize,
    /// How many answers either has without the engine.
    answers: usize,
    /// The answer to the attack by which nginx refuses what stands before it, and reads on.
    refusal: Option<usize>,
}

/// Both streams of a trick, sent in as few segments as they have room in.
fn case<B: Into<Vec<u8>>>(name: impl Into<String>, sign: &'static str, bytes: impl Fn(Role) -> B) -> Case {
    Case {
        name: name.into(),
        sign,
        streams: [Role::Attack, Role::Twin].map(|role| bytes(role).into()),
        segment: 1400,
        answers: 1,
        refusal: None,
    }
}

impl Case {
    fn by(self, segment: usize) -> Self {
        Self { segment, ..self }
    }

    fn answers(self, each: usize) -> Self {
        Self {
            answers: each,
            ..self
        }
    }

    fn with_refusal(self, number: usize) -> Self {
        Self {
            refusal: Some(number),
            ..self
        }
    }

    fn send(&self, site: &Site, server: SocketAddr, role: Role) -> Result<RawTcp> {
        let mut client = RawTcp::connect(&site.lab, server)?;
        for segment in self.streams[role as usize].chunks(self.segment) {
            client.send(segment)?;
        }
        Ok(client)
    }

    /// nginx answers everything.
    fn answered(&self, site: &Site, server: SocketAddr, role: Role) -> Result<()> {
        let context = || format!("{}: {role:?} to {server}", self.name);
        let mut client = self.send(site, server, role).with_context(context)?;
        for number in 0..self.answers {
            let answer = client.response(SOON).with_context(context)?;
            let refusal = role == Role::Attack && self.refusal == Some(number);
            ensure!(refusal != (answer.status == 200), "{}: {answer:?}", context());
        }
        Ok(())
    }

    /// The engine answers in nginx's place, if it can: where nginx is just sending answers to what came before, its page may
    /// come too late to have a place in the stream ("Limits to know" of the architecture).
    fn refused(&self, site: &Site, server: SocketAddr) -> Result<()> {
        let context = || format!("{}: the attack to {server}", self.name);
        let mut client = self.send(site, server, Role::Attack).with_context(context)?;
        let races = self.answers > 1 && self.streams[Role::Attack as usize].len() > self.segment;
        for _ in 0..self.answers {
            match client.response(if races { NOTHING } else { SOON }) {
                Ok(answer) if answer.status == 403 => return Ok(()),
                Ok(_) => {}
                Err(_) if races => return Ok(()),
                Err(error) => return Err(error.context(context())),
            }
        }
        bail!("{}: only nginx answered", context());
    }

    /// The engine's log has this many attacks, the last for the right reason.
    fn logged(&self, engine: &RunningEngine, attacks: usize) -> Result<()> {
        let blocks = wait_for("the attack in the log", SOON, || {
            let mut lines: Vec<_> = engine.log().lines().map(str::to_owned).collect();
            lines.retain(|line| line.contains(" block "));
            (lines.len() >= attacks).then_some(lines)
        })?;
        let last = blocks.last().map(String::as_str).unwrap_or_default();
        ensure!(
            blocks.len() == attacks && last.contains(self.sign),
            "{}: {attacks} attacks, and the last for {}: {blocks:#?}",
            self.name,
            self.sign
        );
        Ok(())
    }
}

/// Plays tricks over IPv4 and IPv6, without the engine and with it.
fn play(cases: &[Case]) -> Result<()> {
    play_under(&SETTINGS, cases)
}

/// The same with other settings of the engine.
fn play_under(settings: &[&str], cases: &[Case]) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let servers = site::nginx();
    let without = || {
        for case in cases {
            for server in servers {
                case.answered(&site, server, Role::Attack)?;
                case.answered(&site, server, Role::Twin)?;
            }
        }
        Ok(cases.len() * servers.len())
    };
    let with = |engine: &RunningEngine| {
        let mut attacks = 0;
        for case in cases {
            for server in servers {
                case.answered(&site, server, Role::Twin)?;
                case.refused(&site, server)?;
                attacks += 1;
                case.logged(engine, attacks)?;
            }
        }
        Ok(())
    };
    in_two_runs(&site, MARK, settings, without, with)
}

fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}

/// A body in one chunk.
fn one_chunk(body: &str) -> String {
    chunk(body) + "0\r\n\r\n"
}

/// Headers of a form of chunks that ends the connection.
fn chunked_form() -> String {
    format!("{CHUNKED}{FORM}{CLOSE}")
}
