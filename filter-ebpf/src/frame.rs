//! Packet memory behind the parser's reading trait.

use core::ptr;

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::bpf_xdp_get_buff_len,
    programs::{TcContext, XdpContext},
};
use filter_common::{Address, Bytes};

/// A packet, of which only the linear part can be read: headers always lie there.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    start: usize,
    end: usize,
    length: usize,
    /// Of a received packet, which may be longer than the `length` of its linear part; else null.
    received: *mut xdp_md,
}

impl Frame {
    /// A received packet. Made where it is read: on the stack there is no room for one.
    #[inline(always)]
    pub(crate) fn received(ctx: &XdpContext) -> Self {
        let (start, end) = (ctx.data(), ctx.data_end());
        Self {
            start,
            end,
            length: end - start,
            received: ctx.ctx,
        }
    }

    /// The same for reading alone: of no length.
    #[inline(always)]
    pub(crate) fn linear(ctx: &XdpContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
            length: 0,
            received: ptr::null_mut(),
        }
    }

    /// A packet on its way out.
    #[inline(always)]
    pub(crate) fn sent(ctx: &TcContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
            length: ctx.len() as usize,
            received: ptr::null_mut(),
        }
    }

    /// Eight bytes, the first in the lowest bits.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> Option<u64> {
        self.read(at).map(u64::from_le)
    }

    /// Reads a value in network byte order as it lies there.
    #[inline(always)]
    fn read<T: Copy>(&self, at: usize) -> Option<T> {
        let address = self.start + at;
        if address + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the bytes lie between `data` and `data_end`, checked right above. The pointer may be
        // unaligned for `T`; BPF loads on packet memory are allowed to be where this runs (the verifier
        // refuses the program on machines where they are not).
        Some(unsafe { *(address as *const T) })
    }
}

impl Bytes for Frame {
    #[inline(always)]
    fn holds(&self, bytes: usize) -> bool {
        // The helper costs more than what it is asked for seldom: a packet in several buffers.
        // SAFETY: a helper on the program's own context.
        bytes <= self.length
            || (!self.received.is_null() && bytes <= unsafe { bpf_xdp_get_buff_len(self.received) } as usize)
    }

    #[inline(always)]
    fn u16(&self, at: usize) -> Option<u16> {
        self.read(at).map(u16::from_be)
    }

    #[inline(always)]
    fn u32(&self, at: usize) -> Option<u32> {
        self.read(at).map(u32::from_be)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, at: usize) -> Option<[u32; N]> {
        let words: [u32; N] = self.read(at)?;
        Some(words.map(u32::from_be))
    }

    #[inline(always)]
    fn address_v6(&self, at: usize) -> Option<Address> {
        let high: u64 = self.read(at)?;
        let low: u64 = self.read(at + 8)?;
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&high.to_ne_bytes());
        octets[8..].copy_from_slice(&low.to_ne_bytes());
        Some(Address::v6(octets))
    }
}
