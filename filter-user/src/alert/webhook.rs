//! Posts alerts to an incident channel.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use crate::config;

/// Alerts that may wait; further ones are lost, and counted.
const CAPACITY: usize = 64;
/// How often one is tried, with rests that double between.
const TRIES: u32 = 4;
const REST: Duration = Duration::from_millis(500);

/// What has become of alerts.
#[derive(Debug, Default)]
pub struct Counts {
    posted: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    /// Those that were taken.
    #[must_use]
    pub fn posted(&self) -> u64 {
        self.posted.load(Relaxed)
    }

    /// Those that nobody took.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// The thread that posts. It ends with the last alert that waits when this is dropped, and nobody waits for that.
#[derive(Debug)]
pub struct Webhook {
    bodies: SyncSender<Arc<str>>,
    counts: Arc<Counts>,
}

impl Webhook {
    /// Starts the thread, if a URL is configured.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(settings: &config::Alerts) -> io::Result<Option<Self>> {
        let Some(url) = settings.webhook.clone() else {
            return Ok(None);
        };
        let (bodies, waiting) = mpsc::sync_channel(CAPACITY);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(settings.webhook_timeout_s.into())))
            .max_redirects(0)
            .build()
            .into();
        thread::Builder::new()
            .name("pc-webhook".into())
            .spawn(move || run(&agent, &url, &waiting, &counted))?;
        Ok(Some(Self { bodies, counts }))
    }

    /// Has a JSON object posted. Never waits.
    pub fn post(&self, body: &Arc<str>) {
        if self.bodies.try_send(Arc::clone(body)).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// What has become of alerts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

fn run(agent: &ureq::Agent, url: &str, waiting: &Receiver<Arc<str>>, counts: &Counts) {
    while let Ok(body) = waiting.recv() {
        let mut rest = REST;
        let mut failure = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(rest);
                rest *= 2;
            }
            let request = agent.post(url).header("Content-Type", "application/json");
            match request.send(body.as_ref()) {
                Ok(answer) if answer.status().is_success() => {
                    failure.clear();
                    break;
                }
                Ok(answer) => failure = format!("the answer is {}", answer.status()),
                Err(error) => failure = error.to_string(),
            }
        }
        if failure.is_empty() {
            counts.posted.fetch_add(1, Relaxed);
        } else {
            counts.lost.fetch_add(1, Relaxed);
            tracing::error!(
                "an alert could not be posted: {failure}\n  fix: see that alerts.webhook is right and answers with 2xx"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        time::Instant,
    };

    use super::*;

    /// Answers each connection with the next of `statuses`, and returns what was sent.
    fn serve(listener: &TcpListener, statuses: &[u16]) -> Vec<String> {
        let serve_one = |status: &u16| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.ends_with('}') {
                let count = stream.read(&mut buffer).expect("a request");
                text += &String::from_utf8_lossy(&buffer[..count]);
            }
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .expect("sent");
            text
        };
        statuses.iter().map(serve_one).collect()
    }

    #[test]
    fn an_alert_is_tried_again_until_it_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let settings = config::Alerts {
            webhook: Some(format!("http://{address}/hook")),
            ..config::Alerts::default()
        };
        let webhook = Webhook::start(&settings).expect("a thread").expect("a hook");
        webhook.post(&r#"{"name":"attack"}"#.into());
        let sent = serve(&listener, &[503, 302, 204]);
        for text in sent {
            assert!(
                text.starts_with("POST /hook ") && text.ends_with(r#"{"name":"attack"}"#),
                "{text}"
            );
        }
        let end = Instant::now() + Duration::from_secs(20);
        while webhook.counts().posted() != 1 {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(5));
        }
        // Nobody is there any more; whoever posts does not wait.
        drop(listener);
        for _ in 0..CAPACITY + 2 {
            webhook.post(&"{}".into());
        }
        assert!(webhook.counts().lost() >= 1);
        assert!(
            Webhook::start(&config::Alerts::default())
                .expect("none")
                .is_none()
        );
    }
}
