//! Flows: from a received frame to bytes in order, and back to a frame that may go on.
//!
//! Pure logic, one instance a thread: no I/O, no clock of its own (`now` comes in, in nanoseconds), and after
//! construction no allocation. Everything that grows has a bound, and what happens at the bound is a
//! [`DropReason`] or follows the [`FailurePolicy`].
//!
//! ```text
//!  received frame F
//!      │  checksum::verify ── Bad ─────────────────────────────► drop (an insertion, if it were scored)
//!      ▼
//!  FlowTable::find / insert ── full ───────────────────────────► failure policy
//!      │ FlowHandle                              expired, evicted ─► callback: Stream::release
//!      ▼
//!  Stream::offer(Segment, F)
//!      │
//!      ├─ nothing new: ACK, SYN, probe, identical retransmission ───────────────► Forward(F)
//!      ├─ bytes ahead of a gap ──► Hold: F moves into the HoldPool
//!      │                              │ gap closed: Stream::next_held
//!      ├─ next bytes in order ◄───────┘
//!      │     └─► Score(Pending) ── the caller scores ──┬─ accept() ─► F: forward
//!      │            borrows the stream                 │     its new bytes are copied to the EvidencePool
//!      │                                               │     until the server has acknowledged them
//!      │                                               └─ reject() ─► F: drop; the stream is blocked
//!      └─ other bytes than went on or are held, beyond a bound, … ──────────────► Drop(F, DropReason)
//! ```
//!
//! # What holds
//!
//! What a server can assemble from the forwarded frames is a beginning of what was accepted for scoring, whichever of
//! overlapping segments it prefers, and whichever of the frames never reach it (a low hop limit, a
//! loss, a check that only the server makes). That is so with [`FailurePolicy::Drop`]; with
//! [`FailurePolicy::Pass`], it holds except for the ranges that could not be checked, which go on as told.
//!
//! # Example
//!
//! ```
//! use filter_user::flow::table::TableLimits;
//! use filter_user::flow::{
//!     Action, EvidencePool, Flags, FlowTable, HoldPool, Reassembly, Segment, Seq, Stream, StreamLimits, TimeoutClass,
//!     Unobserved,
//! };
//!
//! /// What the engine keeps for a flow; its parser would be the second field.
//! struct Flow {
//!     stream: Stream,
//! }
//!
//! type Frame = Vec<u8>; // in the engine: an owned UMEM frame
//! let evidence = EvidencePool::new(1024, 2048, 256 * 1024);
//! let mut shared = Reassembly::<Frame>::new(StreamLimits::default(), evidence, HoldPool::new(512, 512 * 1024));
//! let mut table: FlowTable<[u8; 40], Flow> = FlowTable::new(TableLimits::with_capacity(1000));
//! let (mut forwarded, mut dropped) = (Vec::new(), Vec::new());
//!
//! let mut receive = |key: [u8; 40], segment: Segment, frame: Frame, now: u64| {
//!     let handle = table.find(&key).or_else(|| {
//!         let flow = |handle: filter_user::flow::FlowHandle| Flow { stream: Stream::new(handle.slot()) };
//!         let removed = |_, flow: Flow, _| flow.stream.release(&mut shared, |frame| drop(frame));
//!         table.insert(key, TimeoutClass::HalfOpen, now, flow, removed).ok()
//!     });
//!     let Some(handle) = handle else { return }; // full: the failure policy decides
//!     let Some(Flow { stream }) = table.get_mut(handle) else { return };
//!     let mut action = Some(stream.offer(&mut shared, segment, frame, &mut Unobserved));
//!     while let Some(next) = action {
//!         match next {
//!             Action::Score(pending) if pending.payload().starts_with(b"EVIL") => dropped.push(pending.reject()),
//!             Action::Score(pending) => forwarded.push(pending.accept()),
//!             Action::Forward(frame) => forwarded.push(frame),
//!             Action::Drop(frame, _reason) => dropped.push(frame),
//!             Action::Hold => {}
//!         }
//!         action = stream.next_held(&mut shared);
//!     }
//!     let class = stream.class();
//!     table.touch(handle, class, now);
//! };
//!
//! let key = [0; 40];
//! let segment = |seq, flags, len| Segment { seq: Seq(seq), flags, offset: 0, len };
//! receive(key, segment(99, Flags::SYN, 0), vec![], 0);
//! receive(key, segment(104, Flags::ACK, 4), b"more".to_vec(), 1); // held
//! receive(key, segment(100, Flags::ACK, 4), b"EVIL".to_vec(), 2);
//! assert_eq!(forwarded, [b""]);
//! assert_eq!(dropped, [b"EVIL", b"more"]);
//! ```
//!
//! When [`EvidencePool::free_chunks`] runs low because many idle flows keep a few bytes each, the engine asks for
//! [`EvidencePool::oldest`], looks up what the server of that flow has acknowledged and calls
//! [`Stream::acknowledge`]; if that freed nothing, [`EvidencePool::defer_oldest`] makes the next one come up.

pub mod checksum;
mod continuation;
mod evidence;
mod hold;
mod index;
mod opening;
mod pending;
mod reason;
mod reassembly;
mod segment;
mod seq;
mod stream;
pub mod table;

pub use crate::config::FailurePolicy;
pub use continuation::Continuation;
pub use evidence::{Evidence, EvidencePool};
pub use hold::HoldPool;
pub use pending::{Continuity, Pending};
pub use reason::{DropCounters, DropReason};
pub use reassembly::{Reassembly, Replies, Reply, StreamLimits, SynAck, Unobserved};
pub use segment::{Flags, Segment};
pub use seq::Seq;
pub use stream::{Action, Stream};
pub use table::{FlowHandle, FlowTable, TimeoutClass};

/// Idle memory of a flow: its stream, its table entry and its share of the index, for a 40-byte key. What the engine
/// adds (the parser's state) has the rest of the 512 bytes a flow may take.
const _: () = assert!(FlowTable::<[u8; 40], Stream>::bytes_per_entry() <= 512 - 256);
