//! Words of the SQL dialects that matter to an injection.

/// What a word means to the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Any identifier.
    Name,
    /// `NULL`, `TRUE`, `FALSE` and the like: a value.
    Constant,
    /// `AND`, `OR`, `XOR`.
    Connective,
    /// `NOT`, `BINARY` and other prefixes of an expression.
    Prefix,
    /// `LIKE`, `IN`, `IS`, `BETWEEN` …
    Comparison,
    /// A function that injections call: they delay, convert, cut strings or tell about the server.
    Probe,
    /// `IF`, `IIF`: the first argument is a condition.
    Condition,
    Union,
    /// `ALL`, `DISTINCT`: between UNION and SELECT, SELECT and its list.
    Quantifier,
    Select,
    Values,
    From,
    Where,
    /// `ORDER`, `GROUP`.
    OrderGroup,
    By,
    /// `ASC`, `DESC`.
    Direction,
    Having,
    Limit,
    Into,
    /// `OUTFILE`, `DUMPFILE`.
    File,
    Procedure,
    Case,
    When,
    Then,
    Insert,
    Update,
    Set,
    Delete,
    /// `DROP`, `ALTER`, `CREATE`, `TRUNCATE`.
    Define,
    /// `TABLE`, `DATABASE` and other things that are defined.
    Object,
    Execute,
    Declare,
    WaitFor,
    /// `DELAY`, `TIME`.
    Delay,
    Shutdown,
    /// `BEGIN`, `MERGE`, `GRANT`, `COPY` … start a statement.
    Statement,
}

/// The longest word of the vocabulary.
const LONGEST: usize = 20;

/// Names of functions and packages by their start.
const PROBE_PREFIXES: [&[u8]; 8] = [
    b"dbms_", b"utl_", b"ctxsys.", b"pg_", b"xp_", b"sys.", b"lo_", b"sqlite_",
];

/// `call`: an opening bracket follows.
pub(super) fn word(text: &[u8], call: bool) -> Word {
    let mut folded = [0; LONGEST];
    let known = folded.get_mut(..text.len()).map_or(Word::Name, |folded| {
        folded.copy_from_slice(text);
        folded.make_ascii_lowercase();
        lookup(folded, call)
    });
    if known == Word::Name && call && starts_with_probe(text) {
        return Word::Probe;
    }
    known
}

fn starts_with_probe(text: &[u8]) -> bool {
    PROBE_PREFIXES.iter().any(|prefix| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })
}

fn lookup(folded: &[u8], call: bool) -> Word {
    match folded {
        b"and" | b"or" | b"xor" => Word::Connective,
        b"not" | b"binary" => Word::Prefix,
        b"like" | b"rlike" | b"ilike" | b"regexp" | b"between" | b"in" | b"is" | b"glob" | b"sounds"
        | b"div" | b"mod" => Word::Comparison,
        b"null" | b"true" | b"false" => Word::Constant,
        b"current_user" | b"current_date" | b"current_timestamp" | b"session_user" | b"system_user" => {
            Word::Probe
        }
        b"union" | b"intersect" | b"except" | b"minus" => Word::Union,
        b"all" | b"distinct" | b"distinctrow" => Word::Quantifier,
        b"select" => Word::Select,
        b"values" => Word::Values,
        b"from" => Word::From,
        b"where" => Word::Where,
        b"order" | b"group" => Word::OrderGroup,
        b"by" => Word::By,
        b"asc" | b"desc" => Word::Direction,
        b"having" => Word::Having,
        b"limit" | b"offset" => Word::Limit,
        b"into" => Word::Into,
        b"outfile" | b"dumpfile" => Word::File,
        b"procedure" if !call => Word::Procedure,
        b"case" => Word::Case,
        b"when" => Word::When,
        b"then" => Word::Then,
        b"insert" | b"replace" if !call => Word::Insert,
        b"update" => Word::Update,
        b"set" => Word::Set,
        b"delete" => Word::Delete,
        b"drop" | b"alter" | b"create" | b"truncate" => Word::Define,
        b"table" | b"database" | b"view" | b"function" | b"trigger" | b"login" | b"index" | b"role"
        | b"alias" => Word::Object,
        b"exec" | b"execute" => Word::Execute,
        b"declare" => Word::Declare,
        b"waitfor" => Word::WaitFor,
        b"delay" | b"time" => Word::Delay,
        b"shutdown" => Word::Shutdown,
        b"begin" | b"merge" | b"grant" | b"copy" | b"call" | b"handler" | b"backup" | b"use" | b"revoke" => {
            Word::Statement
        }
        b"if" | b"iif" if call => Word::Condition,
        _ if call && probe(folded) => Word::Probe,
        _ => Word::Name,
    }
}

fn probe(folded: &[u8]) -> bool {
    matches!(
        folded,
        b"ascii"
            | b"ord"
            | b"hex"
            | b"unhex"
            | b"substr"
            | b"substring"
            | b"mid"
            | b"left"
            | b"right"
            | b"length"
            | b"char_length"
            | b"len"
            | b"lower"
            | b"upper"
            | b"char"
            | b"nchar"
            | b"chr"
            | b"concat"
            | b"concat_ws"
            | b"group_concat"
            | b"elt"
            | b"make_set"
            | b"sleep"
            | b"benchmark"
            | b"extractvalue"
            | b"updatexml"
            | b"exists"
            | b"isnull"
            | b"ifnull"
            | b"nullif"
            | b"coalesce"
            | b"cast"
            | b"convert"
            | b"row"
            | b"database"
            | b"schema"
            | b"user"
            | b"version"
            | b"current_user"
            | b"load_file"
            | b"row_count"
            | b"found_rows"
            | b"last_insert_id"
            | b"rand"
            | b"randomblob"
            | b"count"
            | b"floor"
            | b"round"
            | b"now"
            | b"sysdate"
            | b"bin"
            | b"conv"
            | b"md5"
            | b"sha1"
            | b"crypt_key"
            | b"regexp_substring"
            | b"xmltype"
            | b"json_keys"
            | b"exp"
            | b"gtid_subset"
            | b"name_const"
            | b"polygon"
            | b"multipoint"
            | b"linestring"
            | b"generate_series"
            | b"repeat"
            | b"reverse"
            | b"strcmp"
            | b"find_in_set"
            | b"instr"
            | b"position"
            | b"to_char"
            | b"quote_ident"
            | b"query_to_xml"
            | b"db_name"
            | b"user_name"
            | b"suser_name"
            | b"suser_sname"
            | b"host_name"
            | b"object_id"
            | b"is_srvrolemember"
            | b"min"
            | b"max"
            | b"sum"
            | b"greatest"
            | b"least"
            | b"bin_to_uuid"
            | b"st_latfromgeohash"
            | b"uuid"
            | b"decode"
            | b"encode"
            | b"unicode"
            | b"soundex"
            | b"cos"
            | b"power"
            | b"pi"
    )
}

/// Whether a call of this function does harm by itself: it takes the server's time.
pub(super) fn delays(text: &[u8]) -> bool {
    [
        &b"sleep"[..],
        b"pg_sleep",
        b"benchmark",
        b"dbms_lock.sleep",
        b"dbms_pipe.receive_message",
    ]
    .iter()
    .any(|name| text.eq_ignore_ascii_case(name))
}
