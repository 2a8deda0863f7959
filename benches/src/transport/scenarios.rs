//! What is measured: the worlds, what happens in them, and what is made of what both ends saw.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use sandbox_quic::{Fingerprint, Identity, ServerSetup};

use crate::link::{Link, Loss};
use crate::relay::{Paths, Relay};
use crate::server::{Served, Server};
use crate::shared::{Content, Shared, lock};
use crate::viewer::{Seen, Viewer};
use crate::{Error, clock, ms};

/// Half of a round trip.
const ONE_WAY: Duration = ms(20);
/// An update of motion, and a first picture.
const UPDATE_BYTES: usize = 20_000;
const FIRST_BYTES: usize = 150_000;
/// What comes before counts for nothing: the link is being learnt.
const LEARNING: Duration = ms(1_000);
/// An update that is not there after so long is missing.
const MISSING: Duration = ms(100);
/// Waits in the bottleneck that are normal, and the time over which their p95 is taken.
const NORMAL_WAIT: Duration = ms(20);
const NORMAL_TIME: Duration = ms(500);

/// A result: samples, in milliseconds where they are times.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) samples: Vec<f64>,
}

type Scenario = fn(u64) -> Result<Vec<Figure>, Error>;

/// All of them, by name.
pub(crate) const SCENARIOS: [(&str, Scenario); 7] = [
    ("floor", floor),
    ("alone", alone),
    ("runs", runs),
    ("first", first),
    ("bottleneck", bottleneck),
    ("narrowing", narrowing),
    ("address", address),
];

/// Without loss: what the machine and the relay themselves cost.
fn floor(seed: u64) -> Result<Vec<Figure>, Error> {
    lossy("no loss", seed, Loss::None, ms(8_000))
}

fn alone(seed: u64) -> Result<Vec<Figure>, Error> {
    lossy("2 % alone", seed, Loss::Alone(0.02), ms(20_000))
}

fn runs(seed: u64) -> Result<Vec<Figure>, Error> {
    let loss = Loss::Runs {
        share: 0.02,
        mean: 4.0,
    };
    lossy("2 % in runs of 4", seed, loss, ms(20_000))
}

/// Motion and typing at once, both directions losing alike.
fn lossy(name: &str, seed: u64, loss: Loss, time: Duration) -> Result<Vec<Figure>, Error> {
    let paths = paths(seed, |link| link.loss = loss);
    let ran = run(seed, paths, Content::Fixed(UPDATE_BYTES), |world| {
        world.shared.set_typing(true);
        clock::sleep(LEARNING + time);
        world.shared.set_typing(false);
    })?;
    let from = ran.began() + LEARNING;
    let took = ran.took(from);
    let made = ran.served.made.iter().filter(|it| **it >= from).count();
    let soon = took.iter().filter(|it| **it <= MISSING).count();
    let late = &lock(&ran.paths).late;
    let skipped = ran.served.skipped as f64;
    let unheard = ran.shared.presses().len() as f64;
    Ok(vec![
        times(format!("{name}: update complete"), &took),
        one(
            format!("{name}: updates missing at 100 ms"),
            (made - soon) as f64,
        ),
        one(format!("{name}: updates held back"), skipped),
        times(format!("{name}: key"), &ran.served.keys),
        one(format!("{name}: keys that never came"), unheard),
        times(format!("{name}: the relay is late by"), late),
    ])
}

/// A first picture, on a new connection each time.
fn first(seed: u64) -> Result<Vec<Figure>, Error> {
    let mut took = Vec::new();
    for round in 0..20 {
        let mut paths = paths(seed + round, |_| ());
        paths.down.rate = Some(100_000_000);
        let content = Content::First(FIRST_BYTES);
        let ran = run(seed, paths, content, |_| clock::sleep(ms(100)))?;
        took.extend(ran.took(ran.shared.start));
    }
    let name = "first picture of 150 KB at 100 Mbit/s: complete".to_owned();
    Ok(vec![times(name, &took)])
}

/// Updates that fill what the link takes.
fn bottleneck(seed: u64) -> Result<Vec<Figure>, Error> {
    let mut paths = paths(seed, |_| ());
    paths.down.rate = Some(20_000_000);
    let ran = run(seed, paths, Content::Filling, |_| clock::sleep(ms(12_000)))?;
    let from = ran.began() + ms(2_000);
    let paths = lock(&ran.paths);
    let waits = paths.down.waits(from..clock::now());
    let took = ran.took(from);
    Ok(vec![
        times("20 Mbit/s: wait in the queue".to_owned(), &waits),
        times("20 Mbit/s: update complete".to_owned(), &took),
    ])
}

/// A link that narrows and widens by turns.
fn narrowing(seed: u64) -> Result<Vec<Figure>, Error> {
    let mut paths = paths(seed, |_| ());
    paths.down.rate = Some(20_000_000);
    let mut steps = Vec::new();
    let ran = run(seed, paths, Content::Filling, |world| {
        for _ in 0..6 {
            clock::sleep(ms(3_000));
            steps.push(clock::now());
            lock(&world.paths).down.rate = Some(5_000_000);
            clock::sleep(ms(2_000));
            lock(&world.paths).down.rate = Some(20_000_000);
        }
    })?;
    let paths = lock(&ran.paths);
    let back: Vec<Duration> = steps
        .iter()
        .map(|it| back_to_normal(&paths.down, *it))
        .collect();
    let name = "20 to 5 Mbit/s: back to normal after".to_owned();
    Ok(vec![times(name, &back)])
}

/// How long after a step the waits are normal from then on.
fn back_to_normal(link: &Link, step: Instant) -> Duration {
    let is_normal = |after: &Duration| {
        let mut waits = link.waits(step + *after..step + *after + NORMAL_TIME);
        waits.sort();
        let at = waits.len() * 95 / 100;
        waits.get(at).is_some_and(|it| *it <= NORMAL_WAIT)
    };
    let after = (0..150).map(|it| ms(10) * it).find(is_normal);
    after.unwrap_or(ms(1_500))
}

/// The viewer takes another address; the translator gives it one without a word.
fn address(seed: u64) -> Result<Vec<Figure>, Error> {
    let mut paths = paths(seed, |_| ());
    paths.down.rate = Some(50_000_000);
    let (mut moved, mut forgotten) = (Vec::new(), Vec::new());
    let ran = run(seed, paths, Content::Fixed(UPDATE_BYTES), |world| {
        clock::sleep(LEARNING);
        for _ in 0..10 {
            moved.push(clock::now());
            world.shared.move_viewer();
            clock::sleep(ms(900));
            forgotten.push(clock::now());
            lock(&world.paths).forgets = true;
            clock::sleep(ms(900));
        }
    })?;
    let silence = |from: &Instant| ran.silence(*from, ms(900));
    let moved: Vec<Duration> = moved.iter().map(silence).collect();
    let forgotten: Vec<Duration> = forgotten.iter().map(silence).collect();
    Ok(vec![
        times("another address: without a picture for".to_owned(), &moved),
        times(
            "another address by the translator: without a picture for".to_owned(),
            &forgotten,
        ),
    ])
}

fn paths(seed: u64, set: impl Fn(&mut Link)) -> Paths {
    let mut down = Link::new(seed ^ 0xd0, ONE_WAY);
    let mut up = Link::new(seed ^ 0x0b, ONE_WAY);
    set(&mut down);
    set(&mut up);
    Paths {
        down,
        up,
        forgets: false,
        late: Vec::new(),
    }
}

fn times(name: String, samples: &[Duration]) -> Figure {
    let samples = samples.iter().map(|it| it.as_secs_f64() * 1e3).collect();
    Figure { name, samples }
}

fn one(name: String, value: f64) -> Figure {
    Figure {
        name,
        samples: vec![value],
    }
}

/// A world while it runs.
struct World {
    shared: Arc<Shared>,
    paths: Arc<Mutex<Paths>>,
}

/// A world that is over.
struct Ran {
    shared: Arc<Shared>,
    paths: Arc<Mutex<Paths>>,
    served: Served,
    seen: Seen,
}

impl Ran {
    /// When the first update was handed over.
    fn began(&self) -> Instant {
        self.served
            .made
            .first()
            .copied()
            .unwrap_or(self.shared.start)
    }

    /// How long updates took that were handed over from `from` on.
    fn took(&self, from: Instant) -> Vec<Duration> {
        let fresh = self.seen.updates.iter().filter(|it| it.made >= from);
        fresh
            .map(|it| it.at.saturating_duration_since(it.made))
            .collect()
    }

    /// The longest time without an update that ended within `time` after `from`.
    fn silence(&self, from: Instant, time: Duration) -> Duration {
        let times = self.seen.updates.iter().map(|it| it.at);
        let pairs = times.clone().zip(times.skip(1));
        let within = pairs.filter(|(_, at)| (from..from + time).contains(at));
        within.map(|(before, at)| at - before).max().unwrap_or(time)
    }
}

/// Runs a world while `act` lasts, and until what is under way has come.
fn run(seed: u64, paths: Paths, content: Content, act: impl FnOnce(&World)) -> Result<Ran, Error> {
    let shared = Arc::new(Shared::new(content));
    let paths = Arc::new(Mutex::new(paths));
    let setup = setup()?;
    let server = Server::new(&shared, &setup, seed)?;
    let relay = Relay::new(server.address()?, Arc::clone(&paths))?;
    let known = Fingerprint::of(&setup.identity.certificate)?;
    let viewer = Viewer::new(&shared, relay.address()?, known, seed)?;
    let world = World {
        shared: Arc::clone(&shared),
        paths: Arc::clone(&paths),
    };
    let (served, seen) = std::thread::scope(|scope| {
        let relay = scope.spawn(|| relay.run(&shared));
        let server = scope.spawn(|| server.run());
        let viewer = scope.spawn(|| viewer.run());
        // The handshake.
        clock::sleep(6 * ONE_WAY);
        act(&world);
        shared.show(Content::Still);
        clock::sleep(ms(500));
        shared.end();
        joined(relay.join())?.map_err(Error::Io)?;
        Ok::<_, Error>((joined(server.join())??, joined(viewer.join())??))
    })?;
    Ok(Ran {
        shared,
        paths,
        served,
        seen,
    })
}

fn joined<T>(result: std::thread::Result<T>) -> Result<T, Error> {
    result.map_err(|_| Error::Broken("a thread has panicked".to_owned()))
}

fn setup() -> Result<ServerSetup, Error> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::default().self_signed(&key)?;
    let broken = |it: &str| Error::Broken(it.to_owned());
    Ok(ServerSetup {
        identity: Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der().try_into().map_err(broken)?,
        },
        secret: [7; 32],
    })
}
