//! Preferred busy polling: the thread that reads a ring has the driver receive, instead of waiting for the driver's interrupts
//! (Linux 5.11; Documentation/networking/napi.rst, "Busy polling").

use std::{
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

use nix::libc::{self, c_int};

/// What the kernel asks for before it lets a socket poll; a call that does not wait takes one turn, whatever is here. Microseconds.
const WINDOW_US: c_int = 20;

/// The poll of one socket's driver.
#[derive(Debug)]
pub(super) struct BusyPoll {
    /// Whether it has shown that the driver can be polled. Nobody knows before the first packet.
    known: bool,
}

impl BusyPoll {
    /// Prefers polling to interrupts on `socket`, for at most `budget` packets at a time.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: a kernel without it.
    pub(super) fn prefer(socket: BorrowedFd<'_>, budget: u16) -> io::Result<Self> {
        set(socket, libc::SO_PREFER_BUSY_POLL, 1)?;
        set(socket, libc::SO_BUSY_POLL, WINDOW_US)?;
        set(socket, libc::SO_BUSY_POLL_BUDGET, budget.into())?;
        Ok(Self { known: false })
    }

    /// After packets have come in: whether the driver can be polled. Only told once.
    pub(super) fn learn(&mut self, socket: BorrowedFd<'_>) -> Option<bool> {
        (!mem::replace(&mut self.known, true)).then(|| has_napi(socket))
    }
}

/// Has the driver receive what has come in, if it can be polled; does not wait.
pub(super) fn poll(socket: BorrowedFd<'_>) {
    // SAFETY: no byte is read or written: an AF_XDP socket takes no buffer (`xsk_recvmsg` in net/xdp/xsk.c). An error changes nothing: what
    // the driver has received is in the ring.
    unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
}

/// Whether the kernel knows the socket's NAPI instance. Since Linux 6.14 it does from the moment of binding, with zero copy alone
/// (`xsk_bind` in net/xdp/xsk.c); before, from the first packet, but with generic XDP never.
fn has_napi(socket: BorrowedFd<'_>) -> bool {
    let mut number: c_int = 0;
    let mut length = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to locals of the sizes that are told.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_INCOMING_NAPI_ID,
            (&raw mut number).cast(),
            &raw mut length,
        )
    };
    result == 0 && number != 0
}

fn set(socket: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    let length = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a local of the size that is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
