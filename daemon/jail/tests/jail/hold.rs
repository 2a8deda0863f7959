//! Holds a start at one layer, as long as a test wants, wherever no file can be seen any more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use sandbox_jail::{Layer, Sys};

use crate::server::wait_for;

/// What a process that is held is called.
const NAME: &str = "held";
/// Any limit but the one it has lets it go on.
const GO: u64 = 1 << 40;

/// Holds whoever enters a layer for the n-th time: the warden, or the first process of a jail.
#[derive(Debug)]
pub(crate) struct Hold {
    place: String,
    layer: String,
    left: AtomicU32,
    jails: AtomicU32,
}

/// Jails in the order in which the warden starts them.
pub(crate) const JAILS: [&str; 3] = ["display", "worker", "programs"];

impl Hold {
    /// `PLACE:LAYER:TIME`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split(':').map(str::to_owned);
        let mut next = || parts.next().unwrap();
        Self {
            place: next(),
            layer: next(),
            left: AtomicU32::new(next().parse().unwrap()),
            jails: AtomicU32::new(0),
        }
    }

    /// A jail's first process is number 1 of its own; its copy of this counts from its birth on.
    fn is_at(&self, layer: Layer) -> bool {
        let is_inside = std::process::id() == 1;
        if !is_inside && layer == Layer::Namespaces {
            self.jails.fetch_add(1, Ordering::Relaxed);
        }
        let jails = self.jails.load(Ordering::Relaxed);
        let place = if is_inside {
            JAILS.get(jails.saturating_sub(1) as usize).copied()
        } else {
            Some("warden")
        };
        place == Some(self.place.as_str())
            && layer.name() == self.layer
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl Sys for Hold {
    fn enter(&self, layer: Layer, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if self.is_at(layer) {
            let before = getrlimit(Resource::Rttime);
            rustix::thread::set_name(c"held")?;
            while getrlimit(Resource::Rttime) == before {
                thread::sleep(Duration::from_millis(1));
            }
        }
        step()
    }
}

/// The one of these processes that is held.
pub(crate) fn held(mut among: impl FnMut() -> Vec<u32>) -> u32 {
    let is_held = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it.trim() == NAME)
    };
    wait_for("a process to be held", || among().into_iter().find(is_held))
}

/// Lets it go on, if it still lives.
pub(crate) fn release(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap());
    let limit = Rlimit {
        current: Some(GO),
        maximum: None,
    };
    let _gone = prlimit(pid, Resource::Rttime, limit);
}
