//! Which TCP ports have a service at all: packets to others need no look-up.

/// Value of the `PORTS` map: one bit for each port that a service has or had. Bits stay, for the flows that services leave behind.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Sixty-four ports each, the lowest in the lowest bit.
    pub words: [u64; Self::WORDS],
}

impl Ports {
    const WORDS: usize = 65_536 / u64::BITS as usize;

    /// Whether a service has `port`, or had it.
    #[inline(always)]
    #[must_use]
    pub fn is_served(&self, port: u16) -> bool {
        let (word, bit) = place(port);
        self.words.get(word).is_some_and(|ports| ports & bit != 0)
    }

    /// Notes that a service has `port`.
    pub const fn serve(&mut self, port: u16) {
        let (word, bit) = place(port);
        self.words[word] |= bit;
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            words: [0; Self::WORDS],
        }
    }
}

#[inline(always)]
const fn place(port: u16) -> (usize, u64) {
    (port as usize / u64::BITS as usize, 1 << (port % u64::BITS as u16))
}

const _: () = assert!(size_of::<Ports>() == 8192);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_a_bit_of_its_own() {
        let mut ports = Ports::default();
        let served = [0, 63, 64, 80, u16::MAX];
        for port in served {
            ports.serve(port);
        }
        for port in 0..=u16::MAX {
            assert_eq!(ports.is_served(port), served.contains(&port), "{port}");
        }
    }
}
