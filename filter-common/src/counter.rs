//! Packet counters: one for every reason, each reason belonging to one action.

use crate::flood::Class;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Dropped in XDP.
    Drop,
    /// Handed to the kernel's stack.
    Pass,
    /// Handed to the engine.
    Redirect,
    /// Answered in its place.
    Answer,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident $field:ident $action:ident,)*) => {
        /// Why a packet was dropped, passed or redirected. Every packet is counted under exactly one reason.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Reason {
            /// All reasons, in the order of the [`Counters`] fields.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name of the counter.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }

            /// What the reason says, for people.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)* }
            }

            /// What becomes of such a packet.
            #[inline(always)]
            #[must_use]
            pub const fn action(self) -> Action {
                match self { $(Self::$variant => Action::$action,)* }
            }

            /// The reason with number `number`.
            #[must_use]
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.get(number as usize).copied()
            }
        }

        /// Value of the per-CPU `COUNTERS` map: packets by reason.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $field: u64,)*
        }

        impl Counters {
            /// Packets counted under `reason`.
            #[must_use]
            pub const fn get(&self, reason: Reason) -> u64 {
                match reason { $(Reason::$variant => self.$field,)* }
            }

            /// Packets with this fate, for whatever reason.
            #[must_use]
            pub fn total(&self, action: Action) -> u64 {
                Reason::ALL.iter().filter(|reason| reason.action() == action).map(|reason| self.get(*reason)).sum()
            }

            /// Adds another CPU's counters.
            pub const fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counters! {
    /// the frame ends inside a header
    Truncated drop_truncated Drop,
    /// more than two VLAN tags
    VlanDepth drop_vlan_depth Drop,
    /// IPv4 header with a wrong version or header length
    BadIpv4 drop_bad_ipv4 Drop,
    /// IPv6 header with a wrong version
    BadIpv6 drop_bad_ipv6 Drop,
    /// IPv6 extension headers that are too many, too long or overrun the packet
    BadExtension drop_bad_extension Drop,
    /// a length field says more than the frame holds, or less than its own header
    BadLength drop_bad_length Drop,
    /// TCP header with a wrong data offset
    BadTcp drop_bad_tcp Drop,
    /// TCP without any flag
    TcpNoFlags drop_tcp_no_flags Drop,
    /// TCP with all flags
    TcpAllFlags drop_tcp_all_flags Drop,
    /// TCP with SYN and FIN, or SYN and RST
    TcpSynFin drop_tcp_syn_fin Drop,
    /// source address equal to the destination
    SameAddress drop_same_address Drop,
    /// loopback, multicast or broadcast source address
    MartianSource drop_martian_source Drop,
    /// on the block list
    BlockList drop_block_list Drop,
    /// the source is blocked for a time
    SourceBlock drop_source_block Drop,
    /// the flow was blocked by the engine
    FlowBlock drop_flow_block Drop,
    /// the source is over its limit of packets
    SourcePackets drop_source_packets Drop,
    /// the source is over its limit of SYNs
    SourceSyns drop_source_syns Drop,
    /// the source is over its limit of new flows
    SourceFlows drop_source_flows Drop,
    /// the source is over its inspection budget
    SourceInspected drop_source_inspected Drop,
    /// the source is over its limit of UDP
    SourceUdp drop_source_udp Drop,
    /// the source is over its limit of ICMP
    SourceIcmp drop_source_icmp Drop,
    /// the source is over its limit of UDP from ports that reflect
    SourceReflection drop_source_reflection Drop,
    /// all sources together are over the limit of packets
    TotalPackets drop_total_packets Drop,
    /// all sources together are over the limit of SYNs
    TotalSyns drop_total_syns Drop,
    /// all sources together are over the limit of new flows
    TotalFlows drop_total_flows Drop,
    /// all sources together are over the inspection budget
    TotalInspected drop_total_inspected Drop,
    /// all sources together are over the limit of UDP
    TotalUdp drop_total_udp Drop,
    /// all sources together are over the limit of ICMP
    TotalIcmp drop_total_icmp Drop,
    /// all sources together are over the limit of UDP from ports that reflect
    TotalReflection drop_total_reflection Drop,
    /// all sources together are over the limit of segments of no known flow that open none
    Strays drop_strays Drop,
    /// the source has proved that it exists: the reset that a challenge asks for
    ChallengeProved drop_challenge_proved Drop,
    /// while sources are challenged: a reset of no flow that answers no challenge
    ChallengeFailed drop_challenge_failed Drop,
    /// TCP fragment for an inspected address
    Fragment drop_fragment Drop,
    /// VLAN-tagged packet for an inspected service
    Vlan drop_vlan Drop,
    /// failure policy: no engine behind the queue
    CrashDrop drop_engine_absent Drop,
    /// failure policy: the engine's heartbeat is too old
    HangDrop drop_engine_hung Drop,
    /// failure policy: the engine's ring is full
    RingFullDrop drop_ring_full Drop,
    /// no interface on the other side of the bridge
    NoBridge drop_no_bridge Drop,
    /// neither IPv4 nor IPv6
    NotIp pass_not_ip Pass,
    /// the program has not been configured yet
    NotConfigured pass_not_configured Pass,
    /// on the allow list
    AllowList pass_allow_list Pass,
    /// no inspected service at the destination
    NoService pass_no_service Pass,
    /// the service is not inspected
    ServiceNone pass_service_none Pass,
    /// the service is inspected on suspicion and nothing was suspicious
    NotSuspicious pass_not_suspicious Pass,
    /// from the servers' side of the bridge
    Reply pass_reply Pass,
    /// bare acknowledgement of an inspected flow: nothing in it to inspect
    Acknowledgement pass_acknowledgement Pass,
    /// TCP fragment for an inspected address, passed by policy
    FragmentPass pass_fragment Pass,
    /// VLAN-tagged packet for an inspected service, passed by policy
    VlanPass pass_vlan Pass,
    /// failure policy: no engine behind the queue
    CrashPass pass_engine_absent Pass,
    /// failure policy: the engine's heartbeat is too old
    HangPass pass_engine_hung Pass,
    /// failure policy: the engine's ring is full
    RingFullPass pass_ring_full Pass,
    /// the service inspects every flow
    ServiceAll redirect_service Redirect,
    /// the flow is being inspected
    FlowInspect redirect_flow Redirect,
    /// the source is new
    SuspectNew redirect_new_source Redirect,
    /// the source has a reputation
    SuspectReputation redirect_reputation Redirect,
    /// the source is on a watch list
    SuspectWatch redirect_watch_list Redirect,
    /// the source is over its soft limit
    SuspectSoftLimit redirect_soft_limit Redirect,
    /// the payload failed the pre-screen
    SuspectPrescreen redirect_prescreen Redirect,
    /// the packet has odd options
    SuspectOdd redirect_odd_options Redirect,
    /// TCP fragment for an inspected address
    FragmentInspect redirect_fragment Redirect,
    /// while sources are challenged: a SYN of a source that has proved nothing yet
    Challenge tx_challenge Answer,
}

impl Reason {
    /// A source is over its limit of `class`.
    #[inline(always)]
    #[must_use]
    pub const fn source_limit(class: Class) -> Self {
        match class {
            Class::Packets => Self::SourcePackets,
            Class::Syns => Self::SourceSyns,
            Class::Flows => Self::SourceFlows,
            Class::Inspected => Self::SourceInspected,
            Class::Udp => Self::SourceUdp,
            Class::Icmp => Self::SourceIcmp,
            Class::Reflection => Self::SourceReflection,
        }
    }

    /// All sources together are over the limit of `class`.
    #[inline(always)]
    #[must_use]
    pub const fn total_limit(class: Class) -> Self {
        match class {
            Class::Packets => Self::TotalPackets,
            Class::Syns => Self::TotalSyns,
            Class::Flows => Self::TotalFlows,
            Class::Inspected => Self::TotalInspected,
            Class::Udp => Self::TotalUdp,
            Class::Icmp => Self::TotalIcmp,
            Class::Reflection => Self::TotalReflection,
        }
    }
}

const _: () = assert!(size_of::<Counters>() == Reason::ALL.len() * 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_of_one_action() {
        let counters = Counters {
            drop_truncated: 1,
            pass_not_ip: 2,
            pass_ring_full: 4,
            redirect_flow: 8,
            redirect_fragment: 16,
            tx_challenge: 32,
            ..Counters::default()
        };
        let actions = [Action::Drop, Action::Pass, Action::Redirect, Action::Answer];
        assert_eq!(actions.map(|action| counters.total(action)), [1, 6, 24, 32]);
    }

    #[test]
    fn reasons_and_fields_are_in_the_same_order() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(Reason::from_number(number as u32), Some(*reason));
            let prefix = match reason.action() {
                Action::Drop => "drop_",
                Action::Pass => "pass_",
                Action::Redirect => "redirect_",
                Action::Answer => "tx_",
            };
            assert!(reason.name().starts_with(prefix), "{}", reason.name());
            assert!(!reason.description().is_empty());
        }
        assert_eq!(Reason::from_number(Reason::ALL.len() as u32), None);
    }
}
