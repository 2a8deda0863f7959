//! Input through a lossy path: every event once and in order, soon, and nothing left pressed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sandbox_protocol::stream::input::{Input, Receiver, Step};
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::wire::input::{Event, Packet};

use crate::chance::Chance;
use crate::link::{Link, Loss};
use crate::{epoch, is_long, ms, quantile, seeds};

const ONE_WAY: Duration = ms(20);

enum Carried {
    Packet(Vec<u8>),
    Ack { stream: u64, seq: u32 },
}

struct World {
    now: Instant,
    sender: InputSender,
    receiver: Receiver,
    up: Link,
    down: Link,
    carried: BTreeMap<(Instant, u64), Carried>,
    count: u64,
    /// Keys and buttons that are on their way, each with how far the pointer is moved before it.
    pressed: VecDeque<(Instant, Step, (i64, i64))>,
    /// How far the pointer was moved by steps, here and there.
    moved: (i64, i64),
    came: (i64, i64),
    took: Vec<Duration>,
    /// Keys that went up on the desktop.
    released: usize,
    seed: u64,
}

impl World {
    fn new(seed: u64, loss: Loss) -> Self {
        let now = epoch();
        let mut sender = InputSender::new(seed + 1);
        sender.handle_round_trip(2 * ONE_WAY);
        let link = |seed| {
            let mut link = Link::new(seed, ONE_WAY);
            link.loss = loss;
            link
        };
        Self {
            now,
            sender,
            receiver: Receiver::default(),
            up: link(seed ^ 0x0b),
            down: link(seed ^ 0xd0),
            carried: BTreeMap::new(),
            count: 0,
            pressed: VecDeque::new(),
            moved: (0, 0),
            came: (0, 0),
            took: Vec::new(),
            released: 0,
            seed,
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        loop {
            let arrival = self.carried.keys().next().map(|(at, _)| *at);
            let deadlines = [self.sender.poll_timeout(), self.receiver.poll_timeout()];
            let deadlines = deadlines.into_iter().flatten().map(|it| it.at);
            let next = deadlines.chain(arrival).min().filter(|it| *it <= end);
            let Some(next) = next else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(it) = self
                .carried
                .first_entry()
                .filter(|it| it.key().0 <= self.now)
            {
                let carried = it.remove();
                self.arrive(carried);
            }
            self.receiver.handle_timeout(self.now);
            self.take_steps();
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        let mut out = Vec::new();
        while self.sender.poll_packet(self.now, &mut out).is_some() {
            for at in self.up.carry(self.now, out.len()).into_iter().flatten() {
                self.put(at, Carried::Packet(out.clone()));
            }
        }
    }

    fn put(&mut self, at: Instant, carried: Carried) {
        self.count += 1;
        self.carried.insert((at, self.count), carried);
    }

    fn arrive(&mut self, carried: Carried) {
        match carried {
            Carried::Ack { stream, seq } => self.sender.handle_ack(self.now, stream, seq),
            Carried::Packet(bytes) => {
                let packet = Packet::decode(&bytes).unwrap();
                let input = Input {
                    stream: packet.stream,
                    first_seq: packet.first_seq,
                    events: &packet.events,
                    pointer: packet.pointer,
                    held: packet.held.as_deref(),
                };
                let ack = self.receiver.handle_input(&input, self.now);
                self.take_steps();
                let Some(ack) = ack else {
                    return;
                };
                for at in self.down.carry(self.now, 13).into_iter().flatten() {
                    let (stream, seq) = (ack.stream, ack.seq);
                    self.put(at, Carried::Ack { stream, seq });
                }
            }
        }
    }

    /// Holds what is done on the desktop against what was pressed.
    fn take_steps(&mut self) {
        while let Some(step) = self.receiver.poll_step() {
            match step {
                Step::Place { .. } => continue,
                Step::MoveBy { dx, dy } => {
                    travel(&mut self.came, dx, dy);
                    continue;
                }
                Step::Key { .. } | Step::Button { .. } | Step::Wheel { .. } => (),
            }
            let (at, pressed, moved) = self.pressed.pop_front().expect("something was pressed");
            assert_eq!((step, self.came), (pressed, moved), "seed {}", self.seed);
            self.took.push(self.now - at);
            self.released += usize::from(matches!(step, Step::Key { is_down: false, .. }));
        }
    }

    fn press(&mut self, event: Event, step: Step) {
        self.sender.handle_event(self.now, event);
        self.pressed.push_back((self.now, step, self.moved));
    }

    fn move_by(&mut self, dx: i16, dy: i16) {
        travel(&mut self.moved, dx, dy);
        let event = Event::MoveBy { dx, dy };
        self.sender.handle_event(self.now, event);
    }

    fn key(&mut self, code: u16, is_down: bool) {
        let keysym = u32::from(code);
        let event = Event::Key {
            code,
            keysym,
            is_down,
        };
        let step = Step::Key {
            code,
            keysym,
            is_down,
        };
        self.press(event, step);
    }

    fn wheel(&mut self, dy: i16) {
        let event = Event::Wheel {
            dx: 0,
            dy,
            x: 3,
            y: 4,
        };
        self.press(event, Step::Wheel { dx: 0, dy });
    }
}

fn travel((x, y): &mut (i64, i64), dx: i16, dy: i16) {
    *x += i64::from(dx);
    *y += i64::from(dy);
}

/// So many events: typing with overlapping keys, wheel steps, moves to places and by steps.
fn use_desktop(world: &mut World, chance: &mut Chance, events: usize) {
    let mut held: Vec<u16> = Vec::new();
    for _ in 0..events {
        match chance.below(10) {
            0 => world.wheel(120),
            1 => world
                .sender
                .handle_move(world.now, chance.below(1_920) as u16, 5),
            2 => {
                for _ in 0..chance.below(30) {
                    world.move_by(chance.below(9) as i16 - 4, chance.below(7) as i16 - 2);
                    world.run(Duration::from_micros(chance.below(3_000)));
                }
            }
            _ if held.len() > 3 || (!held.is_empty() && chance.below(2) == 0) => {
                let code = held.remove(chance.below(held.len() as u64) as usize);
                world.key(code, false);
            }
            _ => {
                let code = 1 + chance.below(100) as u16;
                if !held.contains(&code) {
                    held.push(code);
                    world.key(code, true);
                }
            }
        }
        world.run(Duration::from_micros(chance.below(120_000)));
    }
    for code in held {
        world.key(code, false);
    }
    world.run(ms(2_000));
}

#[track_caller]
fn assert_all_done(world: &World) {
    assert!(world.pressed.is_empty(), "seed {}", world.seed);
    assert_eq!(world.came, world.moved, "seed {}", world.seed);
    assert_eq!(world.sender.waiting(), 0, "seed {}", world.seed);
    // Nothing is held: nobody has to confirm it.
    assert_eq!(world.receiver.poll_timeout(), None, "seed {}", world.seed);
}

#[test]
fn two_percent_of_loss_cost_ten_milliseconds() {
    let events = if is_long() { 30_000 } else { 4_000 };
    for seed in seeds(2) {
        let mut world = World::new(seed, Loss::Alone(0.02));
        use_desktop(&mut world, &mut Chance::new(seed), events);
        assert_all_done(&world);
        let p99 = quantile(&world.took, 0.99);
        assert!(p99 <= ONE_WAY + ms(10), "seed {seed}: {p99:?}");
    }
}

#[test]
fn no_key_stays_down_however_lossy_the_path() {
    // A million releases where tests may take their time.
    let events = if is_long() { 29_000 } else { 1_100 };
    let mut released = 0;
    for seed in seeds(5) {
        let mut chance = Chance::new(seed);
        let share = chance.below(40) as f64 / 100.0;
        let loss = Loss::Runs { share, mean: 4.0 };
        let mut world = World::new(seed, loss);
        for link in [&mut world.up, &mut world.down] {
            link.reordered = 0.3;
            link.reordering = ms(60);
            link.doubled = 0.2;
        }
        use_desktop(&mut world, &mut chance, events);
        // The last ones may be lost for long, but not for good.
        world.up.loss = Loss::None;
        world.down.loss = Loss::None;
        world.run(ms(1_000));
        assert_all_done(&world);
        released += world.released;
    }
    assert!(
        released >= if is_long() { 1_000_000 } else { 1_800 },
        "{released}"
    );
}

#[test]
fn what_is_typed_into_an_outage_arrives_after_it() {
    for seed in seeds(3) {
        let mut chance = Chance::new(seed);
        let mut world = World::new(seed, Loss::None);
        use_desktop(&mut world, &mut chance, 20);
        let dead_until = Some(world.now + ms(5_000));
        world.up.dead_until = dead_until;
        world.down.dead_until = dead_until;
        use_desktop(&mut world, &mut chance, 60);
        world.run(ms(5_000));
        assert_all_done(&world);
        let worst = quantile(&world.took, 1.0);
        assert!(worst <= ms(5_250) + 5 * ONE_WAY, "seed {seed}: {worst:?}");
    }
}
