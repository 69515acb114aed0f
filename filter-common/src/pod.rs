//! Marker impls that let aya copy the map types to and from the kernel as bytes.
#![cfg(feature = "user")]
#![expect(
    unsafe_code,
    reason = "aya::Pod is an unsafe marker trait and has to be implemented where the types are"
)]

use crate::{
    Address, Counters, FlowKey, FlowState,
    block::Block,
    challenge::{ChallengeState, Proof},
    event::DropEvent,
    flood::{Leases, SourceRates, Totals},
    lists::Lists,
    metadata::Metadata,
    ports::Ports,
    queue::{InterfaceQueues, QueueState},
    service::{Service, ServiceKey},
    settings::Settings,
    source::Source,
};

macro_rules! pod {
    ($($name:ty),* $(,)?) => {
        $(
            // SAFETY: `#[repr(C)]` of integers only, padding spelt out (sizes are asserted beside each type),
            // so every byte is initialised and every bit pattern is valid.
            unsafe impl aya::Pod for $name {}
        )*
    };
}

pod!(
    Address,
    Block,
    ChallengeState,
    Proof,
    Leases,
    Counters,
    DropEvent,
    FlowKey,
    FlowState,
    InterfaceQueues,
    Lists,
    Metadata,
    Ports,
    QueueState,
    Service,
    ServiceKey,
    Settings,
    Source,
    SourceRates,
    Totals
);
