//! Who the engine is while it filters, and what it may do.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::support::{
    engine::{INTERFACE, NOBODY, PROGRAM, RunningEngine},
    request::curl,
    site::{self, Site},
};

const AS_ROOT: &str = "engine.user=''";

/// Bits of capability sets (linux/capability.h).
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const IPC_LOCK: u64 = 1 << 14;
const BPF: u64 = 1 << 39;

/// The status files of all threads of a process.
fn threads(pid: u32) -> Result<Vec<PathBuf>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    tasks.map(|task| Ok(task?.path().join("status"))).collect()
}

/// The words after `key`; none if the thread has ended.
fn field(status: &Path, key: &str) -> Result<Option<Vec<String>>> {
    let Ok(text) = fs::read_to_string(status) else {
        return Ok(None);
    };
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let line = line.with_context(|| format!("no {key} in {text}"))?;
    Ok(Some(line.split_whitespace().map(str::to_owned).collect()))
}

fn ensure_ordinary(engine: &RunningEngine) -> Result<()> {
    let threads = threads(engine.pid())?;
    ensure!(threads.len() > 4, "{threads:?}");
    for thread in threads {
        let same = |key, value: &str, count| -> Result<()> {
            let found = field(&thread, key)?;
            let wanted = vec![value.to_owned(); count];
            ensure!(
                found.is_none_or(|found| found == wanted),
                "{key} of {}",
                thread.display()
            );
            Ok(())
        };
        let nobody = NOBODY.to_string();
        same("Uid", &nobody, 4)?;
        same("Gid", &nobody, 4)?;
        same("Groups", &nobody, 1)?;
        same("NoNewPrivs", "1", 1)?;
        same("Seccomp", "2", 1)?;
        let set = |key| -> Result<u64> {
            let found = field(&thread, key)?.unwrap_or_default();
            found
                .first()
                .map_or(Ok(0), |bits| Ok(u64::from_str_radix(bits, 16)?))
        };
        let may = NET_ADMIN | NET_RAW | BPF;
        // Without the right to lift the limit of locked memory.
        let allowed = [0, may, may | IPC_LOCK];
        for key in ["CapPrm", "CapEff"] {
            ensure!(allowed.contains(&set(key)?), "{key}: {:#x}", set(key)?);
        }
        ensure!(set("CapInh")? == 0 && set("CapAmb")? == 0);
        ensure!(set("CapBnd")?.count_ones() <= 5, "{:#x}", set("CapBnd")?);
    }
    Ok(())
}

fn ensure_filters(site: &Site) -> Result<()> {
    for server in site::nginx() {
        ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
    }
    let attack = "/1k?q=1+UNION+SELECT+password+FROM+users";
    ensure!(curl(&site.lab, site::nginx()[0], attack, &[])?.status == 403);
    Ok(())
}

#[test]
fn root_and_an_ordinary_user_take_over_from_each_other() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let patient = "reputation.threshold=1000000";
    let engine = RunningEngine::start(&site.lab, &[patient, AS_ROOT])?;
    ensure_filters(&site)?;
    let engine = engine.replace(&site.lab, &[patient])?;
    ensure_ordinary(&engine)?;
    ensure!(
        engine.log().contains("sandbox: restricts files by Landlock"),
        "{}",
        engine.log()
    );
    ensure_filters(&site)?;
    engine.tell(&["reload"])?;
    let engine = engine.replace(&site.lab, &[patient, AS_ROOT])?;
    ensure_filters(&site)?;
    engine.kill()?;
    // What root has left, an ordinary user takes over, too.
    let engine = RunningEngine::start(&site.lab, &[patient])?;
    ensure_ordinary(&engine)?;
    engine.stop()
}

#[test]
fn who_could_not_go_on_does_not_start() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let log = RunningEngine::refuse_start(&site.lab, &["engine.user=no-such-user"], &[])?;
    ensure!(log.contains("useradd"), "{log}");
    // What it could not read again.
    let file = site.lab.directory().join("private.toml");
    fs::write(&file, "[engine]\nuser = \"nobody\"\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let mut command = site.lab.gateway().command(PROGRAM);
    let output = command
        .args(["run", "--iface", INTERFACE, "--config"])
        .arg(&file)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("chmod g+r"), "{said}");
    // A directory with other things in it, of root's.
    let shared = site.lab.directory().join("shared");
    fs::create_dir(&shared)?;
    fs::write(shared.join("other"), "")?;
    let api = format!("api.socket={}/api.sock", shared.display());
    let log = RunningEngine::refuse_start(&site.lab, &[&api], &[])?;
    ensure!(log.contains("has other things in it (other)"), "{log}");
    ensure!(fs::metadata(&shared)?.uid() == 0, "it is still root's");
    Ok(())
}
