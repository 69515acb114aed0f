//! Finding or installing the linker that fits the eBPF Rust's LLVM.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::toolchain::EbpfRust;
use crate::{progress, workspace};

/// The release that is installed when none fits.
const VERSION: &str = "0.13.0";
/// The LLVM versions that release can be built for.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// A linker that can read what `rust` writes: in this workspace's tools, in Cargo's home or on the search
/// path. One that does not say which LLVM it uses (statically linked) is not trusted.
#[must_use]
pub fn find(rust: &EbpfRust) -> Option<PathBuf> {
    let own = Some(workspace::tools().join("bin/bpf-linker"));
    let home = workspace::cargo_home().map(|home| home.join("bin/bpf-linker"));
    let path = workspace::find_program("bpf-linker");
    [own, home, path]
        .into_iter()
        .flatten()
        .find(|linker| llvm_of(linker) == Some(rust.llvm))
}

/// The LLVM that a dynamically linked bpf-linker loads, as ldd(1) tells.
fn llvm_of(linker: &Path) -> Option<u32> {
    if !linker.is_file() {
        return None;
    }
    let output = Command::new("ldd").arg(linker).output().ok()?;
    llvm_in_ldd(&String::from_utf8_lossy(&output.stdout))
}

fn llvm_in_ldd(text: &str) -> Option<u32> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("libLLVM"))?;
    if line.contains("not found") {
        return None;
    }
    // libLLVM.so.22.1, or libLLVM-22.so.1 in older releases.
    let digits = line.trim_start_matches(|character: char| !character.is_ascii_digit());
    digits
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The directory of the LLVM with this major version that has its development files, by the places where
/// distributions put them.
#[must_use]
pub fn llvm_prefix(major: u32) -> Option<PathBuf> {
    let versioned = [
        format!("/usr/lib/llvm-{major}"),
        format!("/usr/lib64/llvm{major}"),
        format!("/usr/lib/llvm{major}"),
    ];
    let fixed = versioned
        .map(PathBuf::from)
        .into_iter()
        .find(|prefix| prefix.join("bin/llvm-config").is_file());
    fixed.or_else(|| {
        let ask = |argument: &str| {
            let output = Command::new("llvm-config").arg(argument).output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = ask("--version")?;
        if version.split('.').next()? != major.to_string() {
            return None;
        }
        ask("--prefix").map(PathBuf::from)
    })
}

/// True if bpf-linker can be built for this LLVM.
#[must_use]
pub fn supports(llvm: u32) -> bool {
    LLVM.contains(&llvm)
}

/// Builds the linker against the LLVM that `rust` uses. It goes to Cargo's home, unless another
/// bpf-linker is there already, which is left alone.
///
/// # Errors
/// If that LLVM's development files are missing, or the build fails.
pub fn install(rust: &EbpfRust) -> Result<PathBuf> {
    let Some(prefix) = llvm_prefix(rust.llvm) else {
        bail!(
            "the development files of LLVM {0} are missing (Debian: llvm-{0}-dev)",
            rust.llvm
        );
    };
    let root = workspace::cargo_home()
        .filter(|home| !home.join("bin/bpf-linker").exists())
        .unwrap_or_else(workspace::tools);
    let mut command = Command::new(workspace::cargo());
    // Outside the workspace, so that its own settings do not apply.
    command
        .current_dir("/")
        .args([
            "install",
            "bpf-linker",
            "--locked",
            "--force",
            "--version",
            VERSION,
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{}", rust.llvm),
            "--root",
        ])
        .arg(&root)
        // An llvm-config of another version may be first on the search path.
        .env("LLVM_PREFIX", &prefix)
        .env("CARGO_TARGET_DIR", workspace::target().join("bpf-linker"))
        .env_remove("RUSTC");
    let what = format!(
        "Building bpf-linker {VERSION} for LLVM {} into {}",
        rust.llvm,
        root.display()
    );
    progress::run("bpf-linker", &what, &mut command)?;
    find(rust).with_context(|| format!("bpf-linker was built, but does not load LLVM {}", rust.llvm))
}

#[cfg(test)]
mod tests {
    use super::llvm_in_ldd;

    #[test]
    fn llvm_is_read_from_either_naming() {
        assert_eq!(
            llvm_in_ldd("\tlibz.so.1 => x\n\tlibLLVM.so.22.1 => /usr/lib/x (0x0)"),
            Some(22)
        );
        assert_eq!(llvm_in_ldd("\tlibLLVM-17.so.1 => /usr/lib/x (0x0)"), Some(17));
        assert_eq!(llvm_in_ldd("\tlibLLVM.so.22.1 => not found"), None);
        assert_eq!(llvm_in_ldd("\tlibc.so.6 => x"), None);
    }
}
