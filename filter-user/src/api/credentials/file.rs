//! The files that credentials are read from.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bearer's token.
    Token,
    /// A chain of certificates.
    Certificate,
    /// The certificate's private key.
    Key,
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("cannot read the {kind} {path}: {source}\n  fix: {}", kind.remedy(path, source))]
    Read {
        /// What it should hold.
        kind: Kind,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error(
        "the {kind} {path} can be read or changed by others than its owner\n  fix: `chmod 600 {path}` (or 640, if its group is that of \
         engine.user), and a new {kind} if they may have"
    )]
    Open {
        /// What it should hold.
        kind: Kind,
        /// The file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("the {kind} {path} is not {why}\n  fix: {}", kind.origin(path))]
    Form {
        /// What it should hold.
        kind: Kind,
        /// The file.
        path: PathBuf,
        /// What it is not.
        why: String,
    },
    /// Certificate and key are not of each other, or nothing that TLS could use.
    #[error(
        "the certificate {certificate} cannot be used with the key {key}: {why}\n  fix: name the key that the certificate was issued for \
         (api.tls.key), and the server's certificate before those of its issuers"
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What went wrong.
        why: String,
    },
}

impl CredentialError {
    /// Whether this user may not read the file, whatever is in it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Key => "key",
        })
    }
}

impl Kind {
    /// The most bytes of such a file: a token of the greatest length and an end of its line, a long chain, any key.
    const fn most_bytes(self) -> u64 {
        match self {
            Self::Token => 514,
            Self::Certificate | Self::Key => 256 << 10,
        }
    }

    /// What to do about a file that cannot be read.
    fn remedy(self, path: &Path, source: &io::Error) -> String {
        if source.kind() == io::ErrorKind::PermissionDenied {
            let path = path.display();
            return format!(
                "`chgrp GROUP {path}` and `chmod 640 {path}` with the group of engine.user, and make the directories above passable"
            );
        }
        self.origin(path)
    }

    /// Where such a file comes from.
    fn origin(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Token => format!("make it with `(umask 077; openssl rand -hex 32 > {path})`"),
            Self::Certificate => format!("put the server's certificate and its issuers' into {path}, in PEM"),
            Self::Key => format!("put the certificate's private key into {path}, in PEM and not encrypted"),
        }
    }
}

/// Reads a file. One that holds a secret must be nobody's but its owner's and, if there is one, the `group`'s, which may read it.
pub(super) fn read(kind: Kind, path: &Path, group: Option<u32>) -> Result<Vec<u8>, CredentialError> {
    let failed = |source| CredentialError::Read {
        kind,
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let others = match group {
        Some(group) if metadata.gid() == group => 0o037,
        _ => 0o077,
    };
    if kind != Kind::Certificate && metadata.mode() & others != 0 {
        return Err(CredentialError::Open {
            kind,
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    let most = kind.most_bytes();
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(CredentialError::Form {
            kind,
            path: path.to_owned(),
            why: format!("within {most} bytes"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn secrets_are_their_owners_and_of_the_engines_group() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        fs::write(&path, "x").expect("written");
        let group = fs::metadata(&path).expect("it is there").gid();
        for (mode, kind, group, expected) in [
            (0o600, Kind::Token, None, true),
            (0o640, Kind::Token, None, false),
            (0o640, Kind::Token, Some(group), true),
            (0o640, Kind::Key, Some(group + 1), false),
            (0o660, Kind::Key, Some(group), false),
            (0o604, Kind::Key, Some(group), false),
            (0o644, Kind::Certificate, None, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let read = read(kind, &path, group);
            assert_eq!(read.is_ok(), expected, "{mode:o} {kind} {group:?}");
            assert!(
                read.is_ok() || matches!(read, Err(CredentialError::Open { .. })),
                "{mode:o}"
            );
        }
        fs::write(&path, "x".repeat(600)).expect("written");
        let error = read(Kind::Token, &path, Some(group)).expect_err("long");
        assert!(error.to_string().contains("can be read"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        let error = read(Kind::Token, &path, None).expect_err("long").to_string();
        assert!(
            error.contains("not within 514 bytes") && error.contains("openssl"),
            "{error}"
        );
        let error = read(Kind::Key, directory.path(), None).expect_err("a directory");
        assert!(error.to_string().contains("not a file"), "{error}");
        let denied = CredentialError::Read {
            kind: Kind::Key,
            path,
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(
            denied.is_denied() && denied.to_string().contains("chmod 640"),
            "{denied}"
        );
    }
}
