//! What an engine's user can do with a directory that engines write in.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use super::{account::Account, ownership::is_passable};

/// What an engine's user can do with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Make files in it.
    Writes,
    /// There is no such directory.
    Missing,
    /// That is something else than a directory.
    NoDirectory,
    /// It is root's. An engine takes it over when it starts, unless other things are in it.
    OfRoot,
    /// It belongs to this other user.
    OfOther(u32),
    /// It is the user's, but closed to it, or one above it is.
    Closed,
}

impl Access {
    /// That of the user of this name or number; empty: of this process, which is root. None if there is no such user.
    #[must_use]
    pub fn of(user: &str, directory: &Path) -> Option<Self> {
        let account = match user {
            "" => None,
            user => Some(Account::find(user).ok()?),
        };
        Some(match fs::metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(_) => Self::Closed,
            Ok(metadata) if !metadata.is_dir() => Self::NoDirectory,
            Ok(metadata) => account.map_or(Self::Writes, |account| {
                let (owner, uid) = (metadata.uid(), account.uid.as_raw());
                if owner == 0 {
                    Self::OfRoot
                } else if owner != uid {
                    Self::OfOther(owner)
                } else if metadata.mode() & 0o300 != 0o300 || !is_passable(directory.parent(), &account) {
                    Self::Closed
                } else {
                    Self::Writes
                }
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use nix::unistd::geteuid;

    use super::*;

    #[test]
    fn a_directory_is_looked_at_as_the_user_sees_it() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: giving directories away takes root");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let above = directory.path();
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
        };
        open(above, 0o755);
        let nobody = Account::find("nobody").expect("every system has it").uid.as_raw();
        let path = above.join("state");
        let access = |user| Access::of(user, &path);
        assert_eq!(access("nobody"), Some(Access::Missing));
        fs::write(&path, "").expect("written");
        assert_eq!(access("nobody"), Some(Access::NoDirectory));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert_eq!(access("nobody"), Some(Access::OfRoot));
        assert_eq!((access(""), access("no-such-user")), (Some(Access::Writes), None));
        chown(&path, Some(nobody - 1), None).expect("given away");
        assert_eq!(access("nobody"), Some(Access::OfOther(nobody - 1)));
        chown(&path, Some(nobody), None).expect("given away");
        assert_eq!(access("nobody"), Some(Access::Writes));
        open(&path, 0o500);
        assert_eq!(access("nobody"), Some(Access::Closed));
        open(&path, 0o700);
        open(above, 0o700);
        assert_eq!(access("nobody"), Some(Access::Closed));
    }
}
