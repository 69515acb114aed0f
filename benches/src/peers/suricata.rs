//! Suricata inline: behind `NFQUEUE`, or as a bridge between two `AF_PACKET` sockets.

use std::fs;

use anyhow::{Context as _, Result};
use xtask::lab::{Lab, namespace};

use super::PORT;
use crate::{netfilter, process::Process};

/// How packets come to it and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inline {
    /// Packets of both directions wait in a queue for its verdict, in a lab that routes.
    Queue,
    /// It copies frames from one interface to the other, in a bridged lab.
    Packet,
}

const QUEUE: u16 = 0;

/// Starts it with these signatures.
pub(super) fn start(lab: &Lab, inline: Inline, signatures: &str) -> Result<Process> {
    let directory = lab.directory().join("suricata");
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let configuration = directory.join("suricata.yaml");
    fs::write(&configuration, text(&directory.display().to_string(), inline))
        .context("writing suricata.yaml")?;
    fs::write(directory.join("bench.rules"), signatures).context("writing the signatures")?;
    let mut command = lab.gateway().command("suricata");
    command.arg("-c").arg(&configuration).arg("-l").arg(&directory);
    command.arg("--pidfile").arg(directory.join("pid"));
    match inline {
        Inline::Queue => {
            command.args(["-q", &QUEUE.to_string()]);
        }
        Inline::Packet => {
            lab.cut_wire()?;
            for interface in ["outside", "inside"] {
                // Joined packets are longer than what a socket sends, and it completes no checksums.
                let mut ethtool = lab.gateway().command("ethtool");
                namespace::run(ethtool.args([
                    "-K", interface, "gro", "off", "gso", "off", "tso", "off", "tx", "off",
                ]))?;
            }
            command.arg("--af-packet");
        }
    }
    let process = Process::start(lab, "suricata", command, |log| log.contains("Engine started"))?;
    if inline == Inline::Queue {
        netfilter::add(
            lab,
            &["--dport", "--sport"]
                .map(|side| format!("-A FORWARD -p tcp {side} {PORT} -j NFQUEUE --queue-num {QUEUE}")),
        )?;
    }
    Ok(process)
}

fn text(directory: &str, inline: Inline) -> String {
    // How a reset is sent: by the host's routes, or out of the interface.
    let mode = match inline {
        Inline::Queue => "router",
        Inline::Packet => "sniffer-only",
    };
    let interface = |(name, other, cluster)| {
        format!(
            "  - {{ interface: {name}, cluster-id: {cluster}, cluster-type: cluster_flow, threads: 1, copy-mode: ips, \
             copy-iface: {other}, use-mmap: yes, tpacket-v3: no, ring-size: 4096 }}\n"
        )
    };
    let interfaces = [("outside", "inside", 98), ("inside", "outside", 97)].map(interface);
    format!(
        "%YAML 1.1\n---\n\
         vars:\n  address-groups: {{ HOME_NET: any, EXTERNAL_NET: any }}\n  port-groups: {{ HTTP_PORTS: any }}\n\
         default-log-dir: {directory}\n\
         stats: {{ enabled: no }}\n\
         outputs:\n  - stats: {{ enabled: no }}\n\
         logging:\n  default-log-level: notice\n  outputs:\n    - console: {{ enabled: yes }}\n\
         unix-command: {{ enabled: no }}\n\
         runmode: workers\n\
         host-mode: {mode}\n\
         max-pending-packets: 1024\n\
         nfq: {{ mode: accept, batchcount: 20, fail-open: no }}\n\
         af-packet:\n{}\
         stream: {{ inline: yes, checksum-validation: no, midstream: no }}\n\
         app-layer:\n  protocols:\n    http:\n      enabled: yes\n      libhtp:\n        default-config: \
         {{ personality: IDS, request-body-limit: 64kb, response-body-limit: 1kb }}\n\
         default-rule-path: {directory}\n\
         rule-files: [ bench.rules ]\n",
        interfaces.concat()
    )
}
