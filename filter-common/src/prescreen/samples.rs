//! Payloads and whether they pass: for the tests here and those of the compiled program.

/// Payload, passes.
pub(crate) const TABLE: &[(&str, bool)] = &[
    ("GET / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n", true),
    (
        "HEAD /a/b.html?x=1&y=two HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n\r\n",
        true,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        false,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\n", false),
    ("GET / HTTP/1.1\nHost: a\n\n", false),
    ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET /?q=%27 HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET /?q=1+or+1=1 HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET /.git/config HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET /?file=/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET //x HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: ${jndi:ldap:x}\r\n\r\n", false),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: <b>\r\n\r\n", false),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: ../..\r\n\r\n", false),
    ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", false),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET /<b> HTTP/1.1\r\nHost: a\r\n\r\n", false),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n",
        true,
    ),
    // An IPv6 literal; brackets have no place in a request line.
    ("GET / HTTP/1.1\r\nHost: [fd72::2]:80\r\n\r\n", true),
    ("GET /?a[]=b HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\n", false),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", false),
    ("GET", false),
    ("", false),
];
