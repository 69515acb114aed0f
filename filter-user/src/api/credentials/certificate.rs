//! The certificate that the API shows over TCP.

use std::{path::PathBuf, sync::Arc};

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

use super::file::{self, CredentialError, Kind};

/// What the API speaks (RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// A certificate with its key, ready for connections.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) files: Files,
    /// Stands for what was in the files.
    pub(super) mark: [u8; 32],
    pub(super) config: Arc<ServerConfig>,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificate {
    /// Reads both files. `group` may read the key.
    pub(super) fn read(files: Files, group: Option<u32>) -> Result<Self, CredentialError> {
        let chain = file::read(Kind::Certificate, &files.certificate, group)?;
        let key = file::read(Kind::Key, &files.key, group)?;
        let mark = Sha256::new()
            .chain_update(&chain)
            .chain_update(&key)
            .finalize()
            .into();
        let is_no_pem = |kind, path: &PathBuf, error: Option<pem::Error>| CredentialError::Form {
            kind,
            path: path.clone(),
            why: match error {
                None | Some(pem::Error::NoItemsFound) => format!("a file with a {kind} in PEM"),
                Some(error) => format!("sound PEM: {error}"),
            },
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .map_err(|error| is_no_pem(Kind::Certificate, &files.certificate, Some(error)))?;
        if chain.is_empty() {
            return Err(is_no_pem(Kind::Certificate, &files.certificate, None));
        }
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| is_no_pem(Kind::Key, &files.key, Some(error)))?;
        let config = config(chain, key).map_err(|error| CredentialError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why: error.to_string(),
        })?;
        Ok(Self {
            files,
            mark,
            config: Arc::new(config),
        })
    }
}

/// TLS 1.2 and 1.3, as rustls has them on by default.
fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

    use super::*;

    #[test]
    fn certificate_and_key_belong_together_and_are_what_they_should_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files {
            certificate: directory.path().join("a.pem"),
            key: directory.path().join("a.key"),
        };
        let pair = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let read = |certificate: &str, key: &str| {
            fs::write(&files.certificate, certificate).expect("written");
            fs::write(&files.key, key).expect("written");
            fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).expect("set");
            Certificate::read(files.clone(), None)
        };
        let (certificate, key) = pair();
        let one = read(&certificate, &key).expect("right");
        assert_eq!(one.config.alpn_protocols, [PROTOCOL]);
        let (other, others_key) = pair();
        let another = read(&other, &others_key).expect("right");
        assert_ne!(one.mark, another.mark);
        // A chain, and what stands around PEM.
        assert!(read(&format!("a note\n{certificate}{other}"), &key).is_ok());
        let cut = &certificate[..certificate.len() / 2];
        let noise = certificate.replacen("MII", "AAA", 1);
        for (certificate, key, words) in [
            (
                certificate.as_str(),
                others_key.as_str(),
                ["cannot be used with the key", "api.tls.key"],
            ),
            (&noise, &key, ["cannot be used with the key", "fix: "]),
            ("", &key, ["not a file with a certificate in PEM", "in PEM"]),
            (&key, &key, ["not a file with a certificate in PEM", "a.pem"]),
            (cut, &key, ["the certificate", "in PEM"]),
            (
                &certificate,
                &certificate,
                ["not a file with a key in PEM", "a.key"],
            ),
            (
                &certificate,
                "",
                ["not a file with a key in PEM", "not encrypted"],
            ),
        ] {
            let error = read(certificate, key).expect_err("wrong").to_string();
            for word in words {
                assert!(error.contains(word), "{word} in {error}");
            }
        }
        read(&certificate, &key).expect("right");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).expect("set");
        let group = fs::metadata(&files.key).expect("it is there").gid();
        let error = Certificate::read(files, Some(group)).expect_err("open to all");
        assert!(
            matches!(error, CredentialError::Open { kind: Kind::Key, .. }),
            "{error}"
        );
    }
}
