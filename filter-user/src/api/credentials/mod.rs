//! What clients of the API over TCP are known by, and what it shows them: the tokens and the certificate.
//!
//! They are read at the start and with each reload. Connections and requests go by those in force when they come.

mod certificate;
mod file;
mod token;

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use crate::config;
use certificate::{Certificate, Files};

pub use file::{CredentialError, Kind};
pub(super) use token::Token;

/// All that are in force.
#[derive(Debug, Default)]
pub struct Credentials {
    tokens: Vec<Arc<Token>>,
    certificate: Option<Certificate>,
}

/// What reading again came to.
#[derive(Debug)]
pub struct Reread {
    /// What the files hold now.
    pub credentials: Credentials,
    /// Why some stay as they were: files that this user may not read.
    pub kept: Vec<CredentialError>,
}

impl Credentials {
    /// Reads those of a configuration; none if the API is off. `group` may read their files: that of the engine's own user.
    ///
    /// # Errors
    ///
    /// See [`CredentialError`].
    pub fn read(settings: &config::Api, group: Option<u32>) -> Result<Self, CredentialError> {
        Ok(Self::default().reread(settings, group)?.credentials)
    }

    /// The same, when these are in force: what root alone may read stays as it was read at the start.
    ///
    /// # Errors
    ///
    /// See [`CredentialError`].
    pub fn reread(&self, settings: &config::Api, group: Option<u32>) -> Result<Reread, CredentialError> {
        let mut kept = Vec::new();
        let mut credentials = Self::default();
        if !settings.enabled {
            return Ok(Reread { credentials, kept });
        }
        for wanted in &settings.tokens {
            let before = self
                .tokens
                .iter()
                .find(|token| (&token.name, &token.file) == (&wanted.name, &wanted.file))
                .map(|token| token.with_role(wanted.role));
            let token = or_kept(Token::read(wanted, group), before, &mut kept)?;
            credentials.tokens.push(Arc::new(token));
        }
        if let (Some(certificate), Some(key)) = (&settings.tls.certificate, &settings.tls.key) {
            let files = Files {
                certificate: certificate.clone(),
                key: key.clone(),
            };
            let before = self.certificate.clone().filter(|before| before.files == files);
            let read = Certificate::read(files, group);
            credentials.certificate = Some(or_kept(read, before, &mut kept)?);
        }
        Ok(Reread { credentials, kept })
    }

    /// What of `next` is not what it was, in words.
    #[must_use]
    pub fn changes(&self, next: &Self) -> Vec<String> {
        let is_known = |token: &&Arc<Token>| self.tokens.iter().any(|before| before.is_same(token));
        let new = next.tokens.iter().filter(|token| !is_known(token));
        let mut changes: Vec<_> = new.map(|token| format!("token {}", token.name)).collect();
        let mark = |credentials: &'_ Self| credentials.certificate.as_ref().map(|now| now.mark);
        if next.certificate.is_some() && mark(self) != mark(next) {
            changes.push("certificate".to_owned());
        }
        changes
    }

    /// The token that a client has shown.
    pub(super) fn token(&self, shown: &[u8]) -> Option<&Arc<Token>> {
        self.tokens.iter().find(|token| token.is(shown))
    }

    /// Whether who was let in with this token still is.
    pub(super) fn admit(&self, token: &Token) -> bool {
        self.tokens.iter().any(|known| known.is_same(token))
    }

    /// What connections are encrypted with; none if they are not.
    pub(super) fn encryption(&self) -> Option<Arc<ServerConfig>> {
        let certificate = self.certificate.as_ref()?;
        Some(Arc::clone(&certificate.config))
    }
}

/// What was before, if this user may not read what is now.
fn or_kept<T>(
    read: Result<T, CredentialError>,
    before: Option<T>,
    kept: &mut Vec<CredentialError>,
) -> Result<T, CredentialError> {
    match (read, before) {
        (Err(error), Some(before)) if error.is_denied() => {
            kept.push(error);
            Ok(before)
        }
        (read, _) => read,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_this_user_may_not_read_stays_as_it_was() {
        let error = |kind: io::ErrorKind| CredentialError::Read {
            kind: Kind::Token,
            path: "a.token".into(),
            source: kind.into(),
        };
        let mut kept = Vec::new();
        let denied = || Err(error(io::ErrorKind::PermissionDenied));
        assert_eq!(or_kept(denied(), Some(1), &mut kept).ok(), Some(1));
        assert_eq!(kept.len(), 1);
        // Not one that has never been read, nor for any other reason.
        assert!(or_kept::<i32>(denied(), None, &mut kept).is_err());
        assert!(or_kept(Err(error(io::ErrorKind::NotFound)), Some(1), &mut kept).is_err());
        assert_eq!(or_kept(Ok(2), Some(1), &mut kept).ok(), Some(2));
        assert_eq!(kept.len(), 1);
    }
}
