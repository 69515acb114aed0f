//! `[engine]`: where the engine attaches, and how it runs.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Interfaces;

/// Where the engine attaches, and how its threads run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// The network interface to filter, or several; `--iface` overrides it.
    pub interface: Option<Interfaces>,
    /// How accepted packets go on.
    pub forward: Forward,
    /// The interface that the servers are behind, of a bridge; `--bridge` overrides it.
    pub server_interface: Option<String>,
    /// What becomes of packets that should be inspected and cannot be.
    pub on_failure: FailurePolicy,
    /// How many receive queues of each interface are read.
    pub queues: Queues,
    /// The CPU of each queue's thread, in queue order; empty: the allowed CPUs in turn.
    pub cpus: Vec<u32>,
    /// How a queue's thread waits for packets.
    pub poll: Poll,
    /// How queues' threads share their CPUs with other work.
    pub scheduling: Scheduling,
    /// How the XDP program attaches.
    pub xdp_mode: XdpMode,
    /// What becomes of offloads of the interfaces that hide packets from XDP.
    pub offloads: Offloads,
    /// The least severe level the engine logs.
    pub log: Level,
    /// The least severe level the XDP program logs.
    pub ebpf_log: Level,
    /// Where maps and links are pinned; a directory on a BPF file system.
    pub pin_dir: PathBuf,
    /// The control socket.
    pub control_socket: PathBuf,
    /// What becomes of VLAN-tagged frames to an inspected service.
    pub vlan: VlanPolicy,
    /// What becomes of IP fragments to an inspected service.
    pub fragments: FragmentPolicy,
    /// What to do if another XDP program is attached to an interface.
    pub replace_foreign: ForeignProgram,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            interface: None,
            forward: Forward::Host,
            server_interface: None,
            on_failure: FailurePolicy::Pass,
            queues: Queues::Auto,
            cpus: Vec::new(),
            poll: Poll::default(),
            scheduling: Scheduling::Batch,
            xdp_mode: XdpMode::Auto,
            offloads: Offloads::Auto,
            log: Level::Info,
            ebpf_log: Level::Off,
            pin_dir: PathBuf::from("/sys/fs/bpf/portcullis"),
            control_socket: PathBuf::from("/run/portcullis/control.sock"),
            vlan: VlanPolicy::Auto,
            fragments: FragmentPolicy::Inspect,
            replace_foreign: ForeignProgram::Refuse,
        }
    }
}

/// How a queue's thread waits for packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Poll {
    /// How long an empty ring is read again before the thread sleeps, in microseconds.
    pub spin_us: u32,
    /// What comes after that.
    pub idle: Idle,
    /// Packets that the driver is asked for at once while an empty ring is read again (preferred busy polling); 0: none, its
    /// interrupts bring them.
    pub busy_budget: u16,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            spin_us: 3,
            idle: Idle::Sleep,
            busy_budget: 0,
        }
    }
}

/// Defines a unit enum that is written in lower case in the configuration, on the command line and on
/// the control socket.
macro_rules! keyword {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] #[value(name = $text)] $variant),+
        }

        impl $name {
            /// The keyword as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(super) use keyword;

keyword! {
    /// How accepted packets go on.
    Forward {
        /// Back into this host's network stack.
        Host = "host",
        /// Out of the interface that the servers are behind, past the stack.
        Bridge = "bridge",
    }
}

keyword! {
    /// What becomes of packets that should be inspected and cannot be: the engine is gone or hangs, a
    /// ring or a table is full.
    FailurePolicy {
        /// They pass without a look: the service stays up.
        Pass = "pass",
        /// They are dropped: nothing unseen gets through.
        Drop = "drop",
    }
}

keyword! {
    /// What a thread does after it has found nothing for `spin_us`.
    Idle {
        /// Sleep until the kernel has a packet; costs no CPU, and some microseconds to wake up.
        Sleep = "sleep",
        /// Go on reading; the lowest latency, at one whole CPU a queue.
        Spin = "spin",
    }
}

keyword! {
    /// How the kernel schedules a queue's thread on a CPU that others use, too; alike on a CPU of its own.
    Scheduling {
        /// It lets the running work go on until that sleeps or its time is up: the most requests.
        Batch = "batch",
        /// It interrupts what runs as soon as a packet is there: the lowest latency.
        Normal = "normal",
    }
}

keyword! {
    /// How the XDP program attaches.
    XdpMode {
        /// In the driver if it can, else generic; on a veth the other way round.
        Auto = "auto",
        /// In the driver, or not at all.
        Native = "native",
        /// In the network stack, for drivers without XDP.
        Generic = "generic",
    }
}

keyword! {
    /// What becomes of offloads that join packets or hide their VLAN tags before XDP sees them.
    Offloads {
        /// Those that are on are switched off, and on again when the engine stops.
        Auto = "auto",
        /// They stay as they are; what will go wrong is warned of.
        Keep = "keep",
    }
}

keyword! {
    /// The severity of a log line.
    Level {
        /// Nothing is logged.
        Off = "off",
        /// What stops the engine or a part of it.
        Error = "error",
        /// What an operator should look at.
        Warn = "warn",
        /// What happens in the large.
        Info = "info",
        /// Decisions and state changes.
        Debug = "debug",
        /// Single packets.
        Trace = "trace",
    }
}

keyword! {
    /// What becomes of VLAN-tagged frames.
    VlanPolicy {
        /// A bridge inspects them; a host passes them, as they would miss the VLAN device when given back to the stack.
        Auto = "auto",
        /// They pass uninspected; addresses and blocks are still checked.
        Pass = "pass",
        /// They are dropped.
        Drop = "drop",
    }
}

keyword! {
    /// What becomes of IP fragments to an inspected service.
    FragmentPolicy {
        /// They are put together and judged as one packet.
        Inspect = "inspect",
        /// They are dropped: a later fragment has no ports to judge by.
        Drop = "drop",
        /// They pass uninspected.
        Pass = "pass",
    }
}

keyword! {
    /// What to do if another XDP program is attached.
    ForeignProgram {
        /// Stop, and say which program is there.
        Refuse = "refuse",
        /// Take it off, unless a program that runs holds it.
        Replace = "replace",
    }
}

/// How many receive queues are read: `"auto"` (all the interface has) or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queues {
    /// All queues of the interface.
    Auto,
    /// This many, from queue 0.
    Count(u32),
}

impl Serialize for Queues {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => out.serialize_str("auto"),
            Self::Count(n) => out.serialize_u32(*n),
        }
    }
}

impl<'de> Deserialize<'de> for Queues {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Queues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a number of queues")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Queues, E> {
                if text == "auto" {
                    Ok(Queues::Auto)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Queues, E> {
                u32::try_from(n)
                    .map(Queues::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Queues, E> {
                u32::try_from(n)
                    .map(Queues::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }
        }
        de.deserialize_any(Visitor)
    }
}
