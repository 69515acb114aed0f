//! Where an engine reads and writes.

use std::path::{Path, PathBuf};

use filter_common::map;

use crate::{
    config::{self, Config, FeedSource, ModelSource, RulesSource},
    feed::Copies,
    host,
};

/// How names of files in the state's directory begin.
const STATE: [&str; 4] = ["blocks.", Copies::DIRECTORY, "history", "report"];

/// Where the resolver of the C library reads: its files are replaced now and then, and so their directories count.
const RESOLVER: &str = "/etc";

/// Modes of directories: for the engine's user alone, and for collectors in its group, too.
const PRIVATE: u32 = 0o700;
const FOR_THE_GROUP: u32 = 0o750;

/// A directory that an engine makes files in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// How names of the engine's own files in it begin. Nothing else in it is touched.
    pub(super) prefixes: Vec<String>,
    /// The mode that it is made with.
    pub(super) mode: u32,
    /// Nobody but engines has anything to do in it, whatever is there.
    pub(super) is_ours: bool,
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Locks, records and sockets.
    pub(super) written: Vec<Place>,
    /// Maps and links.
    pub(super) pins: Place,
    /// Directories of what is only read.
    pub(super) read: Vec<PathBuf>,
}

impl Places {
    /// The places of a configuration, which was read from `file`.
    pub(super) fn of(config: &Config, file: Option<&Path>) -> Self {
        let engine = &config.engine;
        let run = Path::new(host::RUN_DIRECTORY);
        let mut written = vec![Place {
            path: run.to_owned(),
            prefixes: ["interface-", "flows-"].map(str::to_owned).to_vec(),
            mode: PRIVATE,
            is_ours: true,
        }];
        written.push(Place {
            path: engine.state_dir.clone(),
            prefixes: STATE.map(str::to_owned).to_vec(),
            mode: PRIVATE,
            is_ours: engine.state_dir == config::Engine::default().state_dir,
        });
        written.push(Place {
            path: engine.state_dir.join(Copies::DIRECTORY),
            prefixes: vec![String::new()],
            mode: PRIVATE,
            is_ours: true,
        });
        if config.audit.enabled {
            written.push(records(
                &config.audit.directory,
                &config::Audit::default().directory,
                "audit.",
            ));
        }
        if config.history.interval_s > 0 {
            written.push(records(
                &config.history.directory,
                &config::History::default().directory,
                "snapshot-",
            ));
        }
        let mut sockets = vec![engine.control_socket.clone()];
        if config.api.enabled {
            sockets.push(config.api.socket_beside(&engine.control_socket));
        }
        for socket in sockets {
            let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
                continue;
            };
            let name = name.to_string_lossy();
            // The socket itself, its lock, and the directory that it is made in.
            let prefixes = [name.to_string(), format!(".{name}.")];
            match written.iter_mut().find(|place| place.path == parent) {
                Some(place) => place.prefixes.extend(prefixes),
                None => written.push(Place {
                    path: parent.to_owned(),
                    prefixes: prefixes.to_vec(),
                    mode: PRIVATE,
                    is_ours: false,
                }),
            }
        }
        let maps = map::PINNED.iter().map(|name| (*name).to_owned());
        Self {
            read: read(config, file),
            written,
            pins: Place {
                path: engine.pin_dir.clone(),
                prefixes: maps.chain(["link_".to_owned()]).collect(),
                mode: PRIVATE,
                is_ours: engine.pin_dir == config::Engine::default().pin_dir,
            },
        }
    }
}

/// Where files with such names are written.
fn records(path: &Path, default: &Path, prefix: &str) -> Place {
    Place {
        path: path.to_owned(),
        prefixes: vec![prefix.to_owned()],
        mode: FOR_THE_GROUP,
        is_ours: path == default,
    }
}

fn read(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    let scoring = &config.scoring;
    let rules = match &scoring.rules {
        RulesSource::Directory(path) => Some(path.as_path()),
        RulesSource::Builtin => None,
    };
    let model = match &scoring.model {
        ModelSource::File(path) => Some(path.as_path()),
        _ => None,
    };
    let default = Path::new(config::DEFAULT_PATH);
    // It may be a link to where something else keeps it up to date.
    let resolv_conf = Path::new(RESOLVER).join("resolv.conf").canonicalize().ok();
    let files = [
        Some(file.unwrap_or(default)),
        model,
        config.response.page.as_deref(),
        config.geo.database.as_deref(),
        config.geo.asn_database.as_deref(),
    ];
    // A file's directory: a new file of that name is another one.
    let lists = config.feed.iter().filter_map(|feed| match &feed.source {
        FeedSource::File(path) => Some(path.as_path()),
        FeedSource::Url(_) => None,
    });
    let files = files.into_iter().flatten().chain(lists);
    let directories = files.filter_map(Path::parent);
    // By these the names of other hosts are looked up.
    let asks_others = config.alerts.webhook.is_some()
        || config
            .feed
            .iter()
            .any(|feed| matches!(feed.source, FeedSource::Url(_)));
    let elsewhere = resolv_conf.as_deref().and_then(Path::parent);
    let resolver = [Some(Path::new(RESOLVER)), elsewhere];
    let resolver = resolver.into_iter().flatten().filter(|_| asks_others);
    // A reload reads them again; they may be links, too, as those of certbot are.
    let files = config.api.files().filter(|_| config.api.enabled);
    let credentials = files
        .flat_map(|file| [Some(file.to_owned()), file.canonicalize().ok()])
        .flatten()
        .filter_map(|file| Some(file.parent()?.to_owned()));
    let credentials: Vec<_> = credentials.collect();
    directories
        .chain(resolver)
        .chain(credentials.iter().map(PathBuf::as_path))
        .chain(rules)
        .chain(config.rules.folder.as_deref())
        .map(|path| Path::new(".").join(path))
        .collect()
}

impl Place {
    pub(super) fn has_made(&self, name: &str) -> bool {
        self.prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix.as_str()))
    }
}
