//! The rings of one RX queue: frames in from the NIC, out to the output device and back out of the NIC.

use std::{
    error::Error,
    ffi::CString,
    fmt, hint, io, mem,
    num::NonZeroU32,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr::NonNull,
    thread,
    time::Duration,
};

use filter_common::metadata::Metadata;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use xsk_rs::{
    CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem,
    config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig},
};

use super::{
    Frame,
    busy_poll::{self, BusyPoll},
};

/// Frames taken from the RX ring at once.
const BATCH: usize = 64;
/// Bytes in front of a packet that the kernel leaves free in each frame (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;
/// A copy-mode `sendto` sends about 32 frames: this many calls empty the largest ring.
const MAX_KICKS: usize = 256;
/// One lingering: so many looks at the ring, with so many pauses (up to some 40 ns each) before each.
const LINGER_LOOKS: usize = 4;
const LINGER_PAUSES: usize = 4;
/// A socket of an engine that has just gone keeps its queue busy for some milliseconds.
const BIND_TRIES: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// How to set up the rings of one queue.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// The NIC that is filtered.
    pub interface: String,
    /// Its RX queue.
    pub queue: u32,
    /// The device accepted frames go out of.
    pub output: String,
    /// Its queue.
    pub output_queue: u32,
    /// Frames in the UMEM; a power of two.
    pub frames: u32,
    /// Bytes of one frame: 2048 or 4096.
    pub frame_size: u32,
    /// Whether the kernel copies packets into the UMEM.
    pub mode: CopyMode,
    /// Whether the kernel may spread a packet over several frames (Linux 6.6).
    pub multi_buffer: bool,
    /// Packets that the driver is asked for at once when the RX ring is read again; none: they come by its interrupts.
    pub busy_budget: u16,
}

impl RingConfig {
    /// Bytes of a packet that a frame holds.
    #[must_use]
    pub fn frame_bytes(frame_size: u32) -> u32 {
        frame_size - XDP_HEADROOM
    }

    fn bind_flags(&self) -> BindFlags {
        let mut flags = BindFlags::XDP_USE_NEED_WAKEUP;
        flags |= match self.mode {
            CopyMode::ZeroCopy => BindFlags::XDP_ZEROCOPY,
            CopyMode::Copy => BindFlags::XDP_COPY,
        };
        if self.multi_buffer {
            flags |= BindFlags::XDP_USE_SG;
        }
        flags
    }
}

/// How packets get from the driver into the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// The driver receives into it.
    ZeroCopy,
    /// The kernel copies; works with every driver.
    Copy,
}

/// Why the rings could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A size is not one the kernel takes.
    #[error("invalid ring or frame size: {0}")]
    Size(String),
    /// The UMEM could not be registered.
    #[error("cannot register {bytes} bytes of packet memory (is `ulimit -l` too low?): {source}")]
    Umem {
        /// Bytes asked for.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A socket could not be bound.
    #[error("cannot bind an AF_XDP socket to queue {queue} of {interface}: {source}")]
    Socket {
        /// The device.
        interface: String,
        /// The queue.
        queue: u32,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// One device's sending half.
struct Sender {
    tx: TxQueue,
    completions: CompQueue,
    pending: Vec<FrameDesc>,
    ring_size: u32,
    /// Frames in the TX ring or the driver, not completed yet.
    in_flight: usize,
}

/// The rings of one queue over one UMEM. Frames pass from the RX ring to either TX ring without being copied.
pub struct QueueRings {
    umem: Umem,
    rx: RxQueue,
    fill: FillQueue,
    nic: Sender,
    output: Sender,
    /// Bound together with the output socket; nothing is received there.
    _output_rx: (RxQueue, FillQueue),
    free: Vec<FrameDesc>,
    scratch: Vec<FrameDesc>,
    frames: u32,
    /// Frames that came out of the fill ring and were not put back yet.
    owed: usize,
    /// [`Frame`]s that exist.
    outstanding: usize,
    /// What [`QueueRings::lost`] has told so far.
    lost: u64,
    busy: Option<BusyPoll>,
}

impl QueueRings {
    /// Registers the UMEM and binds both sockets.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(config: &RingConfig) -> Result<Self, BindError> {
        let half = QueueSize::new(config.frames / 2).map_err(|error| BindError::Size(error.to_string()))?;
        let frame_size =
            FrameSize::new(config.frame_size).map_err(|error| BindError::Size(error.to_string()))?;
        let umem_config = UmemConfig::builder()
            .frame_size(frame_size)
            .fill_queue_size(half)
            .comp_queue_size(half)
            .build()
            .map_err(|error| BindError::Size(error.to_string()))?;
        let count = NonZeroU32::new(config.frames).ok_or_else(|| BindError::Size("no frames".into()))?;
        let (umem, free) = Umem::new(umem_config, count, false).map_err(|error| BindError::Umem {
            bytes: u64::from(config.frames) * u64::from(config.frame_size),
            source: cause(&error),
        })?;

        let flags = config.bind_flags();
        let (tx, rx, rings) = open(&umem, &config.interface, config.queue, half, flags)?;
        let (fill, completions) = rings.ok_or_else(|| missing_rings(&config.interface, config.queue))?;
        let nic = Sender::new(tx, completions, half.get());
        let (tx, output_rx, rings) = open(&umem, &config.output, config.output_queue, half, flags)?;
        let (output_fill, completions) =
            rings.ok_or_else(|| missing_rings(&config.output, config.output_queue))?;
        let output = Sender::new(tx, completions, half.get());

        let mut rings = Self {
            umem,
            rx,
            fill,
            nic,
            output,
            _output_rx: (output_rx, output_fill),
            free,
            scratch: vec![FrameDesc::default(); BATCH],
            frames: config.frames,
            owed: half.get() as usize,
            outstanding: 0,
            lost: 0,
            busy: None,
        };
        if config.busy_budget > 0 {
            match BusyPoll::prefer(rings.socket(), config.busy_budget) {
                Ok(busy) => rings.busy = Some(busy),
                Err(error) => tracing::warn!(
                    "no busy polling ({error}; Linux has it since 5.11): interrupts bring packets as before"
                ),
            }
        }
        rings.refill();
        Ok(rings)
    }

    /// The socket to enter into the XDP program's map.
    #[must_use]
    pub fn socket_fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is this socket's, which stays open as long as the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.socket_fd()) }
    }

    /// Moves received frames to `batch`, at most [`BATCH`]; returns how many.
    pub fn receive(&mut self, batch: &mut Vec<Frame>) -> usize {
        // SAFETY: the descriptors are overwritten, and the RX ring belongs to this UMEM.
        let count = unsafe { self.rx.consume(&mut self.scratch) };
        self.outstanding += count;
        self.owed += count;
        for descriptor in &self.scratch[..count] {
            // SAFETY: the descriptor has just come out of the RX ring.
            batch.push(unsafe { own(&self.umem, *descriptor) });
        }
        if count > 0 && self.busy.is_some() {
            self.learn();
        }
        count
    }

    /// What the XDP program wrote in front of the packet. It is erased there, so that a later packet in the same
    /// frame is not mistaken for stamped.
    pub fn take_metadata(&mut self, frame: &Frame) -> Option<Metadata> {
        // SAFETY: in front of the data lie at least the 256 bytes of XDP headroom of the same frame, which
        // belong to the owner of the `Frame`; `Metadata` is bytes without padding.
        let area = unsafe {
            &mut *frame
                .data()
                .as_ptr()
                .sub(Metadata::SIZE)
                .cast::<[u8; Metadata::SIZE]>()
        };
        let metadata = Metadata::from_bytes(area);
        if metadata.is_some() {
            area.fill(0);
        }
        metadata
    }

    /// A free frame holding `bytes`; `None` if all are in use or the bytes do not fit.
    pub fn allocate(&mut self, bytes: &[u8]) -> Option<Frame> {
        let mut descriptor = self.free.pop()?;
        // SAFETY: a free frame is in no ring, and the borrow of `self` is exclusive.
        let written = unsafe {
            let mut data = self.umem.data_mut(&mut descriptor);
            let mut cursor = data.cursor();
            cursor.set_pos(0);
            io::Write::write_all(&mut cursor, bytes)
        };
        if written.is_err() {
            self.free.push(descriptor);
            return None;
        }
        self.outstanding += 1;
        // SAFETY: the descriptor has just left the free list.
        Some(unsafe { own(&self.umem, descriptor) })
    }

    /// Sends a frame out of the output device, at the next [`QueueRings::flush`].
    pub fn forward(&mut self, frame: Frame) {
        self.outstanding -= 1;
        self.output.pending.push(frame.into_descriptor());
    }

    /// Sends a frame out of the NIC, at the next [`QueueRings::flush`].
    pub fn transmit(&mut self, frame: Frame) {
        self.outstanding -= 1;
        self.nic.pending.push(frame.into_descriptor());
    }

    /// Gives a frame back.
    pub fn release(&mut self, frame: Frame) {
        self.outstanding -= 1;
        self.free.push(frame.into_descriptor());
    }

    /// Submits what was forwarded and transmitted, takes back what has been sent and refills the fill ring.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush(&mut self.scratch, &mut self.free)?;
        self.nic.flush(&mut self.scratch, &mut self.free)?;
        self.refill();
        Ok(())
    }

    /// Looks at the RX ring some more times, with pauses that leave a core's other thread its resources; or has the driver look for
    /// packets.
    pub fn linger(&mut self) {
        if self.busy.is_some() {
            return busy_poll::poll(self.socket());
        }
        for _ in 0..LINGER_LOOKS {
            for _ in 0..LINGER_PAUSES {
                hint::spin_loop();
            }
            if self.rx.nb_avail(1) > 0 {
                return;
            }
        }
    }

    /// Sleeps until a packet arrives or the time is over.
    ///
    /// # Errors
    ///
    /// Those of `poll(2)`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        match self.rx.poll(milliseconds) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            other => other,
        }
    }

    /// Waits until a packet arrives, one of `bells` becomes readable or the time is over.
    ///
    /// # Errors
    ///
    /// Those of `poll(2)`.
    pub fn wait_or(&mut self, timeout: Duration, bells: [Option<BorrowedFd<'_>>; 2]) -> io::Result<()> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let socket = self.socket();
        // In place of a bell that is not there, the socket itself.
        let [one, other] = bells.map(|bell| PollFd::new(bell.unwrap_or(socket), PollFlags::POLLIN));
        let fds = &mut [PollFd::new(socket, PollFlags::POLLIN), one, other];
        match poll(fds, timeout) {
            Err(Errno::EINTR) => Ok(()),
            other => Ok(other.map(|_ready| ())?),
        }
    }

    /// Packets that were redirected to the socket and not delivered, since the last call: the RX ring or the fill ring had
    /// too few entries for all parts of the packet, or no frame was large enough. See `xsk_rcv` in net/xdp/xsk.c, which counts
    /// each under one of the two.
    pub fn lost(&mut self) -> u64 {
        let Ok(statistics) = self.rx.fd().xdp_statistics() else {
            return 0;
        };
        let total = statistics.rx_dropped() + statistics.rx_ring_full();
        total.saturating_sub(mem::replace(&mut self.lost, total))
    }

    /// Goes back to interrupts if the driver cannot be polled.
    fn learn(&mut self) {
        let Some(mut busy) = self.busy.take() else { return };
        match busy.learn(self.socket()) {
            Some(false) => {
                tracing::warn!(
                    "the driver cannot be polled (without zero copy, it mostly cannot): interrupts bring packets as before"
                );
                return;
            }
            Some(true) => tracing::info!("the driver is polled"),
            None => {}
        }
        self.busy = Some(busy);
    }

    fn refill(&mut self) {
        let count = self.owed.min(self.free.len());
        if count == 0 {
            return;
        }
        let start = self.free.len() - count;
        // SAFETY: the frames are free and of this UMEM; they leave the free list right after.
        let produced = unsafe { self.fill.produce(&self.free[start..]) };
        // All or nothing. Nothing, if the kernel has shown the packets before it has shown the room they left in the fill
        // ring (`xsk_flush` in net/xdp/xsk.c submits in that order): then at the next flush.
        self.owed -= produced;
        self.free.truncate(start + (count - produced));
        if self.fill.needs_wakeup()
            && let Err(error) = self.fill.wakeup(self.rx.fd_mut(), 0)
        {
            tracing::debug!("waking the driver for its fill ring: {error}");
        }
    }
}

impl Sender {
    fn new(tx: TxQueue, completions: CompQueue, ring_size: u32) -> Self {
        Self {
            tx,
            completions,
            pending: Vec::with_capacity(ring_size as usize),
            ring_size,
            in_flight: 0,
        }
    }

    fn flush(&mut self, scratch: &mut [FrameDesc], free: &mut Vec<FrameDesc>) -> io::Result<()> {
        if self.in_flight > 0 {
            self.reclaim(scratch, free);
        }
        if self.pending.is_empty() && self.in_flight == 0 {
            return Ok(());
        }
        let room = self.tx.nb_free(self.pending.len() as u32) as usize;
        let count = room.min(self.pending.len());
        if count > 0 {
            // SAFETY: the frames came in through `Frame`s that were given away, so nothing else refers to them.
            let produced = unsafe { self.tx.produce(&self.pending[..count]) };
            debug_assert_eq!(produced, count);
            self.pending.drain(..produced);
            self.in_flight += produced;
        }
        for _ in 0..MAX_KICKS {
            if !self.tx.needs_wakeup() || self.tx.nb_free_exact() == self.ring_size {
                break;
            }
            self.tx.wakeup()?;
            self.reclaim(scratch, free);
        }
        Ok(())
    }

    fn reclaim(&mut self, scratch: &mut [FrameDesc], free: &mut Vec<FrameDesc>) {
        loop {
            // SAFETY: the descriptors are overwritten, and the completion ring belongs to this UMEM.
            let count = unsafe { self.completions.consume(scratch) };
            free.extend_from_slice(&scratch[..count]);
            self.in_flight -= count;
            if count < scratch.len() {
                break;
            }
        }
    }
}

/// # Safety
///
/// As for [`Frame::new`], with `descriptor` of this `umem`.
unsafe fn own(umem: &Umem, descriptor: FrameDesc) -> Frame {
    // SAFETY: only the address is taken of the bytes, which nobody else reads or writes meanwhile.
    let data = unsafe { umem.data(&descriptor) };
    let pointer = NonNull::from(data.contents()).cast();
    // SAFETY: by contract; `QueueRings` keeps the UMEM mapped while frames are out.
    unsafe { Frame::new(descriptor, pointer) }
}

type Opened = (TxQueue, RxQueue, Option<(FillQueue, CompQueue)>);

fn open(
    umem: &Umem,
    interface: &str,
    queue: u32,
    size: QueueSize,
    flags: BindFlags,
) -> Result<Opened, BindError> {
    let failed = |source| BindError::Socket {
        interface: interface.to_owned(),
        queue,
        source,
    };
    let name = CString::new(interface).map_err(|error| failed(io::Error::other(error)))?;
    let config = SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        // Our own program is attached; libxdp's default one must not be.
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(flags)
        .build();
    let interface = Interface::new(name);
    let mut tries = 0;
    loop {
        // SAFETY: one socket for each device and queue of this UMEM, so the rings are not shared.
        match unsafe { Socket::new(config, umem, &interface, queue) } {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let source = cause(&error);
                if source.kind() != io::ErrorKind::ResourceBusy || tries == BIND_TRIES {
                    return Err(failed(source));
                }
                tries += 1;
                thread::sleep(BIND_PAUSE);
            }
        }
    }
}

fn missing_rings(interface: &str, queue: u32) -> BindError {
    let source = io::Error::other("the kernel gave no fill and completion ring");
    BindError::Socket {
        interface: interface.to_owned(),
        queue,
        source,
    }
}

/// The operating system's error below one of xsk-rs's.
fn cause(error: &(dyn Error + 'static)) -> io::Error {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && let Some(code) = io.raw_os_error()
        {
            return io::Error::from_raw_os_error(code);
        }
        current = error.source();
    }
    io::Error::other(error.to_string())
}

impl Drop for QueueRings {
    fn drop(&mut self) {
        if self.outstanding > 0 {
            // Frames point into it.
            mem::forget(self.umem.clone());
        }
    }
}

impl fmt::Debug for QueueRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueRings")
            .field("frames", &self.frames)
            .field("free", &self.free.len())
            .finish_non_exhaustive()
    }
}
