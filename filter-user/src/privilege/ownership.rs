//! What engines of root have made, and an engine of an ordinary user goes on with.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, IntoRawFd as _},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    fcntl::AtFlags,
    libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH},
    unistd::fchownat,
};

use super::{
    account::Account,
    places::{Place, Places},
};

/// Makes the directories, and gives the account what root has made in them. What belongs to a third user is not touched. Returns the
/// directory of pins, by a path that the account can take.
pub(super) fn hand_over(places: &Places, account: &Account) -> anyhow::Result<PathBuf> {
    // All of them before any is given away: root without all its rights cannot make one in what is another's.
    let all = places.written.iter().chain([&places.pins]);
    let made: HashSet<&Path> = all
        .filter_map(|place| match make(place) {
            Ok(false) => None,
            Ok(true) => Some(Ok(place.path.as_path())),
            Err(error) => Some(Err(error).with_context(|| {
                let path = place.path.display();
                format!(
                    "cannot make {path}\n  fix: start the engine as root, or make it and give it to {}",
                    account.name
                )
            })),
        })
        .collect::<Result<_, _>>()?;
    for place in &places.written {
        enter(place, made.contains(place.path.as_path()), account)?;
    }
    let pins = enter(&places.pins, made.contains(places.pins.path.as_path()), account)?;
    if is_passable(places.pins.path.parent(), account) {
        return Ok(places.pins.path.clone());
    }
    // Systems mount the BPF file system for root alone. Through a descriptor, which stays open to the end of the process, the path
    // does not go by its root.
    Ok(PathBuf::from(format!("/proc/self/fd/{}", pins.into_raw_fd())))
}

/// Hands over one directory.
fn enter(place: &Place, is_new: bool, account: &Account) -> anyhow::Result<File> {
    let path = &place.path;
    let failed = || format!("cannot give {} to {}", path.display(), account.name);
    let directory = open(path, O_DIRECTORY).with_context(failed)?;
    let owner = directory.metadata().with_context(failed)?.uid();
    if owner != account.uid.as_raw() {
        ensure!(
            owner == 0,
            "{path} belongs to user {owner}, not to {name} (engine.user), who shall have it\n  fix: stop the engine of that user, then \
             `chown -R {name} {path}`",
            path = path.display(),
            name = account.name,
        );
        if !is_new && !place.is_ours {
            ensure_ours(place, account)?;
        }
        give(&directory, account).with_context(failed)?;
    }
    // What is there may also be of an engine that root has started since.
    // By the handle: the account may put another directory in the place of what the path names.
    let listing = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    for entry in fs::read_dir(&listing).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        if place.has_made(&entry.file_name().to_string_lossy()) {
            hand_over_file(&entry.path(), account)
                .with_context(|| format!("cannot give {} to {}", entry.path().display(), account.name))?;
        }
    }
    Ok(directory)
}

/// Returns whether it was not there.
fn make(place: &Place) -> io::Result<bool> {
    if let Some(parent) = place.path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(place.mode).create(&place.path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A directory that others use, too, cannot be given away.
fn ensure_ours(place: &Place, account: &Account) -> anyhow::Result<()> {
    for entry in fs::read_dir(&place.path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !place.has_made(&name) {
            bail!(
                "{path} belongs to root and has other things in it ({name}), so that {user} (engine.user) cannot have it\n  fix: use a \
                 directory of its own, such as {path}/portcullis, for engine.control_socket, api.socket and engine.pin_dir",
                path = place.path.display(),
                user = account.name,
            );
        }
    }
    Ok(())
}

/// Gives the account a file of root's. What it could have put there itself stays what it is: a link, or another name of a file elsewhere.
fn hand_over_file(path: &Path, account: &Account) -> io::Result<()> {
    let file = match open(path, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if metadata.uid() == 0 && !metadata.is_symlink() && !is_named_elsewhere(&metadata) {
        give(&file, account)?;
    }
    Ok(())
}

fn is_named_elsewhere(metadata: &Metadata) -> bool {
    !metadata.is_dir() && metadata.nlink() != 1
}

/// A handle of what is there, whatever it is.
fn open(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_PATH | O_NOFOLLOW | flags)
        .open(path)
}

fn give(file: impl AsFd, account: &Account) -> io::Result<()> {
    let (uid, gid) = (Some(account.uid), Some(account.gid));
    Ok(fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH)?)
}

/// Whether others than root may look for names in a directory and those above.
pub(super) fn is_passable(directory: Option<&Path>, account: &Account) -> bool {
    let mut above = directory.map(Path::ancestors).into_iter().flatten();
    above.all(|directory| {
        fs::metadata(directory).is_ok_and(|metadata| {
            let bit = if metadata.uid() == account.uid.as_raw() {
                0o100
            } else {
                0o001
            };
            metadata.mode() & bit != 0
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use nix::unistd::geteuid;

    use super::*;

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").uid()
    }

    fn place(path: &Path, is_ours: bool) -> Place {
        Place {
            path: path.to_owned(),
            prefixes: vec!["ours-".into()],
            mode: 0o700,
            is_ours,
        }
    }

    #[test]
    fn only_what_engines_have_made_is_given_away() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: giving files away takes root");
            return;
        }
        let account = Account::find("nobody").expect("every system has it");
        let nobody = account.uid.as_raw();
        let directory = tempfile::tempdir().expect("a directory");
        let (new, path) = (directory.path().join("new/one"), directory.path().join("run"));
        make(&place(&new, false)).expect("made");
        enter(&place(&new, false), true, &account).expect("given away");
        assert_eq!((owner(&new), owner(directory.path())), (nobody, 0));

        fs::create_dir(&path).expect("made");
        let (secret, elsewhere) = (
            directory.path().join("secret"),
            directory.path().join("elsewhere"),
        );
        for file in [&secret, &elsewhere, &path.join("ours-1"), &path.join("other")] {
            fs::write(file, "").expect("written");
        }
        symlink(&secret, path.join("ours-link")).expect("a link");
        fs::hard_link(&elsewhere, path.join("ours-name")).expect("another name");
        let error = enter(&place(&path, false), false, &account).expect_err("others use it, too");
        assert!(
            error.to_string().contains("fix: use a directory of its own"),
            "{error}"
        );
        assert_eq!(owner(&path), 0);
        enter(&place(&path, true), false, &account).expect("given away");
        assert_eq!((owner(&path), owner(&path.join("ours-1"))), (nobody, nobody));
        for kept in [&secret, &elsewhere, &path.join("other"), &path.join("ours-link")] {
            assert_eq!(owner(kept), 0, "{}", kept.display());
        }

        chown(&path, Some(nobody - 1), None).expect("given to a third");
        let error = enter(&place(&path, true), false, &account)
            .expect_err("of a third")
            .to_string();
        assert!(error.contains("chown -R nobody"), "{error}");
    }
}
