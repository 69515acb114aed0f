//! Whether this processor has the instructions that the program was built with.

use std::fs;

/// What the build takes for granted, by the kernel's names; empty in a build for any x86-64.
const BUILT_WITH: &[&str] = if cfg!(all(target_arch = "x86_64", target_feature = "avx2")) {
    // The level x86-64-v3 of the psABI.
    &["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]
} else {
    &[]
};

/// An error that says what is missing. Without it the program would die of an illegal instruction, somewhere.
pub fn check() -> anyhow::Result<()> {
    if BUILT_WITH.is_empty() {
        return Ok(());
    }
    let Ok(description) = fs::read_to_string("/proc/cpuinfo") else {
        // Nobody says; most have them.
        return Ok(());
    };
    let missing = missing(&description, BUILT_WITH);
    anyhow::ensure!(
        missing.is_empty(),
        "this processor lacks {}, which this build needs (x86-64-v3); build with RUSTFLAGS=\"-C target-cpu=x86-64\"",
        missing.join(", ")
    );
    Ok(())
}

/// Those of `needed` that the first processor of a `/proc/cpuinfo` does not have.
fn missing<'a>(description: &str, needed: &[&'a str]) -> Vec<&'a str> {
    let Some((_, flags)) = description
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "flags")
    else {
        return Vec::new();
    };
    let has = |wanted: &&&str| flags.split_whitespace().any(|flag| flag == **wanted);
    needed.iter().filter(|flag| !has(flag)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing() {
        let description =
            "processor\t: 0\nmodel name\t: A\nflags\t\t: fpu avx bmi1 avx512f\n\nflags\t\t: avx2\n";
        assert_eq!(missing(description, &["avx", "avx2", "bmi1"]), ["avx2"]);
        assert!(missing(description, &[]).is_empty());
        assert!(missing("Features\t: fp asimd\n", &["avx2"]).is_empty());
    }

    #[test]
    fn this_machine_runs_this_build() {
        check().expect("the tests run");
    }
}
