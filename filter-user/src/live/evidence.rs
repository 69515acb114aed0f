//! What is shown of what a rule has found: the attack, and none of the secrets around it.
//!
//! - What stands under a secret's name is not shown at all, nor what looks like one: card numbers, JSON Web Tokens, keys.
//! - What has no name of its own may stand below a secret's: text of XML, elements of JSON's arrays, bodies and later windows of them. Of it
//!   words that attacks are made of are shown, and punctuation; whatever else it says is `*`.

use super::secrets;

/// Names that say nothing of what is below them, or next to them: `{"password": {"value": "…"}}`.
const NAMELESS: [&str; 12] = [
    "", "value", "values", "val", "v", "text", "#text", "$", "_", "data", "content", "item",
];

/// What attacks are made of, in small letters: SQL, scripts, files and commands, look-ups and templates. A word of these tells nothing
/// about who sent it.
const WORDS: [&str; 4] = [
    "all and as ascii benchmark between by case cast char chr concat convert count database declare delay \
     delete drop dual else end exec execute exists extractvalue false from group having if in \
     information_schema insert into is like limit not null or order outfile select set sleep substring \
     table tables then true union update updatexml values version waitfor when where xp_cmdshell",
    "alert confirm constructor cookie document eval fromcharcode href iframe img innerhtml javascript \
     location onclick onerror onfocus onload onmouseover prompt prototype __proto__ script src style svg \
     window",
    "base64_decode bash bin boot cat cgi cmd curl env environ etc exe hosts id ini ls nc passwd perl php \
     phpinfo ping powershell proc python self sh shadow shell_exec sudo system system32 tmp uname usr var \
     wget whoami windows",
    "cdata class config dns doctype entity expect file forname ftp getclass getruntime gopher http https \
     import include java jndi lang ldap lower os popen public rmi runtime upper",
];

/// What of a match is shown instead of it; none: all of it is.
pub(super) fn instead(target: &str, matched: &str) -> Option<String> {
    let (part, name) = target.split_once(':').unwrap_or((target, ""));
    if is_below_secret(part, name, matched) || secrets::holds_secret(matched) {
        return Some(secrets::MASK.to_owned());
    }
    if is_nameless(part, name) {
        return Some(attack(matched)).filter(|shown| shown != matched);
    }
    None
}

/// Whether pieces of what stands there may not be shown, either.
pub(super) fn is_kept_back(target: &str) -> bool {
    let (part, name) = target.split_once(':').unwrap_or((target, ""));
    is_below_secret(part, name, "") || is_nameless(part, name)
}

/// Whether what was found there may be a secret, or stand next to one.
fn is_below_secret(part: &str, name: &str, matched: &str) -> bool {
    match part {
        "cookie" => true,
        // Whole lines, which may have any field in them.
        "request" | "header" if name.is_empty() => secrets::is_secret_line(matched),
        "header" => secrets::is_secret_field(name) || (name == "referer" && matched.contains('=')),
        // Names are cut there.
        _ => name.len() >= 32 || secrets::is_secret(name),
    }
}

/// Whether nobody knows what it stands below.
fn is_nameless(part: &str, name: &str) -> bool {
    match part {
        "json" | "xml" => NAMELESS.contains(&name),
        "form" | "body" | "file" => name.is_empty(),
        _ => false,
    }
}

/// Words of [`WORDS`] and what stands between words; one `*` for all else that stands together. `text` is escaped as for display.
fn attack(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (length, keeps) = if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (length, is_of_attacks(&rest[..length]))
        } else if let Some(escaped) = rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) {
            // A byte that is no text may belong to a word of another script.
            let length = if escaped == 'x' { 4 } else { 1 + escaped.len_utf8() };
            (length, escaped != 'x')
        } else {
            (first.len_utf8(), first.is_ascii() || first == '…')
        };
        let Some((piece, behind)) = rest.split_at_checked(length) else {
            break;
        };
        if keeps {
            shown.push_str(piece);
        } else if !shown.ends_with('*') {
            shown.push('*');
        }
        rest = behind;
    }
    shown
}

fn is_of_attacks(word: &str) -> bool {
    WORDS
        .iter()
        .flat_map(|words| words.split(' '))
        .any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attack_is_shown_and_the_words_around_it_are_not() {
        for (text, expected) in [
            ("' OR 1=1 --", "' OR *=* --"),
            ("1 UNION SELECT card FROM users", "* UNION SELECT * FROM *"),
            ("hunter2' or 'a'='a", "*' or '*'='*"),
            ("<script>alert(document.cookie)", "<script>alert(document.cookie)"),
            ("../../etc/passwd", "../../etc/passwd"),
            (r"sesam\xc3\xb6ffne\n;cat", r"*\n;cat"),
            // A word is shown whole or not at all.
            ("selected fromage", "* *"),
            ("", ""),
            (r"a\", r"*\"),
            (r"a\x4", "*"),
        ] {
            assert_eq!(attack(text), expected, "{text}");
        }
    }

    #[test]
    fn where_it_was_found_says_how_much_is_shown() {
        let matched = "hunter2' or 1=1";
        let part = Some("*' or *=*".to_owned());
        let none = Some("***".to_owned());
        for (target, expected) in [
            ("query:q", None),
            ("form:comment", None),
            ("json:comment", None),
            ("xml:title", None),
            ("path", None),
            ("query", None),
            ("query:password", none.clone()),
            ("json:api_key", none.clone()),
            ("xml:token", none.clone()),
            ("cookie:a", none.clone()),
            ("header:authorization", none.clone()),
            ("json:a_name_that_was_cut_somewhere_in", none.clone()),
            ("json", part.clone()),
            ("json:value", part.clone()),
            ("xml", part.clone()),
            ("xml:value", part.clone()),
            ("body", part.clone()),
            ("file", part.clone()),
            ("form", part.clone()),
        ] {
            assert_eq!(instead(target, matched), expected, "{target}");
        }
        assert_eq!(instead("xml", "<!DOCTYPE"), None);
        assert_eq!(instead("query:q", "4111 1111 1111 1111' or 1=1"), none);
    }
}
