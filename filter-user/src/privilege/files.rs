//! The files that an engine is kept to (Landlock).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};

use super::places::Places;

/// The newest rights of Landlock that are asked for; an older kernel has fewer.
const RIGHTS: ABI = ABI::V5;
/// Where the kernel's own files are: the root of their file systems, since what is below comes and goes. Which of them an ordinary
/// user may write is told by their owners and modes.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// Whether this kernel has Landlock, and it is switched on.
pub(super) fn is_there() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V1));
    ruleset.and_then(Ruleset::create).is_ok()
}

/// Keeps the calling thread, and those that it starts, to these places. Files are judged by the directories that they are in, so that
/// they can be replaced. Says what came of it.
pub(super) fn keep_to(places: &Places, pin_dir: &Path) -> Result<&'static str, landlock::RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let change = read | AccessFs::WriteFile | AccessFs::Truncate;
    let make: BitFlags<AccessFs> = all & !AccessFs::Execute & !AccessFs::MakeBlock & !AccessFs::MakeChar;
    let written = places.written.iter().map(|place| place.path.clone());
    let written: Vec<PathBuf> = written.chain([pin_dir.to_owned()]).collect();
    // What is not there gives no rule.
    let status = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(&places.read, read))?
        .add_rules(path_beneath_rules(KERNEL, change))?
        .add_rules(path_beneath_rules(written, make))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "files by Landlock",
        RulesetStatus::PartiallyEnforced => "files by Landlock, as far as this kernel has it",
        RulesetStatus::NotEnforced => "no files: this kernel has no Landlock",
    })
}
