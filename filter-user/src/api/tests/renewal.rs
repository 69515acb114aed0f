//! Tokens that are replaced while their bearers are there.

use tungstenite::{WebSocket, client::IntoClientRequest as _};

use super::*;
use crate::live::Topic;

fn listen(served: &Served, token: &str) -> WebSocket<TcpStream> {
    let mut request = "ws://localhost/v1/events"
        .into_client_request()
        .expect("a request");
    let protocols = format!("portcullis, bearer.{token}").parse().expect("a value");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocols);
    let stream = TcpStream::connect(served.address.expect("an address")).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .expect("a timeout");
    tungstenite::client(request, stream).expect("a web socket").0
}

#[test]
fn a_token_is_replaced_and_its_streams_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second, other) = ("1".repeat(40), "2".repeat(40), "3".repeat(40));
    let page = |text: &str| token(directory.path(), "page", config::Role::Viewer, text);
    let kept = token(directory.path(), "kept", config::Role::Operator, &other);
    let settings = config::Api {
        listen: vec![([127, 0, 0, 1], 0).into()],
        tokens: vec![page(&first), kept.clone()],
        ..config::Api::default()
    };
    let served = served(&settings);
    let ask = |token: &str, path: &str| {
        let mut stream = TcpStream::connect(served.address.expect("an address")).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .expect("a timeout");
        let request = request("GET", path, &format!("Authorization: Bearer {token}\r\n"), "");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    };
    let status = |token: &str| {
        let mut answer = String::new();
        ask(token, "/health")
            .read_to_string(&mut answer)
            .expect("an answer");
        status_of(&answer)
    };
    assert_eq!((status(&first), status(&second), status(&other)), (200, 401, 200));
    let mut ends = listen(&served, &first);
    let mut goes_on = listen(&served, &other);
    let mut events = ask(&first, "/v1/events");
    let mut start = [0; 12];
    events.read_exact(&mut start).expect("an answer begins");
    assert_eq!(&start, b"HTTP/1.1 200");

    // A file that is no token changes nothing.
    page("short");
    let error = served.renew(&settings).expect_err("no token").to_string();
    assert!(error.contains("page is not one line of 32 to 512"), "{error}");
    assert_eq!((status(&first), status(&second)), (200, 401));

    page(&second);
    assert_eq!(served.renew(&settings).expect("right"), ["token page"]);
    assert_eq!((status(&first), status(&second), status(&other)), (401, 200, 200));
    assert!(ends.read().is_err() || !ends.can_read());
    let mut rest = Vec::new();
    events.read_to_end(&mut rest).expect("it ends");
    served
        .engine
        .chronicle
        .hub
        .tell(Topic::Stats, &serde_json::json!({ "n": 7 }));
    let message = goes_on.read().expect("a message").into_text().expect("a text");
    assert!(message.contains("\"n\":7"), "{message}");

    // One that is taken off the configuration is not known any more, whatever its file says.
    let without = config::Api {
        tokens: vec![kept],
        ..settings
    };
    assert!(served.renew(&without).expect("right").is_empty());
    assert_eq!((status(&second), status(&other)), (401, 200));
}
