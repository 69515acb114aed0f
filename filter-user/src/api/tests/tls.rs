//! Clients that come by TLS.

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName},
};
use tungstenite::client::IntoClientRequest as _;

use super::*;
use crate::live::Topic;

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\r\n";
/// Longer than anything here takes, also on a slow machine.
const LONG: Duration = Duration::from_mins(1);

/// Settings for one address with TLS, and what they name, in a directory.
fn settings(directory: &Path) -> config::Api {
    config::Api {
        listen: vec![([127, 0, 0, 1], 0).into()],
        tokens: vec![token(directory, "page", config::Role::Viewer, TOKEN)],
        tls: config::Tls {
            certificate: Some(directory.join("api.pem")),
            key: Some(directory.join("api.key")),
        },
        timeout_s: 60,
        ..config::Api::default()
    }
}

/// Puts another certificate with its key there.
fn issue(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    std::fs::write(directory.join("api.pem"), made.cert.pem()).expect("written");
    write_secret(&directory.join("api.key"), &made.signing_key.serialize_pem());
    made.cert.into()
}

fn tcp(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.address.expect("an address")).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    stream
}

/// What a client sends that trusts this certificate alone.
fn encrypted(served: &Served, trusted: &CertificateDer<'static>) -> Encrypted {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(client, tcp(served))
}

/// The status of an answer, whose connection stays open.
fn ask(stream: &mut Encrypted) -> io::Result<u16> {
    stream.write_all(HEALTH.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // A JSON object at the end of it.
    while !answer.ends_with(b"}") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(status_of(&String::from_utf8_lossy(&answer)))
}

#[test]
fn requests_and_web_sockets_are_encrypted() {
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = issue(directory.path());
    let served = served(&settings(directory.path()));
    let mut stream = encrypted(&served, &trusted);
    assert_eq!(ask(&mut stream).expect("an answer"), 200);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));

    let mut request = "ws://localhost/v1/events?topics=stats"
        .into_client_request()
        .expect("a request");
    let protocols = format!("portcullis, bearer.{TOKEN}").parse().expect("a value");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocols);
    let (mut socket, _) = tungstenite::client(request, encrypted(&served, &trusted)).expect("a web socket");
    served
        .engine
        .chronicle
        .hub
        .tell(Topic::Stats, &serde_json::json!({ "n": 7 }));
    let message = socket.read().expect("a message").into_text().expect("a text");
    assert!(message.contains("\"n\":7"), "{message}");
    // On the Unix socket nothing is encrypted.
    assert_eq!(served.get("/health").0, 200);
}

#[test]
fn who_does_not_speak_tls_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = issue(directory.path());
    let served = served(&settings(directory.path()));
    let mut stream = tcp(&served);
    stream.write_all(HEALTH.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(status_of(&answer), 400);
    assert!(answer.contains("ask with https://"), "{answer}");
    // What is neither gets an alert, or nothing.
    let mut stream = tcp(&served);
    stream.write_all(&[22, 3, 1, 255, 255, 0, 0]).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // And who trusts another certificate gets no answer.
    let elsewhere = tempfile::tempdir().expect("a directory");
    assert!(ask(&mut encrypted(&served, &issue(elsewhere.path()))).is_err());
    assert_eq!(ask(&mut encrypted(&served, &trusted)).expect("an answer"), 200);
}

#[test]
fn who_opens_and_says_nothing_holds_up_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = issue(directory.path());
    let two = config::Api {
        connections: 2,
        ..settings(directory.path())
    };
    let served = served(&two);
    let began = Instant::now();
    let _silent = tcp(&served);
    assert_eq!(ask(&mut encrypted(&served, &trusted)).expect("an answer"), 200);
    assert!(began.elapsed() < LONG);

    // The only place is free again when the time is over.
    let one = config::Api {
        connections: 1,
        timeout_s: 1,
        ..settings(directory.path())
    };
    let served = self::served(&one);
    let mut silent = tcp(&served);
    let mut half = tcp(&served);
    half.write_all(&[22, 3, 1]).expect("sent");
    assert_eq!(ask(&mut encrypted(&served, &trusted)).expect("an answer"), 200);
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it was ended");
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn another_certificate_is_taken_in_and_a_broken_one_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = issue(directory.path());
    let settings = settings(directory.path());
    let served = served(&settings);
    let mut old = encrypted(&served, &first);
    assert_eq!(ask(&mut old).expect("an answer"), 200);
    assert!(served.renew(&settings).expect("as it was").is_empty());

    let second = issue(directory.path());
    assert_eq!(served.renew(&settings).expect("another one"), ["certificate"]);
    assert_eq!(ask(&mut encrypted(&served, &second)).expect("an answer"), 200);
    assert!(ask(&mut encrypted(&served, &first)).is_err());
    // Who was there goes on.
    assert_eq!(ask(&mut old).expect("an answer"), 200);

    let key = std::fs::read_to_string(directory.path().join("api.key")).expect("read");
    issue(directory.path());
    write_secret(&directory.path().join("api.key"), &key);
    let error = served.renew(&settings).expect_err("of two pairs").to_string();
    assert!(
        error.contains("cannot be used with the key") && error.contains("fix: "),
        "{error}"
    );
    assert_eq!(ask(&mut encrypted(&served, &second)).expect("an answer"), 200);

    // It can be switched off, too.
    let plain = config::Api {
        tls: config::Tls::default(),
        ..settings
    };
    served.renew(&plain).expect("none");
    let mut stream = tcp(&served);
    let request = HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(status_of(&answer), 200);
}
