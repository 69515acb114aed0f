//! The programs and headers that building and testing need, and the packages they come in.

use std::fs;
use std::path::Path;

use crate::distribution::Family;
use crate::workspace::find_program;

/// How to see that something is there. No package manager is asked: files answer in microseconds and on
/// every system.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// A program on the search path or in a system directory.
    Program(&'static str),
    /// One of these programs.
    AnyProgram(&'static [&'static str]),
    /// A header below an include directory of the system.
    Header(&'static str),
    /// A file.
    File(&'static str),
    /// Any file whose name begins so, in one of the directories that hold LLVM's libraries.
    LlvmLibrary(&'static str),
}

/// One thing that is needed.
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    /// What it is called.
    pub name: &'static str,
    /// Why it is needed, for a reader who wonders.
    pub why: &'static str,
    probe: Probe,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

const LIBXDP: &str = "to build libxdp and libbpf for xsk-rs";
const LAB: &str = "for the lab";

/// What Chromium is called by whom it comes from.
pub const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

#[rustfmt::skip]
const ALL: [Requirement; 21] = [
    row("gcc", "to link and to compile C", Probe::Program("cc"), ["gcc", "gcc", "gcc"]),
    row("make", LIBXDP, Probe::Program("make"), ["make", "make", "make"]),
    row("clang", LIBXDP, Probe::Program("clang"), ["clang", "clang", "clang"]),
    row("libclang", LIBXDP, Probe::LlvmLibrary("libclang"), ["libclang-dev", "clang-devel", "clang"]),
    row("llvm", LIBXDP, Probe::Program("llvm-strip"), ["llvm", "llvm", "llvm"]),
    row("m4", LIBXDP, Probe::Program("m4"), ["m4", "m4", "m4"]),
    row("libelf", LIBXDP, Probe::Header("libelf.h"), ["libelf-dev", "elfutils-libelf-devel", "libelf"]),
    row("zlib", LIBXDP, Probe::Header("zlib.h"), ["zlib1g-dev", "zlib-devel", "zlib"]),
    row("pkg-config", LIBXDP, Probe::Program("pkg-config"), ["pkg-config", "pkgconf-pkg-config", "pkgconf"]),
    row("kernel headers", LIBXDP, Probe::Header("linux/if_xdp.h"), ["linux-libc-dev", "kernel-headers", "linux-api-headers"]),
    row("nginx", LAB, Probe::Program("nginx"), ["nginx-light", "nginx", "nginx"]),
    row("wrk", LAB, Probe::Program("wrk"), ["wrk", "wrk", "wrk"]),
    // wrk looks the port of "http" up.
    row("service names", LAB, Probe::File("/etc/services"), ["netbase", "setup", "iana-etc"]),
    row("curl", LAB, Probe::Program("curl"), ["curl", "curl", "curl"]),
    row("ip", LAB, Probe::Program("ip"), ["iproute2", "iproute", "iproute2"]),
    row("ethtool", LAB, Probe::Program("ethtool"), ["ethtool", "ethtool", "ethtool"]),
    row("bpftool", LAB, Probe::Program("bpftool"), ["bpftool", "bpftool", "bpf"]),
    row("ping", LAB, Probe::Program("ping"), ["iputils-ping", "iputils", "iputils"]),
    row("chromium", "to test the dashboard", Probe::AnyProgram(&BROWSERS), ["chromium", "chromium", "chromium"]),
    row("promtool", "to check the metrics", Probe::Program("promtool"), ["prometheus", "golang-github-prometheus", "prometheus"]),
    row("nsenter", LAB, Probe::Program("nsenter"), ["util-linux", "util-linux", "util-linux"]),
];

const fn row(
    name: &'static str,
    why: &'static str,
    probe: Probe,
    packages: [&'static str; 3],
) -> Requirement {
    let [debian, fedora, arch] = packages;
    Requirement {
        name,
        why,
        probe,
        debian,
        fedora,
        arch,
    }
}

/// Everything that is needed beside Rust and its eBPF linker.
#[must_use]
pub fn all() -> &'static [Requirement] {
    &ALL
}

impl Requirement {
    /// True if it is there.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => find_program(name).is_some(),
            Probe::AnyProgram(names) => names.iter().any(|name| find_program(name).is_some()),
            Probe::Header(name) => ["/usr/include", "/usr/local/include"]
                .iter()
                .any(|dir| Path::new(dir).join(name).exists()),
            Probe::File(path) => Path::new(path).exists(),
            Probe::LlvmLibrary(prefix) => llvm_library_directories().iter().any(|dir| {
                directory_names(dir)
                    .iter()
                    .any(|name| name.starts_with(prefix) && name.contains(".so"))
            }),
        }
    }

    /// The package it comes in. On a family that is not known the Debian name is the best hint.
    #[must_use]
    pub fn package(&self, family: Family) -> &'static str {
        match family {
            Family::Debian | Family::Unknown => self.debian,
            Family::Fedora => self.fedora,
            Family::Arch => self.arch,
        }
    }
}

fn directory_names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn llvm_library_directories() -> Vec<String> {
    let versioned = directory_names("/usr/lib")
        .into_iter()
        .filter(|name| name.starts_with("llvm"))
        .map(|name| format!("/usr/lib/{name}/lib"));
    versioned
        .chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(str::to_owned))
        .collect()
}
