//! The life of a session as one table of allowed moves.

/// Declares a state enum together with every allowed move, and derives the table from it.
macro_rules! lifecycle {
    (
        $(#[$meta:meta])* pub enum $name:ident {
            $($(#[$vmeta:meta])* $state:ident = $code:literal),+ $(,)?
        }
        $($(#[$emeta:meta])* $event:ident: $($from:ident)|+ => $to:ident;)+
    ) => {
        $(#[$meta])* pub enum $name { $($(#[$vmeta])* $state),+ }

        impl $name {
            /// Every state, in the order of a normal life.
            pub const ALL: &[Self] = &[$(Self::$state),+];

            /// Every allowed move: (event, from, to).
            pub const MOVES: &[(&str, Self, Self)] =
                &[$($((stringify!($event), Self::$from, Self::$to)),+),+];

            /// The stable name used in the API and the records.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$state => $code),+ }
            }

            $($(#[$emeta])*
            ///
            /// # Errors
            ///
            /// Returns [`IllegalMove`] when the current state does not allow it.
            pub fn $event(&mut self) -> Result<(), IllegalMove> {
                match self {
                    $(Self::$from)|+ => { *self = Self::$to; Ok(()) }
                    #[allow(unreachable_patterns, reason = "an event may be legal everywhere")]
                    from => Err(IllegalMove { event: stringify!($event), from: *from }),
                }
            })+
        }
    };
}

/// An event arrived in a state that does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not allowed while {from:?}")]
pub struct IllegalMove {
    /// The event's name.
    pub event: &'static str,
    /// The state it met.
    pub from: Lifecycle,
}

lifecycle! {
    /// Where a session is in its life.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Lifecycle {
        /// Admitted; the warden builds the jails.
        Starting = "starting",
        /// The desktop runs; nobody has been attached yet.
        Ready = "ready",
        /// Viewers are attached; one of them has control.
        Attached = "attached",
        /// The desktop runs, nobody watches.
        Detached = "detached",
        /// Over. What it used is returned, or is being returned by the warden.
        Ended = "ended",
    }
    /// The warden reported that the desktop runs.
    ready: Starting => Ready;
    /// The first viewer came.
    attach: Ready | Detached => Attached;
    /// The last viewer left.
    detach: Attached => Detached;
    /// The owner asked, a timeout ran out, or a part of the desktop ended.
    end: Starting | Ready | Attached | Detached => Ended;
}

impl Lifecycle {
    /// Not over yet.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Starting | Self::Ready | Self::Attached | Self::Detached => true,
            Self::Ended => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_that_the_documents_draw() {
        let drawn: Vec<String> = Lifecycle::MOVES
            .iter()
            .map(|(event, from, to)| format!("{event}: {} -> {}", from.code(), to.code()))
            .collect();
        assert_eq!(
            drawn,
            [
                "ready: starting -> ready",
                "attach: ready -> attached",
                "attach: detached -> attached",
                "detach: attached -> detached",
                "end: starting -> ended",
                "end: ready -> ended",
                "end: attached -> ended",
                "end: detached -> ended",
            ]
        );
    }

    #[test]
    fn every_live_state_can_end_and_the_end_is_final() {
        for &start in Lifecycle::ALL {
            let mut state = start;
            assert_eq!(state.end().is_ok(), start.is_live(), "{start:?}");
            assert_eq!(state, Lifecycle::Ended);
            assert!(state.attach().is_err() && state.detach().is_err() && state.ready().is_err());
            assert_eq!(state, Lifecycle::Ended);
        }
    }
}
