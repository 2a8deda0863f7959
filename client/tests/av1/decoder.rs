//! The decoder and its process: pictures, damage, deaths and lies.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sandbox_client::av1::{Av1Error, Decoder};
use sandbox_hw::Target;
use sandbox_protocol::Rect;
use sandbox_protocol::limits::DESKTOP_SIZE_MAX;

use crate::stream::{KEYS, SIZE, largest, units};
use crate::{Canvas, client, pictures, signal};

const WHOLE: [Rect; 1] = [Rect::whole(SIZE)];

/// Decodes a unit and compares what it paints.
#[track_caller]
fn check_shows(decoder: &mut Decoder, at: usize) {
    let mut canvas = Canvas::new();
    let is_keyframe = decoder
        .decode(&units()[at], &WHOLE, &mut canvas.target())
        .unwrap();
    assert_eq!(is_keyframe, KEYS.contains(&at));
    assert!(canvas.pixels() == pictures()[at], "unit {at}");
}

/// Why a unit was not decoded.
fn error(decoder: &mut Decoder, unit: &[u8]) -> Av1Error {
    let mut canvas = Canvas::new();
    let decoded = decoder.decode(unit, &WHOLE, &mut canvas.target());
    decoded.unwrap_err()
}

#[track_caller]
fn check_fails(decoder: &mut Decoder, unit: &[u8], words: &str) {
    let error = error(decoder, unit);
    assert!(matches!(error, Av1Error::Failed(_)), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn each_unit_gives_its_picture_from_the_other_process() {
    let mut decoder = Decoder::of(client());
    for at in 0..units().len() {
        check_shows(&mut decoder, at);
    }
}

#[test]
fn the_rectangles_are_painted_and_nothing_beside_them() {
    let mut decoder = Decoder::of(client());
    let rects = [
        Rect::between(2, 4, 30, 44),
        Rect::between(600, 300, 640, 400),
    ];
    let mut canvas = Canvas::new();
    decoder
        .decode(&units()[0], &rects, &mut canvas.target())
        .unwrap();
    let (painted, whole) = (canvas.pixels(), &pictures()[0]);
    for (at, pixel) in painted.iter().enumerate() {
        let (x, y) = ((at % 640) as u16, (at / 640) as u16);
        let is_in = |it: &Rect| (it.x..it.right()).contains(&x) && (it.y..it.bottom()).contains(&y);
        let expected = if rects.iter().any(is_in) {
            whole[at]
        } else {
            0
        };
        assert_eq!(*pixel, expected, "at {x}, {y}");
    }
    // The server may not ask for half a chroma sample, and the process is not to blame.
    let mut canvas = Canvas::new();
    for rects in [&[Rect::between(1, 0, 3, 2)][..], &[]] {
        let refused = decoder.decode(&units()[1], rects, &mut canvas.target());
        assert!(matches!(refused, Err(Av1Error::Paint(_))));
    }
    check_shows(&mut decoder, 1);
}

#[test]
fn the_largest_desktop_fits_the_memory_of_the_process() {
    let mut decoder = Decoder::of(client());
    let whole = Rect::whole(DESKTOP_SIZE_MAX);
    let mut pixels = vec![0; 4 * whole.area()];
    for unit in largest() {
        let mut target = Target {
            pixels: &mut pixels,
            stride: 4 * usize::from(whole.width),
            size: DESKTOP_SIZE_MAX,
        };
        decoder.decode(&unit, &[whole], &mut target).unwrap();
    }
    assert_ne!(pixels[0], 0);
}

#[test]
fn no_process_is_started_before_it_is_wanted_and_none_is_left_behind() {
    let mut decoder = Decoder::of(client());
    assert_eq!(decoder.process_id(), None);
    decoder.start();
    let process = decoder.process_id().unwrap();
    decoder.start();
    assert_eq!(decoder.process_id(), Some(process));
    check_shows(&mut decoder, 0);
    decoder.stop();
    assert_eq!(decoder.process_id(), None);
    assert!(!PathBuf::from(format!("/proc/{process}")).exists());
}

/// Changes up to four bytes of a unit, behind its delimiter.
fn damaged(unit: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut chance = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut unit = unit.to_vec();
    for _ in 0..=chance(4) {
        let at = 2 + chance(unit.len() - 2);
        unit[at] ^= 1 << chance(8);
    }
    if chance(8) == 0 {
        unit.truncate(2 + chance(unit.len() - 2));
    }
    unit
}

#[test]
fn whatever_is_damaged_the_client_survives_and_the_next_key_frame_shows_the_right_picture() {
    let (mut failures, mut deaths) = (0, 0);
    for (at, unit) in units().iter().enumerate() {
        for seed in 0..3 {
            let mut decoder = Decoder::of(client());
            let key = KEYS.into_iter().rfind(|it| *it <= at).unwrap();
            (key..at).for_each(|it| check_shows(&mut decoder, it));
            let unit = damaged(unit, (at * 100 + seed) as u64);
            let mut canvas = Canvas::new();
            match decoder.decode(&unit, &WHOLE, &mut canvas.target()) {
                // Damage may be a picture, if not the right one; what follows may fail too.
                Ok(_) => {
                    if let Some(next) = units().get(at + 1) {
                        let _either = decoder.decode(next, &WHOLE, &mut canvas.target());
                    }
                }
                Err(Av1Error::Failed(words)) => {
                    failures += 1;
                    deaths += u32::from(words.contains("signal"));
                }
                Err(error) => panic!("unit {at}, seed {seed}: {error}"),
            }
            check_shows(&mut decoder, 6);
            check_shows(&mut decoder, 7);
        }
    }
    println!("{failures} failures, {deaths} of them deaths");
    assert!(failures > 0);
}

#[test]
fn a_killed_process_is_told_of_and_another_one_begins_with_a_key_frame() {
    let mut decoder = Decoder::of(client());
    check_shows(&mut decoder, 0);
    signal(decoder.process_id().unwrap(), "-KILL");
    check_fails(&mut decoder, &units()[1], "signal: 9");
    check_shows(&mut decoder, 6);
    check_shows(&mut decoder, 7);
}

#[test]
fn a_process_that_hangs_is_given_up_and_killed() {
    let mut decoder = Decoder::of(client());
    check_shows(&mut decoder, 0);
    let process = decoder.process_id().unwrap();
    signal(process, "-STOP");
    check_fails(&mut decoder, &units()[1], "no answer within 1 s");
    assert!(!PathBuf::from(format!("/proc/{process}")).exists());
    check_shows(&mut decoder, 6);
}

#[test]
fn one_that_keeps_failing_is_given_up() {
    let mut decoder = Decoder::of(client());
    for _ in 0..4 {
        check_fails(&mut decoder, &[0; 40], "it refused what came");
    }
    let last = error(&mut decoder, &[0; 40]);
    assert!(matches!(last, Av1Error::GaveUp(_)), "{last}");
}

#[test]
fn a_program_that_cannot_be_started_is_told_of() {
    let mut decoder = Decoder::of(PathBuf::from("/nowhere/sandbox-client"));
    decoder.start();
    check_fails(&mut decoder, &units()[0], "No such file");
}

/// A program in the place of the process, that has been taken over.
struct Liar(PathBuf);

impl Liar {
    /// In its language `ask` waits for an ask, `answer NUMBER KIND LENGTH` begins an answer.
    fn new(name: &str, acts: &str) -> Self {
        let name = format!("sandbox-client-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let unit = units()[0].len();
        let text = format!(
            "#!/bin/sh\n\
             PATH=/bin:/usr/bin\n\
             ask() {{ head -c $((20 + {unit})) >/dev/null; }}\n\
             answer() {{ printf \"$1\\\\0\\\\0\\\\0$2$3\" >&0; }}\n\
             samples() {{ head -c $1 /dev/zero >&0; }}\n\
             {acts}\n"
        );
        // Written by another process: one that is started meanwhile by another test would inherit
        // the file, and a file that is being written cannot be run.
        let mut writer = Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod 700 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = writer.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        assert!(writer.wait().unwrap().success());
        Self(path)
    }

    fn decoder(&self) -> Decoder {
        Decoder::of(self.0.clone())
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

/// 640×400 samples and their chroma, as an answer's length.
const LENGTH: &str = r"'\000\334\005\000'";

#[test]
fn a_process_that_lies_is_found_out() {
    let sleep = "sleep 60";
    for (n, (acts, words)) in [
        (
            format!("ask; answer '\\002' '\\000' {LENGTH}; {sleep}"),
            "an answer to 2, not to 1",
        ),
        (
            format!("ask; answer '\\001' '\\007' {LENGTH}; {sleep}"),
            "kind 7",
        ),
        (
            format!("ask; answer '\\001' '\\000' '\\001\\334\\005\\000'; {sleep}"),
            "384001 bytes",
        ),
        (
            format!("ask; answer '\\001' '\\000' '\\377\\377\\377\\377'; {sleep}"),
            "4294967295 bytes",
        ),
        (
            format!("ask; answer '\\001' '\\000' '\\000\\000\\000\\000'; {sleep}"),
            "0 bytes",
        ),
        (
            format!("ask; answer '\\001' '\\000' {LENGTH}; samples 383999; {sleep}"),
            "no answer",
        ),
        (
            format!("ask; answer '\\001' '\\000' {LENGTH}; samples 383999"),
            "it is gone",
        ),
        ("exec 0>&-".to_owned(), "it is gone"),
    ]
    .iter()
    .enumerate()
    {
        let liar = Liar::new(&format!("liar-{n}"), acts);
        check_fails(&mut liar.decoder(), &units()[0], words);
    }
}

#[test]
fn a_process_that_cannot_be_confined_is_not_started_again() {
    let liar = Liar::new("unconfined", "exit 4");
    let error = error(&mut liar.decoder(), &units()[0]);
    assert!(matches!(error, Av1Error::GaveUp(_)), "{error}");
}

#[test]
fn what_a_process_says_before_or_after_its_answer_is_found_out_at_the_next() {
    let acts = format!("ask; answer '\\001' '\\000' {LENGTH}; samples 384001; exec sleep 60");
    let liar = Liar::new("longer", &acts);
    let mut decoder = liar.decoder();
    let mut canvas = Canvas::new();
    decoder
        .decode(&units()[0], &WHOLE, &mut canvas.target())
        .unwrap();
    // What it says after that is on its way, or an answer that nobody awaits.
    let words = error(&mut decoder, &units()[0]).to_string();
    let is_found = ["unasked", "wrongly", "no answer"]
        .iter()
        .any(|it| words.contains(it));
    assert!(is_found, "{words}");
}

#[test]
fn the_process_has_no_environment() {
    let told = std::env::temp_dir().join(format!("sandbox-client-told-{}", std::process::id()));
    let liar = Liar::new("environment", &format!("env >{}", told.display()));
    check_fails(&mut liar.decoder(), &units()[0], "it is gone");
    let environment = fs::read_to_string(&told).unwrap();
    fs::remove_file(&told).unwrap();
    let names = environment.lines().map(|it| it.split('=').next().unwrap());
    // The shell's own.
    let foreign: Vec<&str> = names
        .filter(|it| !["PWD", "OLDPWD", "SHLVL", "_", "PATH"].contains(it))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
