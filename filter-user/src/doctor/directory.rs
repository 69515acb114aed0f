//! The directories that an engine writes in.

use std::path::Path;

use super::{Finding, facts::Directory};
use crate::{config::Config, privilege::Access};

pub(super) fn examine(directory: &Directory, config: &Config) -> Finding {
    let Directory { check, key, path, .. } = directory;
    let (user, shown) = (config.engine.user.as_str(), path.display());
    let who = if user.is_empty() { "root" } else { user };
    let above = path.parent().unwrap_or(Path::new("/")).display();
    match directory.access {
        Access::Writes => Finding::ok(check, format!("{shown} is there, and {who} writes in it")),
        Access::Missing => Finding::warning(
            check,
            format!("there is no {shown} ({key}): an engine that root starts makes it"),
            format!("mkdir -p -m 0750 {shown} && chown {who} {shown}"),
        ),
        Access::OfRoot => Finding::warning(
            check,
            format!(
                "{shown} ({key}) is root's: an engine that root starts takes it over, if nothing else is in it"
            ),
            format!("chown {who} {shown}"),
        ),
        Access::NoDirectory => Finding::wrong(
            check,
            format!("{shown} ({key}) is no directory"),
            format!("mv {shown} {shown}.old && mkdir -m 0750 {shown} && chown {who} {shown}"),
        ),
        Access::OfOther(owner) => Finding::wrong(
            check,
            format!(
                "{shown} ({key}) belongs to user {owner}, not to {who} (engine.user): the engine does not start"
            ),
            format!("chown -R {who} {shown}"),
        ),
        Access::Closed => Finding::wrong(
            check,
            format!("{who} cannot write in {shown} ({key}), or not get to it"),
            format!("chmod u+rwx {shown} && chmod a+x {above}"),
        ),
    }
}
