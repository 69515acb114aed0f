//! `portcullis rules list`

use std::io::Write;

use clap::Args;
use filter_score::{Family, RuleInfo, Severity};
use serde::Serialize;

use super::{super::connection::print_json, Connection, Packs};

/// Print the rules in force, one a line
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    packs: Packs,

    /// Only those of this family
    #[arg(long, value_parser = family)]
    family: Option<Family>,

    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,

    /// Only those up to this paranoia level
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=4))]
    paranoia: Option<u8>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    id: u32,
    severity: Severity,
    family: Family,
    paranoia: u8,
    message: &'a str,
    tags: &'a [String],
}

impl List {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let rules = self.packs.load(connection)?;
        let rows: Vec<_> = rules
            .set
            .rules()
            .filter(|rule| self.wants(rule))
            .map(|rule| Row {
                id: rule.id,
                severity: rule.severity,
                family: rule.family,
                paranoia: rule.paranoia,
                message: &rule.message,
                tags: &rule.tags,
            })
            .collect();
        if self.json {
            return print_json(out, &rows);
        }
        for row in rows {
            let severity = format!("{:?}", row.severity).to_lowercase();
            let family = row.family.name();
            writeln!(
                out,
                "{:>8}  {severity:<8}  {family:<10}  {}  {}",
                row.id, row.paranoia, row.message
            )?;
        }
        Ok(())
    }

    fn wants(&self, rule: &RuleInfo) -> bool {
        self.family.is_none_or(|family| rule.family == family)
            && self.tag.as_ref().is_none_or(|tag| rule.tags.contains(tag))
            && self.paranoia.is_none_or(|level| rule.paranoia <= level)
    }
}

fn family(name: &str) -> Result<Family, String> {
    let known = || Family::ALL.iter().copied();
    known().find(|family| family.name() == name).ok_or_else(|| {
        let names: Vec<_> = known().map(Family::name).collect();
        format!("there is no such family; use one of {}", names.join(", "))
    })
}
