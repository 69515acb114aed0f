//! What a queue counts of its undecided requests.

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// What became of undecided requests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DeepCount {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DeepCount {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in status and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

counts! {
    /// Given to the pool.
    Submitted => "submitted",
    /// Answered in time.
    Answered => "answered",
    /// Blocked for the answer; also in `answered`.
    Blocked => "blocked",
    /// No verdict before the deadline, or none at all: the failure policy decided.
    Missed => "missed_deadline",
    /// No job was free, or no room to hold the segment: the failure policy decided.
    Full => "queue_full",
    /// The breaker was open: the first tier's verdict stood.
    Refused => "breaker_open",
    /// The flow ended first.
    Withdrawn => "withdrawn",
    /// Answers that nobody waited for any more.
    Late => "late",
    /// Requests of which the pool saw only a part: their doubtful fields were too long.
    Cut => "cut",
    /// How often the breaker opened.
    Openings => "breaker_openings",
}
