//! Loads the object file, reusing the maps that are pinned already.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{MapData, MapError, MapInfo, MapType},
    programs::ProgramError,
};
use filter_common::{
    Address, Counters, FlowKey, FlowState, MAX_INTERFACES, MAX_QUEUES,
    block::Block,
    challenge::{ChallengeState, Proof},
    flood::{Leases, SourceRates, Totals},
    map, program,
    source::Source,
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// Built by `cargo xtask build`; empty in a build without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis-bpf.o"));

/// Most entries of the maps that grow with traffic or configuration. Their memory is taken at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Flows under inspection or blocked.
    pub flows: u32,
    /// Sources remembered for `suspicious` services, sources with token buckets, and proven ones.
    pub sources: u32,
    /// Blocked single sources.
    pub blocks: u32,
    /// Prefixes in each of the allow, block and watch lists.
    pub prefixes: u32,
    /// Inspected services.
    pub services: u32,
}

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Directory on a bpffs that maps and links are pinned in.
    pub pin_dir: PathBuf,
    /// Map sizes.
    pub sizes: Sizes,
    /// A running engine has the maps, and they are to be taken from it: the directory is not locked before [`Kernel::claim`], and maps
    /// that do not fit are an error.
    pub shared: bool,
    /// Most verbose level the programs log at: 0 nothing, 1 errors … 5 everything.
    pub log_level: u8,
}

/// Why the programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The binary was built without the object.
    #[error("this binary was built without the eBPF program; build it with `cargo xtask build`")]
    NoObject,
    /// The pin directory cannot be used.
    #[error("cannot create {path}: {source}; run as root, or choose another engine.pin_dir")]
    PinDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The pin directory is not on a bpffs.
    #[error("{path} is not on a BPF file system; mount one with `mount -t bpf bpf /sys/fs/bpf`")]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// Another engine has its maps there.
    #[error("another engine has its maps in {path}; stop it first, or give this one its own engine.pin_dir")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A running engine's map does not fit.
    #[error(
        "the running engine's map {map} has another shape: `limits` are others, or the version is; stop that engine first, and \
         start this one without --replace"
    )]
    Misfit {
        /// The map.
        map: &'static str,
    },
    /// A pinned map that does not fit could not be removed.
    #[error("cannot replace the pinned map {path}: {source}")]
    Replace {
        /// The map.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused maps or programs.
    #[error("cannot load the eBPF object")]
    Load(#[from] EbpfError),
    /// The kernel refused a program.
    #[error("the kernel refused program `{name}`")]
    Program {
        /// Its name.
        name: &'static str,
        /// The verifier's answer.
        source: ProgramError,
    },
    /// The object lacks a part.
    #[error("the eBPF object has no program `{0}`")]
    Missing(&'static str),
}

/// The loaded programs. Their maps are pinned, so that they outlive this process.
#[derive(Debug)]
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    pub(super) pin_dir: PathBuf,
    /// The right to the directory, which ends with its process: what is left there is then a predecessor's.
    alone: Option<Flock<File>>,
}

impl Kernel {
    /// Loads the programs into the kernel. Pinned maps of a predecessor that fit are taken over; others are
    /// replaced, which is logged.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let alone = if options.shared {
            None
        } else {
            Some(prepare_directory(&options.pin_dir)?)
        };
        let shapes = shapes(&options.sizes);
        for shape in &shapes {
            let path = options.pin_dir.join(shape.name);
            if !is_misfit(&path, shape)? {
                continue;
            }
            if options.shared {
                return Err(LoadError::Misfit { map: shape.name });
            }
            remove_misfit(&path, shape)?;
        }
        let pins: Vec<_> = map::PINNED
            .iter()
            .map(|name| (*name, options.pin_dir.join(name)))
            .collect();
        let mut loader = EbpfLoader::new();
        for (name, path) in &pins {
            loader.map_pin_path(name, path.as_path());
        }
        for shape in &shapes {
            loader.map_max_entries(shape.name, shape.max_entries);
        }
        loader.override_global(aya_log::LEVEL, &options.log_level, true);
        let mut ebpf = loader.load(OBJECT)?;
        for name in [program::XDP, program::BACK] {
            load_program::<aya::programs::Xdp>(&mut ebpf, name, aya::programs::Xdp::load)?;
        }
        for name in [program::EGRESS, program::BACK_INGRESS] {
            load_program::<aya::programs::SchedClassifier>(
                &mut ebpf,
                name,
                aya::programs::SchedClassifier::load,
            )?;
        }
        Ok(Self {
            ebpf,
            pin_dir: options.pin_dir.clone(),
            alone,
        })
    }

    /// Locks the directory, once the engine before has ended.
    ///
    /// # Errors
    ///
    /// [`LoadError::InUse`] as long as it runs.
    pub fn claim(&mut self) -> Result<(), LoadError> {
        if self.alone.is_none() {
            self.alone = Some(prepare_directory(&self.pin_dir)?);
        }
        Ok(())
    }

    /// Whether an engine, of which this one takes over, has attached a program to the interface.
    #[must_use]
    pub fn has_predecessor(&self, interface: &str) -> bool {
        self.pin_dir.join(super::attach::xdp_link(interface)).exists()
    }

    /// Where maps and links are pinned.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// The loaded object, for the log reader.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The fd of a loaded program, for `BPF_PROG_TEST_RUN`.
    #[must_use]
    pub fn xdp(&self) -> Option<&aya::programs::Xdp> {
        self.ebpf
            .program(program::XDP)
            .and_then(|program| program.try_into().ok())
    }
}

fn load_program<'a, P>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
    load: impl FnOnce(&mut P) -> Result<(), ProgramError>,
) -> Result<(), LoadError>
where
    P: 'a,
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let refused = |source| LoadError::Program { name, source };
    let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
    load(program.try_into().map_err(refused)?).map_err(refused)
}

/// Makes the directory and locks it.
pub(super) fn prepare_directory(path: &Path) -> Result<Flock<File>, LoadError> {
    let failed = |source| LoadError::PinDirectory {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(failed)?;
    if !statfs(path).is_ok_and(|status| status.filesystem_type() == BPF_FS_MAGIC) {
        return Err(LoadError::NotBpffs {
            path: path.to_owned(),
        });
    }
    let directory = File::open(path).map_err(failed)?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => LoadError::InUse {
            path: path.to_owned(),
        },
        errno => failed(errno.into()),
    })
}

/// What a pinned map must look like to be taken over.
struct Shape {
    name: &'static str,
    kind: MapType,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

const LPM_V4_KEY: usize = 8;
const LPM_V6_KEY: usize = 20;

fn shapes(sizes: &Sizes) -> Vec<Shape> {
    use MapType::{Array, Hash, LpmTrie, LruHash, PerCpuArray};
    let shape = |name, kind, key_size, value_size, max_entries| Shape {
        name,
        kind,
        key_size,
        value_size,
        max_entries,
    };
    let block = size_of::<Block>();
    let address = size_of::<Address>();
    vec![
        shape(map::ALLOW_V4, LpmTrie, LPM_V4_KEY, 4, sizes.prefixes),
        shape(map::ALLOW_V6, LpmTrie, LPM_V6_KEY, 4, sizes.prefixes),
        shape(map::BLOCK_V4, LpmTrie, LPM_V4_KEY, block, sizes.prefixes),
        shape(map::BLOCK_V6, LpmTrie, LPM_V6_KEY, block, sizes.prefixes),
        shape(map::WATCH_V4, LpmTrie, LPM_V4_KEY, 4, sizes.prefixes),
        shape(map::WATCH_V6, LpmTrie, LPM_V6_KEY, 4, sizes.prefixes),
        shape(map::LISTS, Array, 4, size_of::<filter_common::lists::Lists>(), 1),
        shape(map::SOURCE_BLOCKS, Hash, address, block, sizes.blocks),
        shape(map::SOURCES, LruHash, address, size_of::<Source>(), sizes.sources),
        shape(
            map::FLOWS,
            LruHash,
            size_of::<FlowKey>(),
            size_of::<FlowState>(),
            sizes.flows,
        ),
        shape(
            map::SERVICES,
            Hash,
            size_of::<filter_common::service::ServiceKey>(),
            8,
            sizes.services,
        ),
        shape(map::PORTS, Array, 4, size_of::<filter_common::ports::Ports>(), 1),
        shape(
            map::SETTINGS,
            Array,
            4,
            size_of::<filter_common::settings::Settings>(),
            1,
        ),
        shape(
            map::QUEUES,
            Array,
            4,
            size_of::<filter_common::queue::QueueState>(),
            MAX_QUEUES,
        ),
        shape(
            map::INTERFACES,
            Hash,
            4,
            size_of::<filter_common::queue::InterfaceQueues>(),
            MAX_INTERFACES,
        ),
        shape(
            map::RATES,
            LruHash,
            address,
            size_of::<SourceRates>(),
            sizes.sources,
        ),
        shape(map::TOTALS, Array, 4, size_of::<Totals>(), 1),
        shape(map::LEASES, PerCpuArray, 4, size_of::<Leases>(), 1),
        shape(map::CHALLENGE, Array, 4, size_of::<ChallengeState>(), 1),
        shape(map::PROVEN, LruHash, address, size_of::<Proof>(), sizes.sources),
        shape(map::COUNTERS, PerCpuArray, 4, size_of::<Counters>(), 1),
    ]
}

fn is_misfit(path: &Path, shape: &Shape) -> Result<bool, LoadError> {
    match MapData::from_pin(path).and_then(|data| data.info()) {
        Ok(info) => Ok(!fits(&info, shape)),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(LoadError::Replace {
            path: path.to_owned(),
            source: io::Error::other(error.to_string()),
        }),
    }
}

fn remove_misfit(path: &Path, shape: &Shape) -> Result<(), LoadError> {
    tracing::warn!(
        map = shape.name,
        "the pinned map has another shape (from another version or configuration) and is replaced; its entries are lost"
    );
    fs::remove_file(path).map_err(|source| LoadError::Replace {
        path: path.to_owned(),
        source,
    })
}

fn fits(info: &MapInfo, shape: &Shape) -> bool {
    info.map_type().is_ok_and(|kind| kind == shape.kind)
        && info.key_size() as usize == shape.key_size
        && info.value_size() as usize == shape.value_size
        && info.max_entries() == shape.max_entries
}

fn is_not_found(error: &MapError) -> bool {
    match error {
        MapError::SyscallError(error) => error.io_error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
