//! Holds the viewer's picture against updates that no server of ours sends.

use super::*;
use crate::screen::pair::{FalseColours, HEADER};
use crate::screen::sample::{Page, Random, lines};
use crate::screen::{Composer, Frame, View};
use crate::wire::update::{Coding, Draft, Form, Header};

const SIZE: Size = Size {
    width: 330,
    height: 210,
};

const WHOLE: Header = Header {
    whole: Some(SIZE),
    ..HEADER
};

fn begun() -> Shadow {
    let mut shadow = Shadow::new(4);
    apply(&mut shadow, Draft::default().finish(&WHOLE)).unwrap();
    shadow
}

fn apply(shadow: &mut Shadow, bytes: &[u8]) -> Result<(), ApplyError> {
    let update = Update::decode(bytes).unwrap();
    shadow.apply(&update, &mut FalseColours)
}

#[track_caller]
fn check(write: impl FnOnce(&mut Draft), expected: ApplyError) {
    let mut draft = Draft::default();
    write(&mut draft);
    let applied = apply(&mut begun(), draft.finish(&HEADER));
    assert_eq!(applied, Err(expected));
}

#[test]
fn what_does_not_fit_the_desktop_is_refused() {
    let outside = |rect| ApplyError::Outside { rect, size: SIZE };
    let low = Rect::between(0, 200, 10, 211);
    let right = Rect::between(329, 0, 331, 1);
    let fits = Rect::between(0, 0, 10, 10);
    check(|it| it.fill(low, 0), outside(low));
    check(|it| it.fill(right, 0), outside(right));
    check(|it| it.copy(low, Point { x: 0, y: 0 }), outside(low));
    let target = Rect::between(325, 0, 335, 10);
    check(|it| it.copy(fits, target.origin()), outside(target));
    check(|it| it.video(&[fits, low], &[0; 4]), outside(low));
    let coding = Coding {
        form: Form::Plain,
        is_packed: false,
    };
    check(|it| it.tile(right, coding, &[0; 6]), outside(right));
}

#[test]
fn what_does_not_fit_the_cache_is_refused() {
    let bad = |tile, slot| ApplyError::Cache { tile, slot };
    check(|it| it.keep(0, 4), bad(0, 4));
    check(|it| it.keep(24, 0), bad(24, 0));
    check(|it| it.cached(0, 0), bad(0, 0));
    check(|it| it.cached(24, 0), bad(24, 0));
    // Tile 5 is at the edge: as a whole one it does not fit.
    let mut draft = Draft::default();
    draft.keep(5, 0);
    draft.cached(0, 0);
    assert_eq!(apply(&mut begun(), draft.finish(&HEADER)), Err(bad(0, 0)));
}

#[test]
fn an_update_of_endless_work_is_refused() {
    let whole = Rect::whole(SIZE);
    let copy = |times: usize| {
        let mut draft = Draft::default();
        for _ in 0..times {
            draft.copy(whole, whole.origin());
        }
        apply(&mut begun(), draft.finish(&HEADER))
    };
    assert_eq!(copy(WORK_MAX), Ok(()));
    assert_eq!(copy(WORK_MAX + 1), Err(ApplyError::TooMuch(SIZE)));
    let keep = |draft: &mut Draft| (0..200).for_each(|_| draft.keep(0, 0));
    check(keep, ApplyError::TooMuch(SIZE));
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    let rect = Rect::between(0, 0, 2, 1);
    check(|it| it.video(&[rect], b"nothing"), ApplyError::Video(7));
    let coding = Coding {
        form: Form::Plain,
        is_packed: false,
    };
    let bad = BadTile {
        coding,
        bytes: 5,
        pixels: 2,
    };
    check(|it| it.tile(rect, coding, &[0; 5]), bad.into());
}

#[test]
fn the_first_update_is_a_whole_one() {
    let mut shadow = Shadow::new(4);
    let applied = apply(&mut shadow, Draft::default().finish(&HEADER));
    assert_eq!(applied, Err(ApplyError::NotWhole));
}

#[test]
fn a_whole_update_forgets_picture_and_cache() {
    let mut shadow = begun();
    let mut draft = Draft::default();
    draft.fill(Rect::whole(SIZE), 7);
    draft.keep(0, 0);
    apply(&mut shadow, draft.finish(&HEADER)).unwrap();
    apply(&mut shadow, Draft::default().finish(&WHOLE)).unwrap();
    assert_eq!(shadow.picture(), &Picture::new(SIZE));
    let mut draft = Draft::default();
    draft.cached(0, 0);
    let applied = apply(&mut shadow, draft.finish(&HEADER));
    assert_eq!(applied, Err(ApplyError::Cache { tile: 0, slot: 0 }));
}

#[test]
fn damage_covers_what_changed_and_stays_short() {
    let mut shadow = begun();
    shadow.clear_damage();
    let mut random = Random::new(1);
    let mut painted = Vec::new();
    let mut draft = Draft::default();
    for colour in 0..200 {
        let (x, y) = (random.short(320), random.short(200));
        let rect = Rect::between(x, y, x + 10, y + 10);
        draft.fill(rect, colour);
        painted.push(rect);
    }
    apply(&mut shadow, draft.finish(&HEADER)).unwrap();
    assert!(shadow.damage().len() <= DAMAGE_MAX);
    for rect in painted {
        assert!(shadow.damage().iter().any(|it| it.contains(rect)));
    }
}

#[test]
fn far_changes_stay_apart() {
    let mut shadow = begun();
    shadow.clear_damage();
    let mut draft = Draft::default();
    let corners = [
        Rect::between(0, 0, 8, 16),
        Rect::between(300, 190, 308, 206),
    ];
    draft.fill(corners[0], 1);
    draft.fill(corners[1], 1);
    apply(&mut shadow, draft.finish(&HEADER)).unwrap();
    assert_eq!(shadow.damage(), corners);
}

/// An update with all there is, as a server makes it.
fn real_update() -> (Vec<u8>, Vec<u8>) {
    let mut composer = Composer::new(SIZE, 64, 1);
    let mut page = Page::new(SIZE.width, SIZE.height);
    let mut draft = Draft::default();
    let mut compose = |page: &Page, video: &[Rect], header: &Header| {
        let bytes = page.bytes();
        let frame = Frame {
            picture: View::new(&bytes, usize::from(SIZE.width) * 4, SIZE),
            damage: &[Rect::whole(SIZE)],
            video,
        };
        draft.clear();
        composer.compose(&frame, usize::MAX, &mut draft);
        if !video.is_empty() {
            composer.video(video, &[1, 2, 3, 4], &mut draft);
        }
        draft.finish(header).to_vec()
    };
    page.is_soft = true;
    page.text(8, 8, &lines(3, 36, 12));
    let first = compose(&page, &[], &WHOLE);
    let from = Rect::between(8, 24, 296, 200);
    page.picture.copy(from, Point { x: 8, y: 8 });
    page.text(8, 184, "the strip");
    let second = compose(&page, &[Rect::between(100, 100, 130, 130)], &HEADER);
    (first, second)
}

#[test]
fn hostile_updates_are_refused_or_paint_something() {
    let (first, second) = real_update();
    let mut random = Random::new(4);
    let (mut refused, mut applied) = (0, 0);
    let mut shadow = Shadow::new(64);
    apply(&mut shadow, &first).unwrap();
    let mut try_bytes = |bytes: &[u8]| {
        let done =
            Update::decode(bytes).is_ok_and(|it| shadow.apply(&it, &mut FalseColours).is_ok());
        if done {
            applied += 1;
        } else {
            refused += 1;
        }
    };
    for at in 0..second.len() {
        let mut bytes = second.clone();
        bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap();
        try_bytes(&bytes);
    }
    for end in 0..second.len() {
        assert!(Update::decode(&second[..end]).is_err());
    }
    for _ in 0..2_000 {
        let mut bytes: Vec<u8> = (0..random.below(200))
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        // Past the header, so that ops are reached.
        if let Some(header) = bytes.first_chunk_mut::<4>() {
            *header = [0, 0, 1 + header[2] % 4, 0];
        }
        if let Some(op) = bytes.get_mut(16) {
            *op = 1 + *op % 6;
        }
        try_bytes(&bytes);
    }
    assert!(
        refused > 100 && applied > 10,
        "{refused} refused, {applied} applied"
    );
}
