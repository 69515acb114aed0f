//! What bodies are made of: codings, parts, charsets.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};

use super::{CLOSE, FORM, Role, SALAD, SQL, case, chunked_form, play};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

/// A form with a length and these headers, in bytes that need not be text.
fn post_bytes(role: Role, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("{headers}{CLOSE}Content-Length: {}\r\n", body.len());
    [role.post(&length, "").as_bytes(), body].concat()
}

/// nginx hands bodies on as they are; what reads them decodes.
#[test]
fn compressed_bodies() -> Result<()> {
    let in_chunks = |role: Role, size: usize| {
        let mut bytes = role
            .post(&format!("Content-Encoding: gzip\r\n{}", chunked_form()), "")
            .into_bytes();
        for part in gzip(&role.form()).chunks(size) {
            bytes.extend(format!("{:x}\r\n", part.len()).bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    };
    play(&[
        case("gzip", "sqli", |role| {
            post_bytes(
                role,
                &format!("{FORM}Content-Encoding: gzip\r\n"),
                &gzip(&role.form()),
            )
        }),
        case("x-gzip", "sqli", |role| {
            post_bytes(
                role,
                &format!("{FORM}content-encoding: X-GZIP\r\n"),
                &gzip(&role.form()),
            )
        }),
        case("gzip in chunks", "sqli", |role| in_chunks(role, 5)),
        case("gzip in chunks, by 3 bytes", "sqli", |role| in_chunks(role, 7)).by(3),
        case("not declared", "sqli", |role| {
            post_bytes(role, "", &gzip(&role.form()))
        }),
        case("declared, and plain", "900710", |role| {
            let coding = role.pick("Content-Encoding: gzip\r\n", "");
            post_bytes(role, &format!("{FORM}{coding}"), SALAD.as_bytes())
        }),
        case("cut off", "900715", |role| {
            let whole = gzip(&format!("id={}", SQL.replace('\'', "")));
            let length = role.pick(whole.len() - 12, whole.len());
            let body = role.pick(&whole[..length], &gzip(SALAD)).to_vec();
            post_bytes(role, &format!("{FORM}Content-Encoding: gzip\r\n"), &body)
        }),
    ])
}

const PARTS: &str = "--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\nVALUE\r\n--b--\r\n";

#[test]
fn ambiguous_multipart_bodies() -> Result<()> {
    const USUAL: &str = "multipart/form-data; boundary=b";
    let value = |role: Role| role.value().replace('+', " ");
    let body = |role: Role| PARTS.replace("VALUE", &value(role));
    let send = |role: Role, media: &str, body: &str| {
        post_bytes(role, &format!("Content-Type: {media}\r\n"), body.as_bytes())
    };
    let mut cases = vec![
        case("well formed", "sqli", |role| send(role, USUAL, &body(role))),
        case("as a file", "sqli", |role| {
            let named = body(role).replace("\"id\"", "\"id\"; filename=\"a.txt\"");
            send(role, USUAL, &named)
        }),
        case("a quoted boundary", "sqli", |role| {
            send(role, "Multipart/Form-Data; Boundary=\"b\"", &body(role))
        }),
        case("two boundaries", "900500", |role| {
            let media = role.pick("multipart/form-data; boundary=a; boundary=b", USUAL);
            send(role, media, &PARTS.replace("VALUE", SALAD))
        }),
        case("no boundary", "900500", |role| {
            send(
                role,
                role.pick("multipart/form-data", USUAL),
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
        case(name, sign, |role| {
            let parts = role.pick(PARTS.replacen(usual, odd, 1), PARTS.to_owned());
            send(role, USUAL, &parts.replace("VALUE", SALAD))
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
        |role: Role, media: &str, body: &[u8]| post_bytes(role, &format!("Content-Type: {media}\r\n"), body);
    let query = |role: Role, attack: &str, twin: &str| {
        let value = role.pick(attack, twin);
        format!(
            "GET /1k?{}&id={value} HTTP/1.1\r\nHost: lab\r\n{CLOSE}\r\n",
            role.mark()
        )
    };
    let mut cases: Vec<_> = ["utf-16", "UTF-7", "\"utf-32\"", "ibm037"]
        .iter()
        .map(|charset| {
            case(*charset, "900605", |role| {
                let charset = role.pick(*charset, "utf-8");
                send(
                    role,
                    &format!("text/plain; charset={charset}"),
                    "Grüße".as_bytes(),
                )
            })
        })
        .collect();
    cases.extend([
        case("UTF-16 that is not declared", "900605", |role| {
            let text = format!("{{\"id\": \"{SALAD}\"}}");
            let body = role.pick(utf16(&text), text.into_bytes());
            send(role, "application/json", &body)
        }),
        case("percent of percent", "sqli", |role| {
            query(
                role,
                "1%2527%2520union%2520select%2520password%2520from%2520users",
                "100%2525",
            )
        }),
        case("percent u", "sqli", |role| {
            query(role, "1%u0027+union+select+password+from+users", "%u00e9t%u00e9")
        }),
        case("overlong UTF-8", "sqli", |role| {
            query(role, "1%c0%a7+union+select+password+from+users", "caf%c3%a9")
        }),
        case("full width", "sqli", |role| {
            query(role, "1%ef%bc%87+union+select+password+from+users", "%ef%bc%a1")
        }),
        case("escapes of JSON", "sqli", |role| {
            let value = role.pick(
                "1\\u0027 \\u0055NION SELECT password FROM users",
                "Gr\\u00fc\\u00dfe",
            );
            send(
                role,
                "application/json",
                format!("{{\"id\": \"{value}\"}}").as_bytes(),
            )
        }),
    ]);
    play(&cases)
}
