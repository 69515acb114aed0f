//! Which services each TCP port has: most packets need no look-up of one, and those to other ports none at all.

use crate::{
    Address,
    service::{Service, ServiceKey},
};

/// Value of the `PORTS` map: what is known of each port. User space writes it, all of it at a time; no byte is ever torn.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// One for each number.
    pub ports: [Port; 65_536],
}

/// The services of a port.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    bits: u8,
}

impl Ports {
    /// What is known of the port with this number.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, number: u16) -> Port {
        self.ports[number as usize]
    }

    /// Notes a service.
    pub fn serve(&mut self, key: &ServiceKey, service: Service) {
        let port = &mut self.ports[usize::from(key.port)];
        if key.address == Address::default() {
            port.bits = port.bits & !Port::ANY | (service.inspect as u8 + 1) & Port::ANY;
        } else {
            port.bits |= Port::SINGLE;
        }
        if service.inspect != Service::INSPECT_NONE {
            self.note_flows(key.port);
        }
    }

    /// Notes that there may be flows to a port.
    pub const fn note_flows(&mut self, number: u16) {
        self.ports[number as usize].bits |= Port::FLOWS;
    }

    /// Forgets all services, but not that there may be flows: those that services leave behind.
    pub fn clear(&mut self) {
        for port in &mut self.ports {
            port.bits &= Port::FLOWS;
        }
    }
}

impl Port {
    /// How the service at any address is inspected, one of [`Service`]'s constants, plus one; 0 if there is none.
    const ANY: u8 = 3;
    /// A service at a single address has the port.
    const SINGLE: u8 = 4;
    /// A service that is inspected has the port, or had it.
    const FLOWS: u8 = 8;

    /// Whether there is nothing on it.
    #[inline(always)]
    #[must_use]
    pub const fn is_unused(self) -> bool {
        self.bits == 0
    }

    /// Whether there may be flows to it.
    #[inline(always)]
    #[must_use]
    pub const fn has_flows(self) -> bool {
        self.bits & Self::FLOWS != 0
    }

    /// Whether a service at a single address has it, which counts before the one at any.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_single_addresses(self) -> bool {
        self.bits & Self::SINGLE != 0
    }

    /// How the service at any address is inspected: one of [`Service`]'s constants, or `None` if there is no such service.
    #[inline(always)]
    #[must_use]
    pub const fn of_any_address(self) -> Option<u32> {
        match self.bits & Self::ANY {
            0 => None,
            inspect => Some(inspect as u32 - 1),
        }
    }
}

const _: () = assert!(size_of::<Ports>() == 65_536);
const _: () = assert!(Service::INSPECT_ALL < Port::ANY as u32);

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSED: Ports = Ports {
        ports: [Port { bits: 0 }; 65_536],
    };

    const NONE: Service = Service {
        inspect: Service::INSPECT_NONE,
        index: 0,
    };
    const ALL: Service = Service {
        inspect: Service::INSPECT_ALL,
        index: 1,
    };

    fn any(port: u16) -> ServiceKey {
        ServiceKey::new(Address::default(), port)
    }

    #[test]
    fn each_port_has_services_of_its_own() {
        let mut ports = UNUSED;
        let served = [0, 63, 64, 80, u16::MAX];
        for port in served {
            ports.serve(&any(port), ALL);
        }
        for number in 0..=u16::MAX {
            let port = ports.of(number);
            let is_served = served.contains(&number);
            assert_eq!(port.is_unused(), !is_served, "{number}");
            assert_eq!(port.has_flows(), is_served, "{number}");
            assert_eq!(
                port.of_any_address(),
                is_served.then_some(Service::INSPECT_ALL),
                "{number}"
            );
        }
    }

    #[test]
    fn services_at_any_address_and_at_single_ones_are_told_apart() {
        let mut ports = UNUSED;
        ports.serve(&ServiceKey::new(Address::v4([192, 0, 2, 1]), 80), NONE);
        assert!(ports.of(80).is_of_single_addresses());
        assert_eq!(ports.of(80).of_any_address(), None);
        assert!(!ports.of(80).has_flows(), "nothing is inspected");
        ports.serve(&any(80), ALL);
        assert!(ports.of(80).is_of_single_addresses());
        assert_eq!(ports.of(80).of_any_address(), Some(Service::INSPECT_ALL));
        ports.serve(&any(80), NONE);
        assert_eq!(ports.of(80).of_any_address(), Some(Service::INSPECT_NONE));
        assert!(ports.of(80).has_flows(), "there was an inspected service");
    }

    #[test]
    fn services_go_and_their_flows_stay() {
        let mut ports = UNUSED;
        ports.serve(&any(80), ALL);
        ports.serve(&any(81), NONE);
        ports.clear();
        assert_eq!(ports.of(80).of_any_address(), None);
        assert!(ports.of(80).has_flows());
        assert!(ports.of(81).is_unused());
    }
}
