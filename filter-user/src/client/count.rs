//! What is counted of clients and those who speak for them.

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// What was learnt of the clients of connections and requests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ClientCount {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ClientCount {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name for counters.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

counts! {
    /// Connections whose client a PROXY header named.
    ProxyHeader => "proxy_header",
    /// Connections with a PROXY header that names no client: `LOCAL`, `UNKNOWN`, `UNSPEC`.
    ProxyOwn => "proxy_header_own",
    /// Connections that begin like a PROXY header and do not go on like one: a violation.
    ProxyMalformed => "proxy_header_malformed",
    /// Connections with a PROXY header of somebody who is not trusted: a violation.
    ProxyUntrusted => "proxy_header_untrusted",
    /// Connections to a service that requires a PROXY header, without one: a violation.
    ProxyMissing => "proxy_header_missing",
    /// Requests whose client a trusted proxy's header named.
    HeaderNamed => "client_header",
    /// Requests of a trusted proxy without such a header: its own.
    HeaderMissing => "client_header_missing",
    /// Requests with such a header that cannot be read: the last hop that is certain counts.
    HeaderMalformed => "client_header_malformed",
    /// Requests beyond a limit that got a 429.
    TooMany => "limit_429",
    /// Requests beyond a limit that were answered like attacks.
    LimitBlocked => "limit_block",
    /// Requests beyond a limit that went on, as nothing else was asked for.
    LimitLogged => "limit_log",
    /// Counts that were forgotten for want of room: raise `limits.max_counted`.
    CountEvicted => "limit_count_evicted",
    /// Requests of clients with a block, refused: the XDP program sees only the proxy.
    Blocked => "client_blocked",
    /// Requests with such a header that hides the client (`unknown`, `_name`): the last hop that is certain counts.
    HeaderHidden => "client_header_hidden",
}

/// Counts by [`ClientCount`].
pub type ClientCounts = [u64; ClientCount::ALL.len()];
