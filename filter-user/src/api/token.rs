//! Bearer tokens (RFC 6750 §2.1).

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::{self, Role};

/// Characters of a token. Shorter ones can be guessed.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

/// All that are known.
#[derive(Clone, Debug)]
pub struct Tokens(pub(super) Arc<Vec<Token>>);

impl Tokens {
    /// Reads those of a configuration; none if the API is off.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn read(settings: &config::Api) -> Result<Self, TokenError> {
        let tokens = settings.tokens.iter().filter(|_| settings.enabled);
        Ok(Self(Arc::new(tokens.map(Token::read).collect::<Result<_, _>>()?)))
    }
}

/// A token, and what its bearer may do. Its hash alone is kept, and compared.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) role: Role,
    hash: [u8; 32],
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error(
        "cannot read the token {path}: {source}\n  fix: make it with `(umask 077; openssl rand -hex 32 > {path})`"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error(
        "the token {path} can be read or changed by others than its owner\n  fix: `chmod 600 {path}`, and a new token if they may have"
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is no token.
    #[error("the token {path} is not one line of {} to {} visible ASCII characters\n  fix: make a new one with `openssl rand -hex 32`", LENGTH.start(), LENGTH.end())]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// Reads a token.
    pub(super) fn read(token: &config::Token) -> Result<Self, TokenError> {
        let path = &token.file;
        let text = read(path)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if !LENGTH.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Form { path: path.clone() });
        }
        Ok(Self {
            name: token.name.clone(),
            role: token.role,
            hash: Sha256::digest(text).into(),
        })
    }

    /// Whether this is what a client has shown. Takes as long whatever it is.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.hash.ct_eq(&shown).into()
    }
}

fn read(path: &Path) -> Result<String, TokenError> {
    let failed = |source| TokenError::Read {
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
    if metadata.mode() & 0o077 != 0 {
        return Err(TokenError::Open {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    // With its newline; one more shows that it is too long.
    file.take(*LENGTH.end() as u64 + 2)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
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
            Token::read(&config::Token {
                name: "a".into(),
                role: Role::Viewer,
                file: path.clone(),
            })
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
                matches!(read(&good, mode), Err(TokenError::Open { .. })),
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
                matches!(read(&wrong, 0o600), Err(TokenError::Form { .. })),
                "{wrong}"
            );
        }
        fs::remove_file(&path).expect("removed");
        let missing = Token::read(&config::Token {
            name: "a".into(),
            role: Role::Viewer,
            file: path,
        });
        assert!(
            missing
                .expect_err("it is not there")
                .to_string()
                .contains("openssl")
        );
    }
}
