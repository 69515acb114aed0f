//! Server-Sent Events (WHATWG HTML §9.2).

use std::{collections::VecDeque, convert::Infallible};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};

use super::{BATCH, text};
use crate::{
    api::access::Admission,
    live::{Next, Subscription},
};

struct Listener {
    subscription: Subscription,
    admission: Admission,
    taken: VecDeque<Next>,
}

pub(super) fn answer(
    subscription: Subscription,
    admission: Admission,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let listener = Listener {
        subscription,
        admission,
        taken: VecDeque::new(),
    };
    let events = stream::unfold(listener, async |mut listener| {
        loop {
            if let Some(next) = listener.taken.pop_front() {
                return Some((Ok(event(&next)), listener));
            }
            tokio::select! {
                biased;
                () = listener.admission.ended() => return None,
                () = listener.subscription.ready() => {}
            }
            listener.taken = listener.subscription.take(BATCH).into();
        }
    });
    // A comment now and then shows who is gone.
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn event(next: &Next) -> Event {
    let event = Event::default().data(text(next));
    match next {
        Next::Message(message) => event.event(message.topic.name()).id(message.sequence.to_string()),
        Next::Lost(_) => event.event("lost"),
    }
}
