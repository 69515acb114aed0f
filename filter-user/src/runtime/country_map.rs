//! The map of countries and network operators, read again when its files have changed.

use std::{path::PathBuf, time::SystemTime};

use ipnet::IpNet;

use super::saving::unix_s;
use crate::{
    config::{FeedAction, GEO, Geo},
    control::FeedStatus,
    geo,
};

/// The networks that `[geo]` blocks.
pub(super) struct CountryMap {
    geo: Geo,
    /// Entries that there may be of each address family.
    room: usize,
    entries: Vec<IpNet>,
    /// The databases as they were when they were read.
    read: Option<Vec<(PathBuf, Option<SystemTime>)>>,
    status: Option<FeedStatus>,
}

impl CountryMap {
    /// Without any networks.
    pub(super) fn new(room: usize) -> Self {
        Self {
            geo: Geo::default(),
            room,
            entries: Vec::new(),
            read: None,
            status: None,
        }
    }

    /// The networks.
    pub(super) fn entries(&self) -> &[IpNet] {
        &self.entries
    }

    /// What is known of it; none if it has nothing to list.
    pub(super) fn status(&self) -> Option<&FeedStatus> {
        self.status.as_ref()
    }

    pub(super) fn status_mut(&mut self) -> Option<&mut FeedStatus> {
        self.status.as_mut()
    }

    /// Other settings hold from now on; the networks stay until the next look.
    pub(super) fn configure(&mut self, geo: &Geo) {
        if self.geo != *geo {
            self.geo = geo.clone();
            self.forget();
        }
    }

    /// The databases are read at the next look.
    pub(super) fn forget(&mut self) {
        self.read = None;
    }

    /// Reads the databases if they are not those that were read. Returns whether it has.
    pub(super) fn look(&mut self) -> bool {
        let files = [&self.geo.database, &self.geo.asn_database];
        let modified = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
        let now: Vec<_> = files
            .into_iter()
            .flatten()
            .map(|path| (path.clone(), modified(path)))
            .collect();
        if self.read.as_ref() == Some(&now) {
            return false;
        }
        let paths: Vec<_> = now.iter().map(|(path, _)| path.display().to_string()).collect();
        self.read = Some(now);
        if !self.geo.has_countries() && self.geo.block_asns.is_empty() {
            self.status = None;
            self.entries.clear();
            return true;
        }
        let last_success_s = self.status.take().and_then(|status| status.last_success_s);
        let mut status = FeedStatus::new(GEO, paths.join(", "), FeedAction::Block);
        status.last_run_s = Some(unix_s());
        match geo::networks(&self.geo, 2 * self.room) {
            Ok(networks) => {
                self.entries = networks;
                status.last_success_s = status.last_run_s;
            }
            Err(error) => {
                tracing::warn!(
                    "[geo]: {error}; the {} networks from before stay",
                    self.entries.len()
                );
                status.last_success_s = last_success_s;
                status.error = Some(error.to_string());
            }
        }
        self.status = Some(status);
        true
    }
}
