//! What a request in progress shows of its service's parameters, until it is known whether it is clean.

use super::profile::Shape;

/// Parameters of one request that are remembered; further ones are compared, but not learnt.
pub(super) const MAX_OBSERVATIONS: usize = 32;

/// One parameter of the request, however often it occurs: a request counts once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) hash: u64,
    pub(super) shape: Shape,
    /// It was unlike its profile.
    pub(super) unlike: bool,
}

/// Its memory is taken when it is made: 640 bytes, and none where no policy has a baseline.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    list: Vec<Observation>,
    room: usize,
}

impl Observations {
    /// `asked`: whether anybody will learn from them.
    pub(crate) fn new(asked: bool) -> Self {
        let room = if asked { MAX_OBSERVATIONS } else { 0 };
        Self {
            list: Vec::with_capacity(room),
            room,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn keep(&mut self, one: Observation) {
        if let Some(known) = self.list.iter_mut().find(|known| known.hash == one.hash) {
            known.shape = known.shape.or(one.shape);
            known.unlike |= one.unlike;
        } else if self.list.len() < self.room {
            self.list.push(one);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Observation> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(hash: u64, text: &[u8]) -> Observation {
        Observation {
            hash,
            shape: Shape::of(text),
            unlike: false,
        }
    }

    #[test]
    fn a_parameter_counts_once_and_nothing_grows() {
        let mut observations = Observations::new(true);
        observations.keep(one(1, b"17"));
        observations.keep(one(1, b"a longer one"));
        let kept: Vec<_> = observations.iter().map(|one| one.shape).collect();
        assert_eq!(kept, [Shape::of(b"17").or(Shape::of(b"a longer one"))]);
        let capacity = observations.list.capacity();
        (0..1000).for_each(|hash| observations.keep(one(hash, b"1")));
        assert_eq!(observations.iter().count(), MAX_OBSERVATIONS);
        assert_eq!(observations.list.capacity(), capacity);
        observations.clear();
        assert_eq!(observations.iter().count(), 0);
        let mut none = Observations::new(false);
        none.keep(one(1, b"1"));
        assert_eq!(none.iter().count(), 0);
    }
}
