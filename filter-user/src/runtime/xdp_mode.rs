//! Where the XDP program is to run: in the driver or in the stack.

use crate::{bpf::XdpMode, config, host::Interface};

/// The modes to try, in this order, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) modes: &'static [XdpMode],
    pub(super) reason: &'static str,
}

impl Choice {
    /// What the configuration demands, or what suits the interface. `in_parts` says whether the kernel can hand over
    /// packets in several frames.
    pub(super) fn of(demanded: config::XdpMode, interface: &Interface, in_parts: bool) -> Self {
        use XdpMode::{Generic, Native};
        let (modes, reason): (&[XdpMode], _) = match demanded {
            config::XdpMode::Native => (&[Native], "as configured"),
            config::XdpMode::Generic => (&[Generic], "as configured"),
            config::XdpMode::Auto if !interface.is_veth => (&[Native, Generic], "native first"),
            config::XdpMode::Auto if in_parts => (
                &[Generic, Native],
                "a veth copies every packet into a page for native XDP",
            ),
            config::XdpMode::Auto => (
                &[Native, Generic],
                "the kernel cannot hand over the joined packets of a veth's generic XDP",
            ),
        };
        Self { modes, reason }
    }

    /// Why the program is attached as it is; without a mode it was attached before.
    pub(super) fn reason_for(&self, mode: Option<XdpMode>) -> &'static str {
        match mode {
            Some(mode) if Some(&mode) == self.modes.first() => self.reason,
            Some(_) => "as nothing else works here",
            None => "taken over from the engine before",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_veth_prefers_generic_and_only_if_joined_packets_can_be_received() {
        use XdpMode::{Generic, Native};
        let demands = [
            (config::XdpMode::Auto, true, true, &[Generic, Native][..]),
            (config::XdpMode::Auto, true, false, &[Native, Generic]),
            (config::XdpMode::Auto, false, true, &[Native, Generic]),
            (config::XdpMode::Native, true, true, &[Native]),
            (config::XdpMode::Generic, false, false, &[Generic]),
        ];
        for (demanded, is_veth, in_parts, modes) in demands {
            let interface = Interface {
                name: "eth0".into(),
                index: 2,
                address: [2, 0, 0, 0, 0, 1],
                mtu: 1500,
                queues: 1,
                up: true,
                is_promiscuous: false,
                is_veth,
                xdp_mode: None,
            };
            let choice = Choice::of(demanded, &interface, in_parts);
            assert_eq!(choice.modes, modes, "{demanded:?} {is_veth} {in_parts}");
        }
    }
}
