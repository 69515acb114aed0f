//! Bearer tokens (RFC 6750 §2.1).

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::file::{self, CredentialError, Kind};
use crate::config::{self, Role};

/// Characters of a token. Shorter ones can be guessed.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

/// A token, and what its bearer may do. Its hash alone is kept, and compared.
#[derive(Debug)]
pub(in crate::api) struct Token {
    pub(in crate::api) name: String,
    pub(in crate::api) role: Role,
    pub(super) file: PathBuf,
    hash: [u8; 32],
}

impl Token {
    /// Reads a token. `group` may read its file.
    pub(super) fn read(token: &config::Token, group: Option<u32>) -> Result<Self, CredentialError> {
        let text = file::read(Kind::Token, &token.file, group)?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        if !LENGTH.contains(&text.len()) || !text.iter().all(u8::is_ascii_graphic) {
            return Err(CredentialError::Form {
                kind: Kind::Token,
                path: token.file.clone(),
                why: format!(
                    "one line of {} to {} visible ASCII characters",
                    LENGTH.start(),
                    LENGTH.end()
                ),
            });
        }
        Ok(Self {
            name: token.name.clone(),
            role: token.role,
            file: token.file.clone(),
            hash: Sha256::digest(text).into(),
        })
    }

    /// The same with another role.
    pub(super) fn with_role(&self, role: Role) -> Self {
        Self {
            name: self.name.clone(),
            role,
            file: self.file.clone(),
            hash: self.hash,
        }
    }

    /// Whether this is what a client has shown. Takes as long whatever it is.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.hash.ct_eq(&shown).into()
    }

    /// Whether both let the same bearer do the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.role, self.hash) == (&other.name, other.role, other.hash)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn tokens_are_long_private_and_on_one_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.token");
        let read = |text: &str, mode| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let token = config::Token {
                name: "a".into(),
                role: Role::Viewer,
                file: path.clone(),
            };
            Token::read(&token, None)
        };
        let good = "x".repeat(32);
        let token = read(&format!("{good}\n"), 0o600).expect("a token");
        assert!(token.is(good.as_bytes()));
        for other in [
            String::new(),
            "x".repeat(31),
            "x".repeat(33),
            format!("{good}\n"),
            "y".repeat(32),
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert!(read(&"x".repeat(512), 0o400).is_ok());
        for mode in [0o640, 0o604, 0o620] {
            assert!(
                matches!(read(&good, mode), Err(CredentialError::Open { .. })),
                "{mode:o}"
            );
        }
        for wrong in [
            "x".repeat(31),
            "x".repeat(513),
            "x".repeat(5000),
            format!("{good} {good}"),
            format!("{good}\n\n"),
            format!("{good}\n{good}"),
            "ä".repeat(32),
        ] {
            assert!(
                matches!(read(&wrong, 0o600), Err(CredentialError::Form { .. })),
                "{wrong}"
            );
        }
        fs::remove_file(&path).expect("removed");
        let token = config::Token {
            name: "a".into(),
            role: Role::Viewer,
            file: path,
        };
        let missing = Token::read(&token, None).expect_err("it is not there");
        assert!(missing.to_string().contains("openssl"), "{missing}");
    }
}
