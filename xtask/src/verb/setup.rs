//! `cargo xtask setup`: finds or installs everything that building and testing need.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::bpf_linker;
use crate::distribution::{self, Family};
use crate::requirements::{self, Requirement};
use crate::toolchain::{self, EbpfRust};

/// Find or install what is needed: a Rust for eBPF, its linker, C libraries' headers, the lab's tools.
///
/// Nothing is touched when everything is there. On Debian and its children missing packages are installed
/// with apt (through sudo if needed; no service is started); on other systems they are named.
#[derive(Args, Debug, Default)]
pub struct Setup {
    /// Only report what is there and what is missing; fails if something is.
    #[arg(long)]
    pub check: bool,
    /// Print the report as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// What building needs to know.
#[derive(Debug)]
pub struct Tools {
    /// The compiler for eBPF.
    pub rust: EbpfRust,
    /// The linker that fits it.
    pub bpf_linker: PathBuf,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Item {
    name: &'static str,
    why: &'static str,
    present: bool,
    /// What was found, or the package to install.
    detail: String,
}

impl Setup {
    /// Runs the verb.
    ///
    /// # Errors
    /// If something cannot be installed here; the text says what to do.
    pub fn run(&self) -> Result<ExitCode> {
        if !self.check {
            ensure()?;
        }
        let items = report(Family::of_this_system());
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&items).context("writing the report")?
            );
        } else {
            for item in &items {
                let state = if item.present { "ok     " } else { "MISSING" };
                println!("{state}  {:<15} {:<48} {}", item.name, item.detail, item.why);
            }
        }
        let complete = items.iter().all(|item| item.present);
        Ok(if complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Finds or installs everything. Fast and silent when nothing is missing.
///
/// # Errors
/// If something cannot be installed here; the text says what to do.
pub fn ensure() -> Result<Tools> {
    let family = Family::of_this_system();
    let missing: Vec<&Requirement> = requirements::all().iter().filter(|need| !need.is_met()).collect();
    if let Some(tools) = installed_tools().filter(|_| missing.is_empty()) {
        return Ok(tools);
    }
    if family != Family::Debian {
        return elsewhere(family, &missing);
    }

    for need in &missing {
        eprintln!("{} is missing; it is needed {}", need.name, need.why);
    }
    distribution::apt_update()?;
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package(family)).collect();
    packages.sort_unstable();
    packages.dedup();
    distribution::apt_install(&packages)?;
    if let Some(need) = missing.iter().find(|need| !need.is_met()) {
        bail!(
            "{} is still missing after installing {}",
            need.name,
            need.package(family)
        );
    }
    let rust = ensure_rust()?;
    let bpf_linker = ensure_linker(&rust)?;
    Ok(Tools { rust, bpf_linker })
}

/// The first eBPF Rust that already has a linker for its LLVM.
fn installed_tools() -> Option<Tools> {
    EbpfRust::installed().into_iter().find_map(|rust| {
        let bpf_linker = bpf_linker::find(&rust)?;
        Some(Tools { rust, bpf_linker })
    })
}

/// The first eBPF Rust whose linker is here or can be built; else Debian's packages; else rustup's sources.
fn ensure_rust() -> Result<EbpfRust> {
    if let Some(rust) = EbpfRust::installed().into_iter().find(is_linkable) {
        return Ok(rust);
    }
    // rustc-web is the Rust that Debian's stable releases keep current for their browsers.
    let choices = [
        ["rustc-web", "rust-web-src", "rust-web-clippy"],
        ["rustc", "rust-src", "rust-clippy"],
    ];
    let choice = choices.into_iter().find(|packages| {
        packages
            .iter()
            .all(|name| distribution::apt_candidate(name).is_some_and(|v| toolchain::is_new_enough(&v)))
    });
    if let Some(packages) = choice {
        eprintln!(
            "no Rust here has the library's sources, which the eBPF target needs: taking the system's packages"
        );
        distribution::apt_install(&packages)?;
    } else {
        eprintln!(
            "no Rust here has the library's sources, and the system has no package of them: asking rustup"
        );
        toolchain::add_rust_src()?;
    }
    let rusts = EbpfRust::installed();
    let wanted: Vec<_> = rusts.iter().map(llvm_package).collect();
    rusts.into_iter().find(is_linkable).with_context(|| {
        format!(
            "a Rust with the library's sources is here, but not its LLVM, which bpf-linker must be built against; \
             install {} (https://apt.llvm.org has packages for most releases)",
            wanted.join(" or ")
        )
    })
}

fn is_linkable(rust: &EbpfRust) -> bool {
    let can_build = || {
        bpf_linker::supports(rust.llvm)
            && (bpf_linker::llvm_prefix(rust.llvm).is_some()
                || distribution::apt_candidate(&llvm_package(rust)).is_some())
    };
    bpf_linker::find(rust).is_some() || can_build()
}

fn ensure_linker(rust: &EbpfRust) -> Result<PathBuf> {
    if let Some(linker) = bpf_linker::find(rust) {
        return Ok(linker);
    }
    eprintln!(
        "no bpf-linker here uses LLVM {}, the one of {}",
        rust.llvm,
        rust.describe()
    );
    if bpf_linker::llvm_prefix(rust.llvm).is_none() {
        distribution::apt_install(&[&llvm_package(rust)])?;
    }
    bpf_linker::install(rust)
}

fn llvm_package(rust: &EbpfRust) -> String {
    format!("llvm-{}-dev", rust.llvm)
}

/// On a system whose packages are not installed from here: use what is there, build what Cargo can build,
/// and name the rest.
fn elsewhere(family: Family, missing: &[&Requirement]) -> Result<Tools> {
    let mut wanted: Vec<String> = missing
        .iter()
        .map(|need| format!("{} ({}): package {}", need.name, need.why, need.package(family)))
        .collect();
    let rusts = EbpfRust::installed();
    let rust = rusts
        .iter()
        .find(|rust| bpf_linker::find(rust).is_some() || bpf_linker::llvm_prefix(rust.llvm).is_some());
    if rusts.is_empty() {
        wanted.push("a Rust with the library's sources: rustup component add rust-src".to_owned());
    } else if rust.is_none() {
        let llvm: Vec<_> = rusts.iter().map(|rust| rust.llvm.to_string()).collect();
        wanted.push(format!(
            "LLVM's development files, major version {}",
            llvm.join(" or ")
        ));
    }
    match rust {
        Some(rust) if missing.is_empty() => Ok(Tools {
            rust: rust.clone(),
            bpf_linker: ensure_linker(rust)?,
        }),
        _ => {
            let whose = if family == Family::Unknown {
                " (the names are Debian's)"
            } else {
                ""
            };
            bail!(
                "packages are installed only on Debian and its children; here, please install{whose}:\n  {}",
                wanted.join("\n  ")
            )
        }
    }
}

fn report(family: Family) -> Vec<Item> {
    let mut items: Vec<Item> = requirements::all()
        .iter()
        .map(|need| {
            let present = need.is_met();
            let detail = if present {
                String::new()
            } else {
                format!("package {}", need.package(family))
            };
            Item {
                name: need.name,
                why: need.why,
                present,
                detail,
            }
        })
        .collect();
    let tools = installed_tools();
    let rust = tools.as_ref().map(|tools| tools.rust.describe());
    let rust = rust.or_else(|| EbpfRust::installed().first().map(EbpfRust::describe));
    items.push(Item {
        name: "rust for eBPF",
        why: "to compile the XDP program",
        present: rust.is_some(),
        detail: rust.unwrap_or_else(|| "package rustc-web rust-web-src, or rustup's rust-src".to_owned()),
    });
    items.push(Item {
        name: "bpf-linker",
        why: "to link the XDP program",
        present: tools.is_some(),
        detail: tools.map_or_else(
            || "cargo install bpf-linker".to_owned(),
            |t| t.bpf_linker.display().to_string(),
        ),
    });
    items
}
