//! What the parameters of a service usually hold, learnt from clean requests.
//!
//! ```text
//! field ─► shape (kinds of characters, length) ─► fits its profile? ─ usual ──► the model's score counts less
//!               │                                                   └ unlike ─► a deviation: suspicious at most
//!               └► observations ─ the request was clean ─► profiles
//! ```
//!
//! Each service has a table of its own, keyed by a hash of target and parameter name that no client can know. Requests change it
//! when they have ended and in the order in which they end, so what is said of a request does not depend on its segments.

mod deviation;
mod kind;
mod observation;
mod profile;
mod table;

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

pub use deviation::Deviation;
pub(crate) use observation::Observations;

use observation::Observation;
use profile::{Fit, Shape};
use table::Table;

use crate::decode::percent;
use crate::findings::Place;
use crate::policies::Policies;
use crate::policy::BaselineUse;
use crate::target::Target;

/// Parameters with longer names are not learnt, in bytes.
const NAME_BYTES: usize = 256;

/// How much of the baselines is in use, of all services together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BaselineFill {
    /// Profiles of parameters.
    pub profiles: u64,
    /// Those that have been seen often enough to count.
    pub mature: u64,
    /// Profiles that there is room for.
    pub capacity: u64,
}

/// How a field compares with its profile.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Comparison {
    /// Nothing can be said.
    Open,
    /// All of it is usual.
    Usual,
    /// Something is new.
    Unlike(Deviation),
}

/// The baselines of one scorer's services, by the number of their policy. Memory: 32 bytes a profile.
#[derive(Debug)]
pub(crate) struct Baselines {
    entries: usize,
    hasher: SipHasher13,
    tables: Vec<Option<Table>>,
    /// A name as the target reads it.
    name: Vec<u8>,
}

/// The baseline of the service that a request is for.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    pub(crate) baselines: &'a mut Baselines,
    pub(crate) number: u16,
}

impl Baselines {
    /// Room for about `entries` parameters of each service; 0 for none. `secret` is what no client can guess.
    pub(crate) fn new(entries: usize, secret: &[u8; 16]) -> Self {
        Self {
            entries,
            hasher: SipHasher13::new_with_key(secret),
            tables: Vec::new(),
            name: Vec::with_capacity(if entries == 0 { 0 } else { NAME_BYTES }),
        }
    }

    /// Makes tables for the services that shall have one, keeps those that are there, and gives up all others.
    pub(crate) fn fit(&mut self, policies: &Policies) {
        let numbers = if self.entries == 0 { 0 } else { policies.numbers() };
        self.tables.resize_with(usize::from(numbers), || None);
        for (number, table) in (0..).zip(&mut self.tables) {
            if policies.policy(number).baseline == BaselineUse::Off {
                *table = None;
            } else {
                table.get_or_insert_with(|| Table::new(self.entries));
            }
        }
    }

    pub(crate) fn fill(&self) -> BaselineFill {
        let mut fill = BaselineFill::default();
        for table in self.tables.iter().flatten() {
            let (used, mature) = table.fill();
            fill.profiles += u64::from(used);
            fill.mature += u64::from(mature);
            fill.capacity += table.capacity() as u64;
        }
        fill
    }

    /// A request has ended in which nothing was found, or nothing but deviations. If it is clean, its parameters are learnt.
    /// Else profiles that it was unlike lose a sighting, so that a service that has changed is learnt anew.
    pub(crate) fn learn(&mut self, service: u16, observations: &Observations, clean: bool) {
        let Some(table) = self.table(service) else {
            return;
        };
        for one in observations.iter() {
            if clean {
                table.see(one.hash, one.shape);
            } else if one.unlike {
                table.contradict(one.hash);
            }
        }
    }

    fn table(&mut self, service: u16) -> Option<&mut Table> {
        self.tables.get_mut(usize::from(service))?.as_mut()
    }

    /// Target and name of a parameter in a hash; `None` if the name is too long.
    fn hash(&mut self, place: Place<'_>) -> Option<u64> {
        if place.name.len() > NAME_BYTES {
            return None;
        }
        let encoded = matches!(place.target, Target::Query | Target::Form)
            && percent::decode(place.name, true, &mut self.name).changed;
        let mut hasher = self.hasher;
        hasher.write(if encoded { &self.name } else { place.name });
        hasher.write_u8(place.target as u8);
        Some(hasher.finish())
    }
}

impl Service<'_> {
    /// Compares a field, decoded, with its profile and notes it in the request's observations. Fields that are no parameters
    /// are open. Linear in the field.
    pub(crate) fn compare(
        &mut self,
        place: Place<'_>,
        text: &[u8],
        usage: BaselineUse,
        observations: &mut Observations,
    ) -> Comparison {
        let Self { baselines, number } = self;
        let is_parameter = matches!(
            place.target,
            Target::Query | Target::Form | Target::Cookie | Target::Json
        );
        if !is_parameter || place.name.is_empty() || text.is_empty() {
            return Comparison::Open;
        }
        let Some(hash) = baselines.hash(place) else {
            return Comparison::Open;
        };
        let Some(table) = baselines.table(*number) else {
            return Comparison::Open;
        };
        let shape = Shape::of(text);
        let fit = match usage {
            BaselineUse::On => table.fit(hash, shape),
            BaselineUse::Learn | BaselineUse::Off => Fit::Open,
        };
        let unlike = matches!(fit, Fit::Unlike(_));
        observations.keep(Observation { hash, shape, unlike });
        match fit {
            Fit::Open => Comparison::Open,
            Fit::Usual => Comparison::Usual,
            Fit::Unlike(difference) => Comparison::Unlike(Deviation::new(place, difference)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(baselines: &mut Baselines, target: Target, name: &[u8]) -> Option<u64> {
        baselines.hash(Place { target, name })
    }

    #[test]
    fn parameters_are_known_by_target_name_and_key() {
        let mut one = Baselines::new(64, &[1; 16]);
        let id = hash(&mut one, Target::Query, b"id");
        assert_eq!(
            id,
            hash(&mut one, Target::Query, b"%69d"),
            "as the target reads it"
        );
        assert_ne!(id, hash(&mut one, Target::Form, b"id"));
        assert_ne!(id, hash(&mut one, Target::Query, b"ie"));
        assert_ne!(id, hash(&mut Baselines::new(64, &[2; 16]), Target::Query, b"id"));
        assert_eq!(
            hash(&mut one, Target::Query, &[b'a'; NAME_BYTES + 1]),
            None,
            "longer names are not learnt"
        );
        let before = one.name.capacity();
        assert!(hash(&mut one, Target::Query, &[b'+'; NAME_BYTES]).is_some());
        assert_eq!(one.name.capacity(), before);
    }
}
