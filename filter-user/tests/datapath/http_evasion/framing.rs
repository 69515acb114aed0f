//! Where one request ends and the next begins: lengths, chunks and trailers.

use anyhow::Result;

use super::{CHUNKED, CLOSE, FORM, Role, case, chunk, chunked_form, one_chunk, play, post_before};

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
        case(header, "sqli", |role| {
            post_before(&format!("{header}\r\n"), "0\r\n\r\n") + &role.get()
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
    let mut cases: Vec<_> = headers
        .iter()
        .map(|header| {
            case(*header, "sqli", |role| {
                post_before(&format!("{header}\r\n"), "q=ab") + &role.get()
            })
            .answers(2)
        })
        .collect();
    cases.push(
        case("an empty line behind it", "sqli", |role| {
            post_before("Content-Length: 4\r\n", "q=ab\r\n") + &role.get()
        })
        .answers(2),
    );
    // nginx passes over headers with an underscore, in which others read a hyphen.
    cases.push(
        case("Content_Length alone", "sqli", |role| {
            post_before("Content_Length: 200\r\n", "") + &role.get()
        })
        .answers(2),
    );
    play(&cases)
}

#[test]
fn requests_behind_bodies_that_gets_have() -> Result<()> {
    let get = |headers: &str, body: &str| format!("GET /1k HTTP/1.1\r\nHost: lab\r\n{headers}\r\n{body}");
    play(&[
        case("a length", "sqli", |role| {
            get("Content-Length: 4\r\n", "q=ab") + &role.get()
        })
        .answers(2),
        case("chunks", "sqli", |role| {
            get(CHUNKED, &one_chunk("q=ab")) + &role.get()
        })
        .answers(2),
        case("the attack in the body", "sqli", |role| {
            let body = role.form();
            let length = body.len();
            format!(
                "GET /1k?{} HTTP/1.1\r\nHost: lab\r\n{FORM}{CLOSE}Content-Length: {length}\r\n\r\n{body}",
                role.mark()
            )
        }),
    ])
}

#[test]
fn bodies_in_unusual_chunks() -> Result<()> {
    let padded = |role: Role| format!("{}{}", role.form(), "a".repeat(0xab - role.form().len()));
    play(&[
        case("one byte each", "sqli", |role| {
            let chunks: String = role.form().chars().map(|byte| chunk(&byte.to_string())).collect();
            role.post(&chunked_form(), &format!("{chunks}0\r\n\r\n"))
        }),
        case("leading zeros", "sqli", |role| {
            let body = role.form();
            role.post(
                &chunked_form(),
                &format!("{:012x}\r\n{body}\r\n000\r\n\r\n", body.len()),
            )
        }),
        case("capitals", "sqli", |role| {
            role.post(&chunked_form(), &format!("AB\r\n{}\r\n0\r\n\r\n", padded(role)))
        }),
        case("both cases", "sqli", |role| {
            role.post(&chunked_form(), &format!("aB\r\n{}\r\n0\r\n\r\n", padded(role)))
        }),
    ])
}

#[test]
fn chunk_extensions() -> Result<()> {
    let extended = |role: Role, extension: &str| {
        let body = role.form();
        let size = body.len();
        role.post(
            &chunked_form(),
            &format!("{size:x}{extension}\r\n{body}\r\n0{extension}\r\n\r\n"),
        )
    };
    let plain = [";", ";a", ";a=b;c=d", ";a=\"b;c\""];
    let mut cases: Vec<_> = plain
        .iter()
        .map(|extension| case(*extension, "sqli", |role| extended(role, extension)))
        .collect();
    // nginx takes the LF for the end of the line, others do not.
    cases.push(
        case("LF in an extension", "900360", |role| {
            let end = role.pick("\n", "\r\n");
            post_before(CHUNKED, &format!("2;{end}xx\r\n0\r\n\r\n")) + &role.get()
        })
        .answers(2),
    );
    cases.push(case("longer than allowed", "900360", |role| {
        let length = role.pick(300, 200);
        let extension = format!(";a={}", "b".repeat(length));
        role.post(&chunked_form(), &format!("2{extension}\r\nxx\r\n0\r\n\r\n"))
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
        case(name, "900360", |role| {
            role.post(&chunked_form(), role.pick(body, "2\r\nxx\r\n0\r\n\r\n"))
        })
    });
    play(&cases)
}

#[test]
fn trailers() -> Result<()> {
    let trailed = |role: Role, trailer: &str| {
        role.post(
            &chunked_form(),
            &format!("{}0\r\n{trailer}\r\n\r\n", chunk("q=a")),
        )
    };
    let mut cases = vec![
        case("an attack in one", "sqli", |role| {
            trailed(role, &format!("X-Note: {}", role.value().replace('+', " ")))
        }),
        case("behind LF alone", "sqli", |role| {
            let body = format!("{}0\r\nX-Note: a\n\n", chunk("q=a"));
            post_before(CHUNKED, &body) + &role.get()
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
        case(trailer, sign, |role| {
            trailed(role, role.pick(trailer, "X-Checksum: 5"))
        })
    }));
    play(&cases)
}
