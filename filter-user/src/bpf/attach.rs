//! Attaches the programs to interfaces through pinned links, so that a successor replaces them atomically.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use aya::{
    programs::{
        Program, ProgramError, SchedClassifier, TcAttachType, Xdp,
        links::{FdLink, LinkError, PinnedLink},
        xdp,
    },
    sys::SyscallError,
};
use filter_common::program;

use super::Kernel;

/// Where in the driver the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver, before a socket buffer is made.
    Native,
    /// In the stack, for drivers without XDP.
    Generic,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is a program already.
    #[error(
        "another XDP program is attached to {interface}; Portcullis does not replace it. \
         See it with `ip -details link show dev {interface}`, remove it with `ip link set dev {interface} xdp off`, or set engine.replace_foreign = \"replace\"; one that a running program \
         holds goes with that program"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// The kernel refused.
    #[error("cannot attach the {what} program to {interface}")]
    Refused {
        /// Which program.
        what: &'static str,
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: ProgramError,
    },
    /// A link could not be pinned or unpinned.
    #[error("cannot pin the link {path}: {reason}")]
    Pin {
        /// Path of the link.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// Where the programs go.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// Filter and egress observer on an interface.
    Host(&'a str),
    /// The filter on the clients' side of a bridge, and what brings replies back on the servers' side: in native mode by XDP, in
    /// generic mode on the ingress hook.
    Bridge {
        /// The interface that clients come in by.
        clients: &'a str,
        /// The interface that the servers are behind.
        servers: &'a str,
    },
}

/// The attached programs. Dropping it leaves them attached; [`Attachment::detach`] takes them off.
#[derive(Debug)]
pub struct Attachment {
    /// The filter, and what goes with it.
    links: Vec<PinnedLink>,
    /// Where the filter runs in each of the places; `None` if it was taken over from a predecessor.
    pub modes: Vec<Option<XdpMode>>,
}

/// The programs in one place.
struct Attached {
    filter: PinnedLink,
    helper: PinnedLink,
    /// Of the filter, unless it was there before.
    mode: Option<XdpMode>,
    /// Whether the helper was not there before.
    helper_is_new: bool,
}

impl Attachment {
    /// Attaches both programs, XDP in the first of `modes` that works, or replaces those of a predecessor without a gap; then
    /// the mode stays as it was. The filter comes last. What a predecessor had attached elsewhere is taken off.
    ///
    /// # Errors
    ///
    /// See [`AttachError`].
    pub fn new(kernel: &mut Kernel, place: Place<'_>, modes: &[XdpMode]) -> Result<Self, AttachError> {
        Self::everywhere(kernel, &[(place, modes)])
    }

    /// The same in several places, each with its modes: in all of them or in none.
    ///
    /// # Errors
    ///
    /// See [`AttachError`].
    pub fn everywhere(kernel: &mut Kernel, places: &[(Place<'_>, &[XdpMode])]) -> Result<Self, AttachError> {
        let mut attached: Vec<Attached> = Vec::with_capacity(places.len());
        for (place, modes) in places {
            match Attached::new(kernel, *place, modes) {
                Ok(here) => attached.push(here),
                Err(error) => {
                    attached.into_iter().for_each(Attached::undo);
                    return Err(error);
                }
            }
        }
        let ours: Vec<_> = places
            .iter()
            .flat_map(|(place, modes)| ours(*place, modes))
            .collect();
        remove_stale(kernel.pin_dir(), &ours);
        Ok(Self {
            modes: attached.iter().map(|here| here.mode).collect(),
            links: attached
                .into_iter()
                .flat_map(|here| [here.filter, here.helper])
                .collect(),
        })
    }

    /// Takes all programs off the interfaces.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn detach(self) -> io::Result<()> {
        for link in self.links {
            link.unpin()?;
        }
        Ok(())
    }
}

impl Attached {
    fn new(kernel: &mut Kernel, place: Place<'_>, modes: &[XdpMode]) -> Result<Self, AttachError> {
        let ((helper, helper_is_new), interface) = match place {
            Place::Host(interface) => {
                let hook = (program::EGRESS, TcAttachType::Egress);
                (attach_tc(kernel, hook, interface)?, interface)
            }
            Place::Bridge { clients, servers } if modes == [XdpMode::Generic] => {
                let hook = (program::BACK_INGRESS, TcAttachType::Ingress);
                (attach_tc(kernel, hook, servers)?, clients)
            }
            Place::Bridge { clients, servers } => {
                let (link, mode) = attach_xdp(kernel, program::BACK, servers, modes)?;
                ((link, mode.is_some()), clients)
            }
        };
        let (filter, mode) = match attach_xdp(kernel, program::XDP, interface, modes) {
            Ok(attached) => attached,
            Err(error) => {
                if helper_is_new {
                    take_off(helper);
                }
                return Err(error);
            }
        };
        Ok(Self {
            filter,
            helper,
            mode,
            helper_is_new,
        })
    }

    /// Takes off what was not there before.
    fn undo(self) {
        if self.mode.is_some() {
            take_off(self.filter);
        }
        if self.helper_is_new {
            take_off(self.helper);
        }
    }
}

fn take_off(link: PinnedLink) {
    if let Err(error) = link.unpin() {
        tracing::warn!("cannot take a program off again: {error}");
    }
}

/// How names of pinned links begin.
pub(super) const LINK: &str = "link_";

pub(super) fn xdp_link(interface: &str) -> String {
    format!("{LINK}xdp_{interface}")
}

fn tc_link(hook: TcAttachType, interface: &str) -> String {
    match hook {
        TcAttachType::Egress => format!("{LINK}egress_{interface}"),
        _ => format!("{LINK}ingress_{interface}"),
    }
}

/// The names of the links that a place has.
fn ours(place: Place<'_>, modes: &[XdpMode]) -> [String; 2] {
    match place {
        Place::Host(interface) => [xdp_link(interface), tc_link(TcAttachType::Egress, interface)],
        Place::Bridge { clients, servers } if modes == [XdpMode::Generic] => {
            [xdp_link(clients), tc_link(TcAttachType::Ingress, servers)]
        }
        Place::Bridge { clients, servers } => [xdp_link(clients), xdp_link(servers)],
    }
}

/// Takes off what an engine that was killed, and filtered other interfaces or forwarded in another way, has left.
fn remove_stale(pin_dir: &Path, ours: &[String]) {
    let Ok(entries) = pin_dir.read_dir() else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(LINK) && !ours.iter().any(|ours| *ours == name) {
            match std::fs::remove_file(entry.path()) {
                Ok(()) => tracing::info!("took off what an earlier engine had attached: {name}"),
                Err(error) => tracing::warn!("cannot remove {}: {error}", entry.path().display()),
            }
        }
    }
}

fn attach_xdp(
    kernel: &mut Kernel,
    name: &str,
    interface: &str,
    modes: &[XdpMode],
) -> Result<(PinnedLink, Option<XdpMode>), AttachError> {
    let path = kernel.pin_dir.join(xdp_link(interface));
    let refused = |source| AttachError::Refused {
        what: "XDP",
        interface: interface.to_owned(),
        source,
    };
    let program: &mut Xdp = typed(kernel.ebpf.program_mut(name)).map_err(refused)?;
    let taken_over = take_over(&path, |link| {
        let id = program.attach_to_link(link.try_into().map_err(link_error)?)?;
        program.take_link(id)?.try_into().map_err(link_error)
    })?;
    if let Some(link) = taken_over {
        return Ok((link, None));
    }
    let mut last = None;
    for mode in modes {
        let kernel_mode = match mode {
            XdpMode::Native => xdp::XdpMode::Driver,
            XdpMode::Generic => xdp::XdpMode::Skb,
        };
        match program.attach(interface, kernel_mode) {
            Ok(id) => {
                let link = program.take_link(id).map_err(refused)?;
                let link = link.try_into().map_err(link_error).map_err(refused)?;
                return Ok((pin(link, &path)?, Some(*mode)));
            }
            Err(error) if errno(&error) == Some(nix::libc::EBUSY) => {
                return Err(AttachError::Occupied {
                    interface: interface.to_owned(),
                });
            }
            Err(error) => {
                if Some(mode) != modes.last() {
                    tracing::warn!(interface, "no {mode} XDP ({error}); trying another mode");
                }
                last = Some(error);
            }
        }
    }
    Err(refused(last.unwrap_or(ProgramError::NotLoaded)))
}

/// Attaches a program to a hook of the stack. Returns whether it was not attached before, too.
fn attach_tc(
    kernel: &mut Kernel,
    (name, hook): (&'static str, TcAttachType),
    interface: &str,
) -> Result<(PinnedLink, bool), AttachError> {
    let path = kernel.pin_dir.join(tc_link(hook, interface));
    let refused = |source| AttachError::Refused {
        what: name,
        interface: interface.to_owned(),
        source,
    };
    let program: &mut SchedClassifier = typed(kernel.ebpf.program_mut(name)).map_err(refused)?;
    let taken_over = take_over(&path, |link| {
        let id = program.attach_to_link(link.try_into().map_err(link_error)?)?;
        program.take_link(id)?.try_into().map_err(link_error)
    })?;
    if let Some(link) = taken_over {
        return Ok((link, false));
    }
    let id = program.attach(interface, hook).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    let link = link.try_into().map_err(link_error).map_err(refused)?;
    Ok((pin(link, &path)?, true))
}

fn typed<'a, P>(program: Option<&'a mut Program>) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    program.ok_or(ProgramError::NotLoaded)?.try_into()
}

/// Replaces the program of the link that a predecessor pinned, by `replace`. `None` if there is no such link, or only
/// one whose interface has gone since.
fn take_over(
    path: &Path,
    replace: impl FnOnce(FdLink) -> Result<FdLink, ProgramError>,
) -> Result<Option<PinnedLink>, AttachError> {
    let Some(link) = predecessor(path)? else {
        return Ok(None);
    };
    match replace(link) {
        Ok(link) => repin(link, path).map(Some),
        Err(error) => {
            tracing::info!(
                "the pinned link {} is stale ({error}); attaching anew",
                path.display()
            );
            unpin(path)?;
            Ok(None)
        }
    }
}

fn link_error(error: LinkError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}

/// The link a predecessor pinned, if there is one.
fn predecessor(path: &Path) -> Result<Option<FdLink>, AttachError> {
    match PinnedLink::from_pin(path) {
        Ok(pinned) => Ok(Some(pinned.into())),
        Err(LinkError::SyscallError(SyscallError { io_error, .. }))
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(AttachError::Pin {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn pin(link: FdLink, path: &Path) -> Result<PinnedLink, AttachError> {
    link.pin(path).map_err(|error| AttachError::Pin {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The same link under the same name: opened anew, because a pinned link can only be made by pinning or opening.
fn repin(link: FdLink, path: &Path) -> Result<PinnedLink, AttachError> {
    drop(link);
    PinnedLink::from_pin(path).map_err(|error| AttachError::Pin {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn unpin(path: &Path) -> Result<(), AttachError> {
    std::fs::remove_file(path).map_err(|error| AttachError::Pin {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The operating system's error number somewhere below `error`.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(code) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(code);
        }
        if let Some(call) = error.downcast_ref::<SyscallError>()
            && let Some(code) = call.io_error.raw_os_error()
        {
            return Some(code);
        }
        current = error.source();
    }
    None
}
