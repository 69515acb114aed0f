//! After warm-up, the loop allocates nothing.
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[path = "../benches/engine_turn/traffic.rs"]
mod traffic;

use traffic::{BATCH, Kind, Traffic};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's; the count is a thread-local integer without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: by this function's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by this function's contract; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn keep_alive_traffic_allocates_nothing() {
    const FLOWS: u32 = 300;
    for kind in [Kind::Scored, Kind::Known, Kind::Counted] {
        let mut traffic = Traffic::new(FLOWS, kind);
        for _ in 0..200 {
            traffic.requests(BATCH);
        }
        let before = ALLOCATIONS.get();
        assert!(before > 0, "the allocator counts");
        // Enough for each flow to pass several look-ups of its server, and for many ticks.
        for _ in 0..2000 {
            traffic.requests(BATCH);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{kind:?}");
        let counters = traffic.counters();
        assert_eq!(counters.received, counters.forwarded, "{counters:?}");
        assert_eq!(counters.requests, [u64::from(FLOWS) + 2200 * BATCH as u64, 0, 0]);
    }
}
