//! Feeds from an HTTP server on loopback, as they are and as they should not be.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use filter_user::{
    config::Feed,
    feed::{FeedError, Fetched, Fetcher, Validators, parse},
};

/// What the server has under a path: status line and further headers, and the body.
type Pages = BTreeMap<&'static str, (&'static str, Vec<u8>)>;

/// A server that ends with the process.
struct Server {
    address: SocketAddr,
    /// The heads of all requests.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(pages: Pages) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, seen) = (pages.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    // Whoever has had enough goes.
                    let _ = answer(stream, &pages, &seen);
                });
            }
        });
        Self { address, heads }
    }

    fn feed(&self, path: &str, settings: &str) -> Feed {
        let text = format!("name = 'a'\nsource = 'http://{}{path}'\n{settings}", self.address);
        toml::from_str(&text).expect("a feed")
    }
}

fn answer(stream: TcpStream, pages: &Pages, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut read = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if read.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let knows = head.to_ascii_lowercase().contains("if-none-match: \"1\"");
    seen.lock().expect("no panic").push(head);
    let mut out = stream;
    let (status, body) = match pages.get(path.as_str()) {
        Some(_) if path == "/tagged" && knows => ("304 Not Modified", &Vec::new()),
        Some((status, body)) => (*status, body),
        None => ("404 Not Found", &Vec::new()),
    };
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if path == "/slow" {
        for byte in body {
            out.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(100));
        }
    }
    if path == "/cut" {
        return out.write_all(&body[..body.len() / 2]);
    }
    out.write_all(body)
}

fn server() -> Server {
    let list = b"192.0.2.1\n192.0.2.0/25 # x\n".to_vec();
    Server::start(
        [
            ("/list", ("200 OK", list.clone())),
            (
                "/tagged",
                (
                    "200 OK\r\nETag: \"1\"\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT",
                    list.clone(),
                ),
            ),
            ("/moved", ("302 Found\r\nLocation: /list", Vec::new())),
            ("/circle", ("302 Found\r\nLocation: /circle", Vec::new())),
            ("/large", ("200 OK", vec![b'\n'; 5000])),
            ("/slow", ("200 OK", vec![b'\n'; 1000])),
            ("/cut", ("200 OK", list)),
            ("/page", ("200 OK", b"<!doctype html>\n<p>Maintenance".to_vec())),
            ("/down", ("503 Service Unavailable", b"no".to_vec())),
            ("/empty", ("204 No Content", Vec::new())),
        ]
        .into(),
    )
}

/// What comes of a feed, and how long it took.
fn take(feed: &Feed) -> (Result<usize, FeedError>, Duration) {
    let began = Instant::now();
    let fetched = Fetcher::within(Duration::from_secs(2)).fetch(feed, &Validators::default());
    let taken = fetched.and_then(|fetched| match fetched {
        Fetched::New(bytes, _) => Ok(parse(feed, &bytes)?.nets.len()),
        Fetched::Same => panic!("nothing was known of it"),
    });
    (taken, began.elapsed())
}

#[test]
fn a_good_feed_is_taken_and_a_bad_one_is_not() {
    let server = server();
    let sum = "0".repeat(64);
    let wrong = format!("sha256 = '{sum}'");
    for (path, settings, expected) in [
        ("/list", "", Ok(2)),
        ("/moved", "", Ok(2)),
        ("/list", "max_entries = 1", Err("more than max_entries = 1")),
        ("/large", "max_bytes = 4999", Err("more than max_bytes = 4999")),
        ("/large", "max_bytes = 5000", Err("no entries")),
        ("/list", wrong.as_str(), Err("its sha256 is ")),
        ("/nothing", "", Err("404")),
        ("/down", "", Err("503")),
        ("/empty", "", Err("204")),
        ("/page", "", Err("line 1: `<!doctype html>`")),
        ("/cut", "", Err("")),
        ("/circle", "", Err("redirect")),
        ("/slow", "", Err("timeout")),
    ] {
        let (taken, time) = take(&server.feed(path, settings));
        assert!(time < Duration::from_secs(20), "{path}: {time:?}");
        match (taken, expected) {
            (Ok(taken), Ok(expected)) => assert_eq!(taken, expected, "{path}"),
            (Err(error), Err(message)) => {
                let error = error.to_string();
                assert!(error.contains(message) && error.len() < 300, "{path}: {error}");
            }
            (taken, expected) => panic!("{path}: {taken:?}, and not {expected:?}"),
        }
    }
}

#[test]
fn the_checksum_that_was_pinned_is_right() {
    let server = server();
    let Err(FeedError::Checksum(sum)) =
        take(&server.feed("/list", &format!("sha256 = '{}'", "0".repeat(64)))).0
    else {
        panic!("it was taken")
    };
    assert_eq!(
        take(&server.feed("/list", &format!("sha256 = '{}'", sum.to_uppercase())))
            .0
            .expect("right"),
        2
    );
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let server = server();
    let feed = server.feed("/tagged", "");
    let fetcher = Fetcher::default();
    let Ok(Fetched::New(_, validators)) = fetcher.fetch(&feed, &Validators::default()) else {
        panic!("not fetched")
    };
    assert_eq!(fetcher.fetch(&feed, &validators).expect("had"), Fetched::Same);
    let heads = server.heads.lock().expect("no panic");
    let head = heads[1].to_ascii_lowercase();
    assert!(head.contains("if-modified-since: sat, 01 jan 2000"), "{head}");
}

#[test]
fn nobody_there_and_no_secrets_in_what_is_said() {
    // Bound and closed again, so that nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let text = format!("name = 'a'\nsource = 'http://me:pass@{address}/list?key=word'\n");
    let feed: Feed = toml::from_str(&text).expect("a feed");
    let error = take(&feed).0.expect_err("nobody is there").to_string();
    assert!(!error.contains("pass") && !error.contains("word"), "{error}");
}

#[test]
fn files_are_read_and_pipes_are_not_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let feed = |name: &str| -> Feed {
        let path = dir.path().join(name);
        toml::from_str(&format!(
            "name = 'a'\nsource = '{}'\nmax_bytes = 20",
            path.display()
        ))
        .expect("a feed")
    };
    std::fs::write(dir.path().join("list"), "192.0.2.1\n").expect("written");
    std::fs::write(dir.path().join("long"), "192.0.2.1\n192.0.2.22\n").expect("written");
    assert_eq!(take(&feed("list")).0.expect("right"), 1);
    for (name, message) in [
        ("long", "max_bytes = 20"),
        ("none", "No such file"),
        ("", "not a file"),
    ] {
        let error = take(&feed(name)).0.expect_err(name).to_string();
        assert!(error.contains(message), "{name}: {error}");
    }
    assert!(
        take(&toml::from_str("name = 'a'\nsource = '/dev/zero'").expect("a feed"))
            .0
            .is_err()
    );
}
