//! Which queue of the engine a packet goes to, where there are several interfaces.

use filter_common::{Reason, queue::InterfaceQueues, service::Service, settings::Settings};

use crate::{
    bed::Bed,
    packets::{Family, SERVER_PORT, request},
};

/// Test runs come from the loopback interface's queue 0.
const LOOPBACK: u32 = 1;
const OTHER: u32 = 7;

#[test]
fn queues_are_numbered_through_over_the_interfaces() {
    let Some(mut bed) = Bed::new() else { return };
    let own = |first, count| (LOOPBACK, InterfaceQueues { first, count });
    let other = |first, count| (OTHER, InterfaceQueues { first, count });
    for (interfaces, queue) in [
        (&[own(0, 1), other(1, 1)][..], Some(0)),
        (&[other(0, 5), own(5, 2)], Some(5)),
        // More queues than are read, and an interface that is not filtered.
        (&[own(0, 0), other(0, 1)], None),
        (&[other(0, 1)], None),
        (&[], None),
    ] {
        bed.reset();
        bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
        bed.configure(|settings| settings.forward = Settings::FORWARD_SEVERAL);
        bed.tables.set_interfaces(interfaces).expect("there is room");
        bed.start_engine_on(queue.unwrap_or(0));
        for family in [Family::V4, Family::V6] {
            let reason = bed.receive(&request(family).to_bytes());
            let state = bed.tables.flows.get(&family.flow(), 0).ok();
            if let Some(queue) = queue {
                assert_eq!(reason, Reason::ServiceAll);
                assert_eq!(state.map(|state| u32::from(state.queue)), Some(queue));
            } else {
                assert_eq!((reason, state), (Reason::CrashDrop, None));
            }
        }
        // Each interface for itself: the numbers are those of its queues, whatever the map says.
        bed.configure(|settings| settings.forward = Settings::FORWARD_HOST);
        bed.start_engine();
        assert!(matches!(
            bed.receive(&request(Family::V4).to_bytes()),
            Reason::ServiceAll | Reason::FlowInspect
        ));
    }
}
