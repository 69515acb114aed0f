//! Which job comes first.

/// Every so many jobs, one that is not urgent comes first: a flood of suspects does not starve the others.
const FAIR: u32 = 8;

/// How urgent a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Of a flow or a source that is under suspicion already.
    Suspect,
    /// Of any other.
    Ordinary,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn(u32);

impl Turn {
    /// The order in which the next job is looked for.
    pub(super) fn order(&mut self) -> [Priority; 2] {
        self.0 = (self.0 + 1) % FAIR;
        if self.0 == 0 {
            [Priority::Ordinary, Priority::Suspect]
        } else {
            [Priority::Suspect, Priority::Ordinary]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_come_first_but_not_alone() {
        let mut turn = Turn::default();
        let ordinary = (0..80).filter(|_| turn.order()[0] == Priority::Ordinary).count();
        assert_eq!(ordinary, 10);
    }
}
