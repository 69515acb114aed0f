//! Where messages are kept until the last of them have pushed them out.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use filter_score::Verdict;
use serde::Serialize;
use tokio::sync::watch;

use super::{Filter, Message, Topic, message::Draft};
use crate::audit::{Counts, Log};

/// The most bytes of text that are kept.
const MAX_BYTES: usize = 16 << 20;
/// Numbers of an engine begin with the second of its start, and leave room for so many messages a second; they stay below 2^53, which is
/// as far as JSON's readers count.
const NUMBERS_PER_S: u64 = 1_000_000;

/// The last messages of an engine.
#[derive(Debug)]
pub struct Hub {
    kept: Mutex<Kept>,
    latest: watch::Sender<u64>,
    capacity: usize,
    /// The number of this engine's first message.
    first: u64,
    log: Option<Log>,
}

#[derive(Debug)]
struct Kept {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    /// The number of the next one.
    next: u64,
}

/// What comes next to a listener.
#[derive(Clone, Debug)]
pub enum Next {
    /// A message.
    Message(Arc<Message>),
    /// So many are gone that it has not seen; none: it is not known how many, as those were an earlier engine's.
    Lost(Option<u64>),
}

impl Hub {
    /// Keeps the last `capacity` messages, and of them at most 16 MiB.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self::beginning_with(capacity, seconds * NUMBERS_PER_S)
    }

    fn beginning_with(capacity: usize, first: u64) -> Self {
        Self {
            kept: Mutex::new(Kept {
                messages: VecDeque::new(),
                bytes: 0,
                next: first,
            }),
            latest: watch::Sender::new(first),
            capacity: capacity.max(1),
            first,
            log: None,
        }
    }

    /// Has what matters written down, too.
    #[must_use]
    pub fn with_log(mut self, log: Option<Log>) -> Self {
        self.log = log;
        self
    }

    /// What has become of what was written down; none if nothing is.
    #[must_use]
    pub fn written(&self) -> Option<&Counts> {
        self.log.as_ref().map(Log::counts)
    }

    /// Tells all who listen. `body` is a JSON object.
    pub fn tell(&self, topic: Topic, body: &impl Serialize) -> Arc<Message> {
        self.publish(Draft::new(topic, body))
    }

    /// The same, of a client or source, and perhaps a request of it.
    pub fn tell_of(
        &self,
        topic: Topic,
        client: IpAddr,
        verdict: Option<Verdict>,
        body: &impl Serialize,
    ) -> Arc<Message> {
        self.publish(Draft {
            client: Some(client),
            verdict,
            ..Draft::new(topic, body)
        })
    }

    fn publish(&self, draft: Draft) -> Arc<Message> {
        let (message, next) = {
            let mut kept = self.kept();
            let message = Arc::new(draft.numbered(kept.next));
            kept.next += 1;
            kept.bytes += message.text.len();
            kept.messages.push_back(Arc::clone(&message));
            while kept.messages.len() > self.capacity || kept.bytes > MAX_BYTES {
                let Some(oldest) = kept.messages.pop_front() else {
                    break;
                };
                kept.bytes -= oldest.text.len();
            }
            (message, kept.next)
        };
        self.latest.send_replace(next);
        if let Some(log) = self.log.as_ref().filter(|_| message.topic.is_kept()) {
            log.write(&message.text);
        }
        message
    }

    /// Those that are kept and wanted, from the last back, at most `limit`; the oldest of them first.
    #[must_use]
    pub fn last(&self, filter: &Filter, limit: usize) -> Vec<Arc<Message>> {
        let kept = self.kept();
        let wanted = kept.messages.iter().rev().filter(|message| filter.wants(message));
        let mut last: Vec<_> = wanted.take(limit).cloned().collect();
        last.reverse();
        last
    }

    /// Listens from now on; `after`: from behind the message with this number.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, filter: Filter, after: Option<u64>) -> Subscription {
        let next = self.kept().next;
        Subscription {
            next: after.map_or(next, |after| after.saturating_add(1).min(next)),
            filter,
            latest: self.latest.subscribe(),
            hub: Arc::clone(self),
        }
    }

    /// The number of the next message.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.kept().next
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.latest.receiver_count()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the messages.
#[derive(Debug)]
pub struct Subscription {
    /// The number of the next message to look at.
    next: u64,
    filter: Filter,
    latest: watch::Receiver<u64>,
    hub: Arc<Hub>,
}

impl Subscription {
    /// What is there of what this listener wants, at most `limit` messages; empty if nothing is.
    pub fn take(&mut self, limit: usize) -> Vec<Next> {
        let mut taken = Vec::new();
        let kept = self.hub.kept();
        let oldest = kept
            .messages
            .front()
            .map_or(kept.next, |message| message.sequence);
        if self.next < oldest {
            let known = self.next >= self.hub.first;
            taken.push(Next::Lost(known.then(|| oldest - self.next)));
            self.next = oldest;
        }
        let skip = (self.next - oldest) as usize;
        for message in kept.messages.iter().skip(skip) {
            if taken.len() >= limit {
                break;
            }
            self.next = message.sequence + 1;
            if self.filter.wants(message) {
                taken.push(Next::Message(Arc::clone(message)));
            }
        }
        taken
    }

    /// Waits until there is a message that this listener has not looked at, wanted or not. Without an end if the engine tells nothing.
    pub async fn ready(&mut self) {
        let next = self.next;
        // The hub lives as long as this does.
        let _ = self.latest.wait_for(|latest| *latest > next).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(taken: &[Next]) -> Vec<String> {
        let number = |next: &Next| match next {
            Next::Message(message) => message.sequence.to_string(),
            Next::Lost(Some(lost)) => format!("lost {lost}"),
            Next::Lost(None) => "lost".to_owned(),
        };
        taken.iter().map(number).collect()
    }

    fn told(hub: &Hub, topic: Topic, count: usize) {
        for n in 0..count {
            hub.tell(topic, &json!({ "n": n }));
        }
    }

    #[test]
    fn a_message_is_one_object_with_its_number() {
        let hub = Hub::beginning_with(4, 7);
        let message = hub.tell(Topic::Stats, &json!({ "a": "}\n{" }));
        let value: serde_json::Value = serde_json::from_str(&message.text).expect("JSON");
        assert_eq!(
            (&value["seq"], &value["topic"], &value["a"]),
            (&json!(7), &json!("stats"), &json!("}\n{"))
        );
        let empty = hub.tell(Topic::Stats, &json!({}));
        assert!(
            serde_json::from_str::<serde_json::Value>(&empty.text).is_ok(),
            "{}",
            empty.text
        );
        assert!(!message.text.contains('\n'));
    }

    #[test]
    fn a_listener_gets_what_comes_after_it_in_order() {
        let hub = Arc::new(Hub::beginning_with(8, 100));
        told(&hub, Topic::Stats, 2);
        let mut listener = hub.subscribe(Filter::default(), None);
        assert!(listener.take(9).is_empty());
        told(&hub, Topic::Stats, 3);
        assert_eq!(numbers(&listener.take(2)), ["102", "103"]);
        assert_eq!(numbers(&listener.take(9)), ["104"]);
    }

    #[test]
    fn the_oldest_go_and_who_is_slow_is_told_how_many() {
        let hub = Arc::new(Hub::beginning_with(4, 100));
        let mut slow = hub.subscribe(Filter::default(), None);
        told(&hub, Topic::Stats, 10);
        assert_eq!(numbers(&slow.take(9)), ["lost 6", "106", "107", "108", "109"]);
        assert!(slow.take(9).is_empty());
    }

    #[test]
    fn who_comes_back_goes_on_where_it_was() {
        let hub = Arc::new(Hub::beginning_with(4, 100));
        told(&hub, Topic::Stats, 5);
        for (after, expected) in [
            (102, &["103", "104"][..]),
            (100, &["101", "102", "103", "104"]),
            (99, &["lost 1", "101", "102", "103", "104"]),
            // Of an engine before this one.
            (3, &["lost", "101", "102", "103", "104"]),
            // Numbers that nobody has given.
            (u64::MAX, &[]),
        ] {
            let mut listener = hub.subscribe(Filter::default(), Some(after));
            assert_eq!(numbers(&listener.take(9)), expected, "after {after}");
        }
    }

    #[test]
    fn much_text_pushes_out_before_many_messages_do() {
        let hub = Arc::new(Hub::beginning_with(1000, 0));
        let long = "x".repeat(1 << 20);
        for _ in 0..40 {
            hub.tell(Topic::Stats, &json!({ "long": long }));
        }
        let kept = hub.kept();
        assert!(
            kept.bytes <= MAX_BYTES && kept.messages.len() == 15,
            "{}",
            kept.messages.len()
        );
    }

    #[test]
    fn a_listener_wakes_when_something_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let hub = Arc::new(Hub::beginning_with(4, 0));
            let mut listener = hub.subscribe(Filter::default(), None);
            let teller = Arc::clone(&hub);
            let task = tokio::spawn(async move { told(&teller, Topic::Blocks, 1) });
            listener.ready().await;
            assert_eq!(numbers(&listener.take(9)), ["0"]);
            task.await.expect("it ends");
            assert_eq!(hub.listeners(), 1);
            drop(listener);
            assert_eq!(hub.listeners(), 0);
        });
    }
}
