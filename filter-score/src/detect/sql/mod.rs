//! SQL injection: the field is cut into tokens as if it stood bare in a statement and as if it stood inside a
//! string, and the tokens are searched for the shapes of an injection.
//!
//! The idea of lexing the field in each context and judging the tokens is that of `libinjection` (Galbreath,
//! "libinjection: a C library for `SQLi` detection and generation through lexical analysis of real world attacks",
//! Black Hat 2012). Instead of its list of fingerprints this is a grammar of what an injection must do: leave the
//! string, connect to the statement, and end in balance with it.

mod lexer;
mod shape;
mod vocabulary;

use self::lexer::{Context, Kind, Lexer, Token};
use self::shape::Shapes;
use super::{Evidence, Grade};

/// An injection that closes no quote has one of these, or one of [`WORDS`].
pub(super) const LITERALS: &[&str] = &["||", "&&", "dbms_", "pg_", "/*!", ";--", "; --", "--", "@@"];

/// Words of which an injection that closes no quote has at least one, with what follows the short ones.
pub(super) const WORDS: &[&str] = &[
    "or ",
    "or'",
    "or\"",
    "or(",
    "or\t",
    "or\n",
    "or/",
    "or+",
    "or-",
    "or!",
    "or~",
    "or@",
    "and ",
    "and'",
    "and\"",
    "and(",
    "and\t",
    "and\n",
    "and/",
    "and+",
    "and-",
    "and!",
    "and~",
    "and@",
    "xor",
    "union",
    "select",
    "having",
    "where",
    "order",
    "group",
    "limit",
    "procedure",
    "outfile",
    "dumpfile",
    "waitfor",
    "case",
    "if(",
    "if (",
    "iif(",
    "iif (",
    "insert",
    "update",
    "delete",
    "drop",
    "alter",
    "create",
    "truncate",
    "exec",
    "execute",
    "declare",
    "shutdown",
    "sleep",
    "benchmark",
];

/// Tokens that are looked at together.
const WINDOW: usize = 64;
/// Tokens that two neighbouring windows share: longer than any shape.
const SHARED: usize = 24;

/// The contexts inside of strings and quoted names.
const QUOTED: [Context; 3] = [
    Context::Quoted(b'\''),
    Context::Quoted(b'"'),
    Context::Quoted(b'`'),
];

/// The surest finding where the field stands bare in the statement.
pub(super) fn bare(text: &[u8]) -> Option<(Grade, Evidence)> {
    detect(text, &[Context::Bare])
}

/// The surest finding where the field stands inside of quotes that it closes.
pub(super) fn quoted(text: &[u8]) -> Option<(Grade, Evidence)> {
    detect(text, &QUOTED)
}

fn detect(text: &[u8], contexts: &[Context]) -> Option<(Grade, Evidence)> {
    let mut window = [Token::NONE; WINDOW];
    let mut surest = None;
    for context in contexts {
        match in_context(text, *context, &mut window) {
            Some(found @ (Grade::Certain, _)) => return Some(found),
            found => surest = surest.or(found),
        }
    }
    surest
}

fn in_context(text: &[u8], context: Context, window: &mut [Token; WINDOW]) -> Option<(Grade, Evidence)> {
    if let Context::Quoted(quote) = context {
        memchr::memchr(quote, text)?;
    }
    let mut lexer = Lexer::new(text, context);
    let mut length = 0;
    let mut first = true;
    let mut likely = None;
    loop {
        let mut ended = false;
        while length < WINDOW {
            let Some(token) = lexer.next() else {
                ended = true;
                break;
            };
            window[length] = token;
            length += 1;
            if first && length == 2 && context != Context::Bare && !continues(token.kind) {
                return likely;
            }
        }
        let shapes = Shapes {
            text,
            tokens: &window[..length],
            context,
            first,
            ended,
        };
        match shapes.find() {
            Some(found @ (Grade::Certain, _)) => return Some(found),
            found => likely = likely.or(found),
        }
        if ended {
            return likely;
        }
        window.copy_within(WINDOW - SHARED.., 0);
        length = SHARED;
        first = false;
    }
}

/// Whether a statement can go on with this after a string; prose after a quote hardly ever does.
fn continues(kind: Kind) -> bool {
    use self::vocabulary::Word;
    !matches!(
        kind,
        Kind::Word(Word::Name | Word::Constant | Word::Probe) | Kind::Number | Kind::Other | Kind::Variable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Option<&'static str> {
        [bare(text.as_bytes()), quoted(text.as_bytes())]
            .into_iter()
            .flatten()
            .find_map(|(grade, evidence)| (grade == Grade::Certain).then_some(evidence.label))
    }

    #[test]
    fn injections() {
        for text in INJECTIONS {
            assert!(label(text).is_some(), "{text}");
        }
    }

    #[test]
    fn prose_and_code() {
        for text in HARMLESS {
            assert_eq!(label(text), None, "{text}");
        }
    }

    const INJECTIONS: &[&str] = &[
        "1 or 1=1",
        "' or 1=1--",
        "\" or \"\"=\"",
        "x' AND members.email IS NULL; --",
        "1')) and 2006=2006",
        "' || user()='root",
        "1/**/union/*x*/select 1",
        "-1union(select(1),2)",
        "1e0union select 2",
        "1 UNION ALL SELECT NULL,NULL--",
        "1;drop table users",
        "1';exec master..xp_cmdshell 'dir'",
        "x;waitfor delay '0:0:5'--",
        "admin'--",
        "admin' #",
        "1')/*",
        "1 and ascii(substring(user(),1,1))>64",
        "1 and (select count(*) from users)>0",
        "1' and sleep(5)#",
        "1 order by 10--",
        "1' order by name",
        "1 group by x having 1=1",
        "1 limit 0,1 into outfile '/tmp/x'",
        "(case when (4232=4232) then 1 else 0 end)",
        "if(now()=sysdate(),sleep(15),0)",
        "'='",
        "'-'",
        "x'||'y",
        "' like '%",
        "1 or 'a'='a'",
        "' or not 1=2 or '",
        "1/*!50000union*//*!select*/2",
        "1||pg_sleep(5)--",
        "' in (1,2)--",
        "1 procedure analyse(1)",
        "'+(select 1)+'",
    ];

    const HARMLESS: &[&str] = &[
        "",
        "'",
        "O'Brien",
        "rock 'n' roll",
        "select a user from the list or drop by the table",
        "the trade union select committee",
        "O' UNION selected a few friends",
        "if a=1 or b=2 then stop",
        "\"WOOD\" AND \"SIGN\" AND \"POLKA DOTS\"",
        "1950' AND 60'S WOMEN'S COATS",
        "it's -- well -- odd",
        "'--help' and '--version' print and exit",
        "`--trace`: logs",
        "a[href='#'] > b, c[d=\"e\"] { color: red }",
        "{\"a\": \"b\", \"c\": 1}",
        "x = a || b && c",
        "10\" x 12\"",
        "8GB or 16GB = more",
        "2 and 3 make 5",
        "see `Option<&Map>` or `Option<&mut Map>`",
        "order by 12 noon",
        "what if (maybe) not",
        "Tom and 'Jerry' are friends",
        "W/\"0815\"",
        "\"Chromium\";v=\"114\", \"Not.A/Brand\";v=\"8\"",
        "in case you come when it rains, then call",
        "update your browser, set a bookmark",
        "1; exec will create the case 7",
        "please sleep (5 hours)",
        "trade union select members, guests and staff",
        "how does select into outfile work",
    ];
}
