//! The networks of countries and of network operators, from databases in `MaxMind`'s format.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

use crate::config::Geo;

/// The largest database, in bytes: it is in memory while it is read.
const MAX_BYTES: u64 = 512 << 20;

/// Why the networks are not known.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is larger than it may be.
    #[error("{0}: it has more than {MAX_BYTES} bytes")]
    TooLarge(PathBuf),
    /// It is no database, or a broken one.
    #[error("{path}: {message}; fetch it again")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// There are more networks than there is room for.
    #[error(
        "these countries and operators have more networks than limits.max_list_entries = {0}; raise it and start the engine again, or \
         name fewer"
    )]
    TooMany(usize),
}

/// What a database says of a network: as `MaxMind` has it, or with plain texts, as others do.
#[derive(Debug, Default, Deserialize)]
struct Record {
    country: Option<Country>,
    registered_country: Option<Country>,
    country_code: Option<String>,
    autonomous_system_number: Option<u32>,
    asn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Country {
    Code(String),
    Table { iso_code: Option<String> },
}

impl Country {
    fn code(&self) -> Option<&str> {
        match self {
            Self::Code(code) => Some(code),
            Self::Table { iso_code } => iso_code.as_deref(),
        }
    }
}

impl Record {
    fn country(&self) -> Option<&str> {
        self.country_code
            .as_deref()
            .or_else(|| self.country.as_ref().and_then(Country::code))
            .or_else(|| self.registered_country.as_ref().and_then(Country::code))
    }

    fn number(&self) -> Option<u32> {
        let text = self.asn.as_deref();
        let written = || text?.trim_start_matches("AS").parse().ok();
        self.autonomous_system_number.or_else(written)
    }
}

/// The networks that `geo` blocks, joined where they adjoin; at most so many.
///
/// # Errors
///
/// When a database cannot be used, and when there are too many.
pub fn networks(geo: &Geo, most: usize) -> Result<Vec<IpNet>, GeoError> {
    let of_country = |record: &Record| {
        record.country().is_some_and(|code| {
            let is_in = |list: &[String]| list.iter().any(|listed| listed == code);
            is_in(&geo.block_countries) || (!geo.allow_countries.is_empty() && !is_in(&geo.allow_countries))
        })
    };
    let of_operator = |record: &Record| {
        record
            .number()
            .is_some_and(|number| geo.block_asns.contains(&number))
    };
    let mut all = Vec::new();
    if let Some(path) = geo.database.as_ref().filter(|_| geo.has_countries()) {
        all.extend(those(path, of_country, most)?);
    }
    if let Some(path) = geo.asns().filter(|_| !geo.block_asns.is_empty()) {
        all.extend(those(path, of_operator, most)?);
    }
    let all = IpNet::aggregate(&all);
    if all.len() > most {
        return Err(GeoError::TooMany(most));
    }
    Ok(all)
}

/// The networks of a database whose records are wanted.
fn those(path: &Path, wanted: impl Fn(&Record) -> bool, most: usize) -> Result<Vec<IpNet>, GeoError> {
    let failed = |source| GeoError::File {
        path: path.to_owned(),
        source,
    };
    let broken = |message: String| GeoError::Broken {
        path: path.to_owned(),
        message,
    };
    let damaged = |error: MaxMindDbError| broken(error.to_string());
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.len() > MAX_BYTES {
        return Err(GeoError::TooLarge(path.to_owned()));
    }
    let reader = Reader::from_source(fs::read(path).map_err(failed)?).map_err(damaged)?;
    // A tree has one leaf more than nodes; one that leads back into itself would have no end.
    let leaves = u64::from(reader.metadata().node_count) + 1;
    let mut known: HashMap<Option<usize>, bool> = HashMap::new();
    let mut found = Vec::new();
    for (number, place) in (1..).zip(
        reader
            .networks(maxminddb::WithinOptions::default())
            .map_err(damaged)?,
    ) {
        if number > leaves {
            return Err(broken("its tree has more leaves than nodes".to_owned()));
        }
        let place = place.map_err(damaged)?;
        // Many networks share a record.
        let is_wanted = if let Some(is_wanted) = known.get(&place.offset()) {
            *is_wanted
        } else {
            let record: Option<Record> = place.decode().map_err(damaged)?;
            let is_wanted = record.is_some_and(|record| wanted(&record));
            known.insert(place.offset(), is_wanted);
            is_wanted
        };
        if !is_wanted {
            continue;
        }
        let network = place.network().map_err(damaged)?;
        let network =
            IpNet::new(network.ip(), network.prefix()).map_err(|error| broken(error.to_string()))?;
        push(&mut found, network.trunc());
        // Those at the end may still be joined to one.
        if found.len() > most + 128 {
            return Err(GeoError::TooMany(most));
        }
    }
    Ok(found)
}

/// Adds the next network, and joins the last two as long as they are the halves of one.
fn push(found: &mut Vec<IpNet>, network: IpNet) {
    found.push(network);
    while let [.., first, second] = found[..] {
        let Some(both) = first.supernet() else { return };
        if first.prefix_len() != second.prefix_len() || second.supernet() != Some(both) || first == second {
            return;
        }
        found.truncate(found.len() - 2);
        found.push(both);
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
