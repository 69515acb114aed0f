//! The flow table against a list.

use std::collections::HashSet;

use filter_user::flow::table::{ClassLimits, InsertError, Removal, TableLimits};
use filter_user::flow::{FlowHandle, FlowTable, TimeoutClass};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, TimeoutClass),
    Touch(u8, TimeoutClass),
    Remove(u8),
    Expire(usize),
    Wait(u64),
}

struct Entry {
    key: u8,
    class: TimeoutClass,
    last: u64,
    handle: FlowHandle,
}

/// Entries by last activity, the longest idle first.
struct Model {
    entries: Vec<Entry>,
    limits: TableLimits,
}

impl Model {
    fn due(&self, class: TimeoutClass, now: u64) -> Option<usize> {
        let due =
            |entry: &Entry| entry.last + self.limits.class(class).timeout + self.limits.resolution <= now;
        self.entries
            .iter()
            .position(|entry| entry.class == class)
            .filter(|&at| due(&self.entries[at]))
    }

    fn victim(&self, now: u64) -> Option<(usize, Removal)> {
        let due = TimeoutClass::ALL
            .into_iter()
            .find_map(|class| self.due(class, now));
        let mut evictable = TimeoutClass::ALL
            .into_iter()
            .filter(|&class| self.limits.class(class).evictable);
        let mut evicted = || evictable.find_map(|class| self.entries.iter().position(|e| e.class == class));
        due.map(|at| (at, Removal::Expired))
            .or_else(|| evicted().map(|at| (at, Removal::Evicted)))
    }

    fn touch(&mut self, key: u8, class: TimeoutClass, now: u64) {
        let Some(at) = self.entries.iter().position(|entry| entry.key == key) else {
            return;
        };
        if self.entries[at].class != class || now - self.entries[at].last >= self.limits.resolution {
            let handle = self.entries.remove(at).handle;
            self.entries.push(Entry {
                key,
                class,
                last: now,
                handle,
            });
        }
    }
}

fn class() -> impl Strategy<Value = TimeoutClass> {
    prop::sample::select(TimeoutClass::ALL.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..24, class()).prop_map(|(key, class)| Step::Insert(key, class)),
        4 => (0_u8..24, class()).prop_map(|(key, class)| Step::Touch(key, class)),
        1 => (0_u8..24).prop_map(Step::Remove),
        1 => (0_usize..4).prop_map(Step::Expire),
        2 => (0_u64..30).prop_map(Step::Wait),
    ]
}

/// All keys collide: the index must still find, and lose, the right ones.
#[derive(Clone, Default)]
struct Colliding(u64);

impl std::hash::Hasher for Colliding {
    fn finish(&self) -> u64 {
        self.0 & 1
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 += u64::from(bytes[0]);
    }
}

fn run<S: std::hash::BuildHasher>(mut table: FlowTable<u8, u32, S>, limits: TableLimits, steps: Vec<Step>) {
    let mut model = Model {
        entries: Vec::new(),
        limits,
    };
    let mut stale: HashSet<FlowHandle> = HashSet::new();
    let (mut now, mut serial) = (100, 0);
    for step in steps {
        match step {
            Step::Insert(key, class) => {
                serial += 1;
                let present = model.entries.iter().position(|entry| entry.key == key);
                let mut removed = Vec::new();
                let result = table.insert(
                    key,
                    class,
                    now,
                    |_| serial,
                    |key, _, why| removed.push((key, why)),
                );
                if let Some(at) = present {
                    assert_eq!(result, Err(InsertError::Exists(model.entries[at].handle)));
                    assert!(removed.is_empty());
                    continue;
                }
                let full = model.entries.len() == limits.capacity as usize;
                let victim = if full { model.victim(now) } else { None };
                let expected: Vec<_> = victim
                    .map(|(at, why)| {
                        let entry = model.entries.remove(at);
                        stale.insert(entry.handle);
                        (entry.key, why)
                    })
                    .into_iter()
                    .collect();
                assert_eq!(removed, expected);
                match result {
                    Ok(handle) => model.entries.push(Entry {
                        key,
                        class,
                        last: now,
                        handle,
                    }),
                    Err(error) => assert!(error == InsertError::Full && full && victim.is_none()),
                }
            }
            Step::Touch(key, class) => {
                if let Some(handle) = table.find(&key) {
                    table.touch(handle, class, now);
                }
                model.touch(key, class, now);
            }
            Step::Remove(key) => {
                let at = model.entries.iter().position(|entry| entry.key == key);
                let handle = at.map(|at| model.entries.remove(at).handle);
                assert_eq!(table.find(&key), handle);
                if let Some(handle) = handle {
                    assert_eq!(table.remove(handle).map(|(key, _)| key), Some(key));
                    stale.insert(handle);
                }
            }
            Step::Expire(max) => {
                let mut expected = Vec::new();
                for class in TimeoutClass::ALL {
                    while expected.len() < max
                        && let Some(at) = model.due(class, now)
                    {
                        let entry = model.entries.remove(at);
                        stale.insert(entry.handle);
                        expected.push(entry.key);
                    }
                }
                let mut removed = Vec::new();
                while removed.len() < max
                    && let Some((handle, key, _, _)) = table.due_entry(now)
                {
                    assert!(table.remove(handle).is_some());
                    removed.push(key);
                }
                assert_eq!(removed, expected);
            }
            Step::Wait(time) => now += time,
        }
        check(&table, &model, &stale);
    }
    let mut drained = 0;
    table.drain(|_, _| drained += 1);
    assert_eq!(drained, model.entries.len());
    assert!(table.is_empty() && table.next_expiry().is_none());
}

fn check<S: std::hash::BuildHasher>(
    table: &FlowTable<u8, u32, S>,
    model: &Model,
    stale: &HashSet<FlowHandle>,
) {
    assert_eq!(table.len(), model.entries.len());
    for class in TimeoutClass::ALL {
        let expected = model.entries.iter().filter(|entry| entry.class == class).count();
        assert_eq!(table.len_of(class), expected);
    }
    for key in 0..24 {
        let expected = model
            .entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| entry.handle);
        assert_eq!(table.find(&key), expected);
    }
    for entry in &model.entries {
        assert!(table.get(entry.handle).is_some());
        let seen = table
            .iter_from(entry.handle.slot())
            .next()
            .expect("the entry itself comes first");
        assert_eq!((*seen.1, seen.3, seen.4), (entry.key, entry.class, entry.last));
    }
    assert!(
        stale.iter().all(|&handle| table.get(handle).is_none()),
        "a stale handle works"
    );
    assert_eq!(table.iter_from(0).count(), table.len());
    let expiry =
        |entry: &Entry| entry.last + model.limits.class(entry.class).timeout + model.limits.resolution;
    assert_eq!(table.next_expiry(), model.entries.iter().map(expiry).min());
}

proptest! {
    #[test]
    fn behaves_as_a_list_by_last_activity(
        steps in prop::collection::vec(step(), 1..120),
        capacity in 0_u32..12,
        resolution in 0_u64..6,
        evictable in any::<[bool; 4]>(),
        colliding in any::<bool>(),
    ) {
        let class = |timeout, evictable| ClassLimits { timeout, evictable };
        let limits = TableLimits {
            capacity,
            resolution,
            half_open: class(20, evictable[0]),
            closing: class(10, evictable[1]),
            requesting: class(30, evictable[3]),
            established: class(60, evictable[2]),
        };
        if colliding {
            let hasher = std::hash::BuildHasherDefault::<Colliding>::default();
            run(FlowTable::with_hasher(limits, hasher), limits, steps);
        } else {
            run(FlowTable::new(limits), limits, steps);
        }
    }
}
