//! What iptables has against the same floods.
//!
//! SYNs are answered with cookies (`SYNPROXY`), and only who answers those becomes a connection; segments of no connection are dropped;
//! UDP to the service has a rate; each source has a rate of segments with data, which stand for requests. The pattern is one
//! of the attack that the flood of requests sends, found as it stands: nothing is decoded or put together.

use anyhow::Result;
use xtask::lab::{Lab, address};

use crate::netfilter;

/// Sets them up in the gateway; `limited` with the rate of each source.
pub(super) fn start(lab: &Lab, limited: bool) -> Result<()> {
    let port = address::NGINX_PORT;
    let data = format!("-A FORWARD -p tcp --dport {port} --tcp-flags PSH PSH");
    let mut rules = vec![
        format!(
            "-t raw -A PREROUTING -p udp --dport {port} -m limit --limit 1000/second --limit-burst 1000 -j ACCEPT"
        ),
        format!("-t raw -A PREROUTING -p udp --dport {port} -j DROP"),
        format!("-t raw -A PREROUTING -p tcp --dport {port} --syn -j CT --notrack"),
        format!(
            "-A FORWARD -p tcp --dport {port} -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp \
             --wscale 7 --mss 1460"
        ),
        format!("-A FORWARD -p tcp --dport {port} -m conntrack --ctstate INVALID -j DROP"),
    ];
    if limited {
        rules.push(format!(
            "{data} -m hashlimit --hashlimit-name client --hashlimit-mode srcip --hashlimit-above 200/second \
             --hashlimit-burst 200 -j DROP"
        ));
        rules.push(format!(
            "{data} -m string --algo bm --string UNION+SELECT -j DROP"
        ));
    }
    netfilter::add(lab, &rules)?;
    // An acknowledgement does not make a connection.
    lab.gateway()
        .sysctl("net/netfilter/nf_conntrack_tcp_loose", "0")?;
    // More connections a second than the table has room for over the usual two minutes.
    lab.gateway()
        .sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5")?;
    lab.gateway().sysctl("net/ipv4/tcp_syncookies", "1")?;
    lab.gateway().sysctl("net/ipv4/tcp_timestamps", "1")
}
