//! A user of the system.

use std::ffi::CString;

use anyhow::{Context as _, bail, ensure};
use nix::unistd::{Gid, Uid, User, getgrouplist};

/// Whom the engine becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// All groups it is in.
    pub(super) groups: Vec<Gid>,
}

impl Account {
    /// Looks a user up by name or number. A number without an entry is a user with the group of the same number.
    pub(super) fn find(user: &str) -> anyhow::Result<Self> {
        let number = user.parse().ok().map(Uid::from_raw);
        let entry = match number {
            Some(uid) => User::from_uid(uid),
            None => User::from_name(user),
        }
        .with_context(|| format!("engine.user: cannot look up `{user}`"))?;
        let account = match (entry, number) {
            (Some(entry), _) => {
                let name = CString::new(entry.name.as_str()).context("engine.user")?;
                Self {
                    groups: getgrouplist(&name, entry.gid)
                        .with_context(|| format!("engine.user: cannot look up the groups of `{user}`"))?,
                    name: entry.name,
                    uid: entry.uid,
                    gid: entry.gid,
                }
            }
            (None, Some(uid)) => {
                let gid = Gid::from_raw(uid.as_raw());
                Self {
                    name: user.to_owned(),
                    uid,
                    gid,
                    groups: vec![gid],
                }
            }
            (None, None) => bail!(
                "engine.user: there is no user `{user}`\n  fix: make it with `useradd --system --no-create-home --shell \
                 /usr/sbin/nologin {user}`, or name another"
            ),
        };
        ensure!(
            !account.uid.is_root(),
            "engine.user: `{user}` is root\n  fix: name another, or leave it empty to stay who starts the engine"
        );
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let by_name = Account::find("nobody").expect("every system has it");
        let by_number = Account::find(&by_name.uid.to_string()).expect("it has a number");
        assert_eq!(by_name, by_number);
        let unlisted = Account::find("3999999999").expect("a number is enough");
        assert_eq!(unlisted.groups, [Gid::from_raw(3_999_999_999)]);
        let missing = Account::find("no-such-user").expect_err("missing").to_string();
        assert!(missing.contains("useradd"), "{missing}");
        assert!(Account::find("root").is_err() && Account::find("00").is_err());
    }
}
