//! The text of a feed.

use std::net::IpAddr;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::FeedError;
use crate::config::{Feed, FeedFormat, parse_cidr};

/// Of a wrong line, so many characters are shown.
const SHOWN: usize = 60;

/// What a feed lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// In order, and each once.
    pub nets: Vec<IpNet>,
    /// Those that are left out because their prefixes are too short: a mistake in a list must not block half of the Internet.
    pub too_wide: u64,
}

/// The entries of a feed.
///
/// # Errors
///
/// When a line is no entry, and when there are too many or none.
pub fn parse(feed: &Feed, bytes: &[u8]) -> Result<Entries, FeedError> {
    let most = feed.max_entries as usize;
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = String::from_utf8_lossy(line);
        let text = line.split(['#', ';']).next().unwrap_or_default().trim();
        // A mark that editors put at the beginning.
        let text = text.trim_start_matches('\u{feff}');
        if text.is_empty() {
            continue;
        }
        if !push(feed.format, text, &mut entries, most) {
            return Err(FeedError::Line {
                line: number,
                text: text.chars().filter(|c| !c.is_control()).take(SHOWN).collect(),
            });
        }
        if entries.len() > most {
            return Err(FeedError::TooMany(feed.max_entries));
        }
    }
    if entries.is_empty() {
        return Err(FeedError::Empty);
    }
    entries.sort_unstable();
    entries.dedup();
    let all = entries.len();
    entries.retain(|net| {
        let least = match net {
            IpNet::V4(_) => feed.min_prefix_ipv4,
            IpNet::V6(_) => feed.min_prefix_ipv6,
        };
        net.prefix_len() >= least
    });
    let too_wide = (all - entries.len()) as u64;
    if entries.is_empty() {
        return Err(FeedError::TooWide(too_wide));
    }
    Ok(Entries {
        nets: entries,
        too_wide,
    })
}

/// Adds what a line says, up to one more than is wanted. Returns whether it says anything.
fn push(format: FeedFormat, text: &str, entries: &mut Vec<IpNet>, most: usize) -> bool {
    if let Some(net) = block(text) {
        entries.push(net);
        return true;
    }
    let range = match format {
        FeedFormat::Plain => None,
        FeedFormat::Netset => text.split_once('-').and_then(|(first, last)| {
            let first: IpAddr = first.trim().parse().ok()?;
            let last: IpAddr = last.trim().parse().ok()?;
            match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                    Some(IpSubnets::from(Ipv4Subnets::new(first, last, 0)))
                }
                (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                    Some(IpSubnets::from(Ipv6Subnets::new(first, last, 0)))
                }
                _ => None,
            }
        }),
    };
    let Some(range) = range else { return false };
    entries.extend(range.take((most + 1).saturating_sub(entries.len())));
    true
}

/// An address or a block. Lists are made by programs: bits beyond the prefix are no mistake of a person's.
fn block(text: &str) -> Option<IpNet> {
    match text.parse::<IpNet>() {
        Ok(net) => parse_cidr(&net.trunc().to_string()).ok(),
        Err(_) => parse_cidr(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(text: &str) -> Feed {
        toml::from_str(&format!("name = 'a'\nsource = '/a'\n{text}")).expect("a feed")
    }

    fn read(feed: &Feed, text: &str) -> Result<Vec<String>, String> {
        let entries = parse(feed, text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(entries.nets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_blocks_and_comments_are_read() {
        let text = "\u{feff}# a list\n\n192.0.2.7\r\n 198.51.100.9/24 ; SBL1\n2001:db8::/32 # x\n192.0.2.7\n";
        let expected = ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"];
        assert_eq!(read(&feed(""), text).expect("right"), expected);
        let ranges = "192.0.2.0 - 192.0.2.4\n2001:db8::-2001:db8::1\n";
        let expected = ["192.0.2.0/30", "192.0.2.4/32", "2001:db8::/127"];
        assert_eq!(read(&feed("format = 'netset'"), ranges).expect("right"), expected);
    }

    #[test]
    fn what_is_too_wide_is_left_out() {
        let text = "0.0.0.0/0\n10.0.0.0/7\n11.0.0.0/8\n::/0\n2001:c000::/18\n2001:e000::/19\n192.0.2.7\n";
        let entries = parse(&feed(""), text.as_bytes()).expect("right");
        let nets: Vec<_> = entries.nets.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["11.0.0.0/8", "192.0.2.7/32", "2001:e000::/19"]);
        assert_eq!(entries.too_wide, 4);
        let settings = "format = 'netset'\nmin_prefix_ipv4 = 24\nmin_prefix_ipv6 = 1";
        let text = "192.0.2.0-192.0.3.255\n198.51.100.0-198.51.100.255\n8000::/1\n";
        let entries = parse(&feed(settings), text.as_bytes()).expect("right");
        let nets: Vec<_> = entries.nets.iter().map(ToString::to_string).collect();
        assert_eq!(
            (nets, entries.too_wide),
            (vec!["198.51.100.0/24".into(), "8000::/1".to_owned()], 1)
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let long = "x".repeat(1000);
        for (settings, text, message) in [
            ("", "<html>\n", "line 1: `<html>` is no address"),
            ("", "192.0.2.1\n192.0.2.1-192.0.2.2\n", "line 2"),
            ("format = 'netset'", "192.0.2.9-192.0.2.2\n", "line 1"),
            ("format = 'netset'", "192.0.2.9-2001:db8::\n", "line 1"),
            ("", "192.0.2.1/33", "line 1"),
            ("", "# nothing\n\n", "no entries"),
            (
                "max_entries = 2",
                "10.0.0.1\n10.0.0.2\n10.0.0.3\n",
                "more than max_entries = 2",
            ),
            (
                "format = 'netset'\nmax_entries = 9",
                "::1-ffff::\n",
                "more than max_entries = 9",
            ),
            ("", "0.0.0.0/0\n::/0\n", "all its 2 entries are wider"),
            ("", long.as_str(), "line 1"),
            ("", "\u{1b}[31m\u{0}", "line 1: `[31m`"),
        ] {
            let error = read(&feed(settings), text).expect_err(text);
            assert!(error.contains(message) && error.len() < 200, "{text}: {error}");
        }
        assert!(parse(&feed(""), &[0xff, 0xfe, 0, 1]).is_err());
    }
}
