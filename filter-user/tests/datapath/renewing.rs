//! Tokens and the certificate of the API are replaced while an engine of an ordinary user runs.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use anyhow::{Result, ensure};
use xtask::lab::namespace::output_of;

use crate::support::{
    engine::{NOBODY, RunningEngine},
    site::Site,
};

const PLACE: &str = "127.0.0.1:9180";

/// A file of root's that the engine's group can read, if the mode says so.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)?;
    chown(path, Some(0), Some(NOBODY))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Another certificate, and its key.
fn issue(directory: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    write(&directory.join("api.pem"), &made.cert.pem(), 0o644)?;
    write(
        &directory.join("api.key"),
        &made.signing_key.serialize_pem(),
        0o640,
    )
}

#[test]
fn tokens_and_certificate_are_replaced_by_a_reload() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let directory = site.lab.directory().join("credentials");
    fs::create_dir(&directory)?;
    let [token, certificate, key] = ["page.token", "api.pem", "api.key"].map(|name| directory.join(name));
    let (first, second) = ("1".repeat(40), "2".repeat(40));
    issue(&directory)?;
    write(&token, &first, 0o640)?;
    let settings = [
        format!("api.listen=[\"{PLACE}\"]"),
        format!(
            "api.tokens=[{{name=\"page\", role=\"viewer\", file=\"{}\"}}]",
            token.display()
        ),
        format!("api.tls.certificate={}", certificate.display()),
        format!("api.tls.key={}", key.display()),
    ];
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let knows = |token: &str| {
        let mut curl = site.lab.gateway().command("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--cacert"])
            .arg(&certificate)
            .args(["--oauth2-bearer", token])
            .arg(format!("https://{PLACE}/health"));
        output_of(&mut curl).is_ok()
    };
    ensure!(knows(&first) && !knows(&second), "{}", engine.log());

    issue(&directory)?;
    write(&token, &second, 0o640)?;
    let said = engine.tell(&["reload"])?;
    ensure!(said.contains("read anew: token page, certificate"), "{said}");
    // Whom the new certificate is trusted by: nothing else is at its place.
    ensure!(knows(&second) && !knows(&first), "{}", engine.log());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let (_, error) = engine.refuse(&["reload"])?;
    ensure!(error.contains("can be read or changed by others"), "{error}");
    write(&key, "no key", 0o640)?;
    let (_, error) = engine.refuse(&["reload"])?;
    ensure!(error.contains("not a file with a key in PEM"), "{error}");
    // What root keeps for itself stays as it is.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let said = engine.tell(&["reload"])?;
    ensure!(said.contains("warning: it stays in force as it was"), "{said}");
    ensure!(knows(&second), "{}", engine.log());
    engine.stop()
}
