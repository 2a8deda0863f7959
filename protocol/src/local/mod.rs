//! The wires inside one node: warden, daemon, worker. Each opens with its version.

pub mod frame;
pub mod warden;
pub mod worker;

/// Version of these wires. Warden and workers are one program and speak one version; a daemon may
/// have been upgraded since they started, and speaks the version before as well.
///
/// 3: [`MoveBy`](crate::wire::input::Event::MoveBy).
pub const VERSION: u16 = 3;

const BEFORE: u16 = VERSION - 1;

/// A version that a daemon speaks: its own, or the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u16);

impl Version {
    /// Ours.
    pub const OWN: Self = Self(VERSION);

    /// The version of this number, where we speak it.
    pub const fn known(number: u16) -> Option<Self> {
        match number {
            VERSION | BEFORE => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number, for the greeting.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether its workers move the pointer by steps.
    pub const fn has_pointer_steps(self) -> bool {
        self.0 >= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_version_and_the_one_before_are_spoken_and_no_other() {
        assert_eq!(Version::known(VERSION), Some(Version::OWN));
        let before = Version::known(BEFORE).unwrap();
        assert_eq!(before.number(), BEFORE);
        for number in [0, BEFORE - 1, VERSION + 1, u16::MAX] {
            assert_eq!(Version::known(number), None, "{number}");
        }
    }

    #[test]
    fn steps_of_the_pointer_came_with_version_3() {
        assert!(Version(3).has_pointer_steps());
        assert!(!Version(2).has_pointer_steps());
    }
}
