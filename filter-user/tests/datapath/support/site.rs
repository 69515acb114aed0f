//! The lab with its servers.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use xtask::lab::{
    Gateway, Lab, Nginx, Offload, Options, Origin,
    address::{NGINX_PORT, ORIGIN_PORT, SERVER_V4, SERVER_V6},
};

/// A lab with nginx and the recording origin. Fields are dropped in order: servers before the lab.
pub(crate) struct Site {
    pub(crate) nginx: Nginx,
    pub(crate) origin: Origin,
    pub(crate) lab: Lab,
}

impl Site {
    /// `None` without root, which is said.
    pub(crate) fn start(options: &Options) -> Result<Option<Self>> {
        let mut options = Options {
            gateway: crate::GATEWAY,
            ..options.clone()
        };
        if options.gateway == Gateway::Bridge {
            // In native mode a bridge passes on what is on the wire, and with it the sums that no hardware will complete.
            (options.client_offload, options.server_offload) = (Offload::Off, Offload::Off);
        }
        Self::on(&options)
    }

    /// With devices that leave sums and cutting segments to hardware, whatever the gateway.
    pub(crate) fn with_offloads() -> Result<Option<Self>> {
        Self::on(&Options {
            gateway: crate::GATEWAY,
            ..Options::default()
        })
    }

    fn on(options: &Options) -> Result<Option<Self>> {
        let Some(lab) = Lab::for_test(options) else {
            return Ok(None);
        };
        Ok(Some(Self {
            nginx: Nginx::start(&lab)?,
            origin: Origin::start(&lab, ORIGIN_PORT)?,
            lab,
        }))
    }

    /// With everything at its default.
    pub(crate) fn plain() -> Result<Option<Self>> {
        Self::start(&Options::default())
    }
}

/// nginx, over IPv4 and IPv6.
pub(crate) fn nginx() -> [SocketAddr; 2] {
    both(NGINX_PORT)
}

/// The recording origin, over IPv4 and IPv6.
pub(crate) fn origin() -> [SocketAddr; 2] {
    both(ORIGIN_PORT)
}

fn both(port: u16) -> [SocketAddr; 2] {
    [IpAddr::from(SERVER_V4), SERVER_V6.into()].map(|ip| SocketAddr::new(ip, port))
}
