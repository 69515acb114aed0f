//! The listening sockets of an engine: never open to others, never two engines on one path, no leftovers.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::{
        fs::{
            DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
        },
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// A bound socket with mode 0600; dropped, its path is removed.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Held as long as the engine lives: two engines that start at once cannot both find the path free.
    _lock: Flock<fs::File>,
}

impl ControlSocket {
    /// Binds `path`. Its directory is made if need be, with mode 0700; a socket that nobody listens on is replaced.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        Self::bind_for("engine.control_socket", path)
    }

    /// The same, for the socket that `key` of the configuration names.
    pub fn bind_for(key: &'static str, path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io {
            key,
            path: path.to_owned(),
            error,
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(io::Error::from(io::ErrorKind::InvalidInput)));
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed)?;

        let lock_path = path.with_added_extension("lock");
        let lock_file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(lock_path)
            .map_err(failed)?;
        let lock =
            Flock::lock(lock_file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
                nix::Error::EWOULDBLOCK => SocketError::InUse {
                    key,
                    path: path.to_owned(),
                },
                errno => failed(errno.into()),
            })?;

        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(SocketError::NotASocket {
                    key,
                    path: path.to_owned(),
                });
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(SocketError::InUse {
                    key,
                    path: path.to_owned(),
                });
            }
            _ => {}
        }

        // Between bind and chmod the socket has the umask's mode. It is made where nobody else can reach it,
        // and gets its name, in place of a dead one, when its mode is right.
        let private = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let _ = fs::remove_dir_all(&private);
        DirBuilder::new().mode(0o700).create(&private).map_err(failed)?;
        let bound = Self::bind_private(&private.join("s"), path);
        let removed = fs::remove_dir_all(&private);
        let (listener, inode) = bound.map_err(failed)?;
        removed.map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
            _lock: lock,
        })
    }

    fn bind_private(private: &Path, path: &Path) -> io::Result<(UnixListener, u64)> {
        let listener = UnixListener::bind(private)?;
        fs::set_permissions(private, Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(private)?.ino();
        fs::rename(private, path)?;
        listener.set_nonblocking(true)?;
        Ok((listener, inode))
    }

    /// A second handle of the listener, not blocking.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Where clients connect.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why the control socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another engine answers there.
    #[error("another engine is running on {}\n  fix: stop it first, or give this one its own {key} and engine.pin_dir", path.display())]
    InUse {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The socket.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("{} exists and is not a socket\n  fix: remove it, or set {key} to another path", path.display())]
    NotASocket {
        /// The key of the configuration that names it.
        key: &'static str,
        /// What is there.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot make the socket {}: {error}\n  fix: run as root, or set {key} to a path that can be written", path.display())]
    Io {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The socket.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_replaces_the_dead_and_goes_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run/control.sock");
        let socket = ControlSocket::bind(&path).expect("bound");
        let mode = |path: &Path| fs::symlink_metadata(path).expect("it exists").mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a parent")), 0o700);
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::InUse { .. })
        ));
        drop(socket);
        assert!(!path.exists());

        // What a killed engine leaves: a socket that refuses connections, and its private directory.
        drop(UnixListener::bind(&path).expect("bound"));
        fs::create_dir(path.with_file_name(format!(".control.sock.{}", std::process::id()))).expect("made");
        let socket = ControlSocket::bind(&path).expect("the dead one is replaced");
        UnixStream::connect(&path).expect("it listens");
        assert_eq!(mode(&path), 0o600);
        drop(socket);

        // An engine that takes no lock but answers.
        let other = UnixListener::bind(&path).expect("bound");
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::InUse { .. })
        ));
        drop(other);
        fs::remove_file(&path).expect("removed");

        fs::write(&path, "mine").expect("written");
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::NotASocket { .. })
        ));
        assert_eq!(fs::read_to_string(&path).expect("untouched"), "mine");
    }
}
