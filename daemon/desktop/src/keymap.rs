//! Finds the X keycode that gives the program what the viewer's key means.

/// First keycode that stands for an evdev code: X counts from 8.
const KEYCODE_OF_EVDEV_0: u16 = 8;

const ISO_LEVEL3_SHIFT: u32 = 0xfe03;
const CAPS_LOCK: u32 = 0xffe5;
const MODE_SWITCH: u32 = 0xff7e;

/// Alt and the like have a left and a right one; the right one is the next keysym.
const TWO_SIDED: [u32; 4] = [0xffe1, 0xffe3, 0xffe9, 0xffeb];

/// Keycodes that may be given another meaning, at most: enough that a program has read the
/// meaning of one before it changes again.
const SPARES_MAX: usize = 16;

/// What the X server says its keycodes mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    /// Lowest keycode.
    pub first: u8,
    /// Columns of `keysyms`.
    pub columns: usize,
    /// Meanings, keycode by keycode; 0 is none.
    pub keysyms: Vec<u32>,
    /// Keycodes that are Shift.
    pub shifts: Vec<u8>,
}

/// How to press a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The keycode to press.
    pub keycode: u8,
    /// It must be given this meaning first.
    pub meaning: Option<u32>,
    /// For a letter: whether Caps Lock must be on for its case, with Shift as it is.
    pub caps_lock: Option<bool>,
}

/// The mapping with the keycodes that we may use for what it lacks.
#[derive(Debug, Default)]
pub(crate) struct Keymap {
    mapping: Mapping,
    /// Least recently used first.
    spares: Vec<Spare>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spare {
    keycode: u8,
    /// The meaning we gave it; 0 for none.
    keysym: u32,
}

impl Keymap {
    /// Takes over what the X server says; keeps what spare keycodes still mean.
    pub(crate) fn set(&mut self, mapping: Mapping) {
        self.mapping = mapping;
        let mapping = &self.mapping;
        self.spares
            .retain(|it| mapping.row(it.keycode).first() == Some(&it.keysym));
        for keycode in mapping.keycodes().skip(1) {
            let is_unused = mapping.row(keycode).iter().all(|it| *it == 0);
            let is_known = self.spares.iter().any(|it| it.keycode == keycode);
            if is_unused && !is_known && self.spares.len() < SPARES_MAX {
                self.spares.push(Spare { keycode, keysym: 0 });
            }
        }
    }

    /// Whether a change of these keycodes' meaning was ours.
    pub(crate) fn is_spare(&self, keycode: u8) -> bool {
        self.spares.iter().any(|it| it.keycode == keycode)
    }

    /// Finds how to press a key while `pressed` are down; `None` when it means nothing here.
    ///
    /// The key's own place comes first, because programs look at keycodes too; then any key that
    /// gives the keysym with the modifiers as they are; then a spare keycode.
    pub(crate) fn choose(&mut self, code: u16, keysym: u32, pressed: &[u8]) -> Option<Choice> {
        let own = self.mapping.keycode(code);
        let level = Level::of(&self.mapping, pressed);
        let row = |keycode| self.mapping.row(keycode);
        let plain = |keycode| Choice {
            keycode,
            meaning: None,
            caps_lock: level.caps_lock(row(keycode), keysym),
        };
        if keysym == 0 {
            return own.map(plain);
        }
        if let Some(own) = own
            && level.yields(row(own), keysym)
        {
            return Some(plain(own));
        }
        let is_free = |it: &u8| !pressed.contains(it) && !self.is_spare(*it);
        let other = self
            .mapping
            .keycodes()
            .filter(is_free)
            .find(|it| level.yields(row(*it), keysym));
        if let Some(other) = other {
            return Some(plain(other));
        }
        // What stands in their places here would do something else than choose a character, and
        // a spare keycode gives the character without them.
        if is_level_shift(keysym) {
            return None;
        }
        if let Some(left) = left_twin(keysym) {
            return self.choose(code, left, pressed);
        }
        if is_function(keysym) && own.is_some() {
            return own.map(plain);
        }
        let at_worst = own.map(plain);
        self.spare(keysym, pressed).or(at_worst)
    }

    /// The keycode that is Caps Lock.
    pub(crate) fn caps_lock(&self) -> Option<u8> {
        let is_it = |it: &u8| self.mapping.row(*it).first() == Some(&CAPS_LOCK);
        self.mapping.keycodes().find(is_it)
    }

    fn spare(&mut self, keysym: u32, pressed: &[u8]) -> Option<Choice> {
        let is_free = |it: &Spare| !pressed.contains(&it.keycode);
        let known = |it: &Spare| it.keysym == keysym && is_free(it);
        let at = self
            .spares
            .iter()
            .position(known)
            .or_else(|| self.spares.iter().position(is_free))?;
        let former = self.spares.remove(at);
        self.spares.push(Spare { keysym, ..former });
        Some(Choice {
            keycode: former.keycode,
            meaning: (former.keysym != keysym).then_some(keysym),
            caps_lock: None,
        })
    }
}

impl Mapping {
    fn keycodes(&self) -> impl Iterator<Item = u8> + use<> {
        let count = self.keysyms.len().checked_div(self.columns).unwrap_or(0);
        let first = self.first;
        (0..count).filter_map(move |it| first.checked_add(u8::try_from(it).ok()?))
    }

    fn row(&self, keycode: u8) -> &[u32] {
        keycode
            .checked_sub(self.first)
            .map(|it| usize::from(it) * self.columns)
            .and_then(|at| self.keysyms.get(at..at + self.columns))
            .unwrap_or_default()
    }

    fn keycode(&self, code: u16) -> Option<u8> {
        let keycode = u8::try_from(code.checked_add(KEYCODE_OF_EVDEV_0)?).ok()?;
        (code != 0 && keycode >= self.first).then_some(keycode)
    }
}

/// Which column of a keycode counts, by the modifiers that are down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Plain,
    Shift,
    /// AltGr.
    Third,
    /// AltGr and Shift.
    Fourth,
}

impl Level {
    fn of(mapping: &Mapping, pressed: &[u8]) -> Self {
        let is_third = |it: &u8| mapping.row(*it).first() == Some(&ISO_LEVEL3_SHIFT);
        let is_shift = |it: &u8| mapping.shifts.contains(it);
        match (pressed.iter().any(is_third), pressed.iter().any(is_shift)) {
            (false, false) => Self::Plain,
            (false, true) => Self::Shift,
            (true, false) => Self::Third,
            (true, true) => Self::Fourth,
        }
    }

    fn yields(self, row: &[u32], keysym: u32) -> bool {
        let (low, high) = columns(row);
        // A function key is itself at any level: Shift+Tab is sent as Tab. Either case of a letter
        // names its key, because Caps Lock can be made to fit.
        let is_itself = is_function(keysym) && low == keysym;
        let is_letter = is_case_pair(low, high) && (keysym == low || keysym == high);
        is_itself
            || match self {
                Self::Plain => is_letter || low == keysym,
                // One column stands for all levels.
                Self::Shift => is_letter || high == keysym || (high == 0 && low == keysym),
                Self::Third => third(row, 0) == Some(keysym),
                Self::Fourth => third(row, 1) == Some(keysym),
            }
    }

    fn caps_lock(self, row: &[u32], keysym: u32) -> Option<bool> {
        let (low, high) = columns(row);
        let is_upper = keysym == high;
        let is_letter = is_case_pair(low, high) && (keysym == low || is_upper);
        match self {
            Self::Plain => is_letter.then_some(is_upper),
            Self::Shift => is_letter.then_some(!is_upper),
            Self::Third | Self::Fourth => None,
        }
    }
}

/// A keycode's meaning without and with Shift; 0 for none.
fn columns(row: &[u32]) -> (u32, u32) {
    let mut columns = row.iter().copied();
    let low = columns.next().unwrap_or(0);
    (low, columns.next().unwrap_or(0))
}

/// A keycode's meaning with AltGr, and (1) with Shift as well. Columns 2 and 3 are a second
/// layout's: where it differs from the first, nobody can tell whose the further columns are.
fn third(row: &[u32], shift: usize) -> Option<u32> {
    let is_one_layout = row.get(..2) == row.get(2..4);
    let third = row.get(4 + shift).copied().filter(|it| *it != 0);
    third.filter(|_| is_one_layout)
}

/// AltGr and its kind: keys that only choose among the characters of others.
const fn is_level_shift(keysym: u32) -> bool {
    matches!(keysym, 0xfe02..=0xfe13 | MODE_SWITCH)
}

/// The left one of a key that stands on both sides, for the right one.
fn left_twin(keysym: u32) -> Option<u32> {
    let left = keysym.checked_sub(1)?;
    TWO_SIDED.contains(&left).then_some(left)
}

/// Keysyms of keys that make no character: Return, arrows, modifiers, ….
const fn is_function(keysym: u32) -> bool {
    matches!(keysym, 0xfe00..=0xffff)
}

fn is_case_pair(low: u32, high: u32) -> bool {
    let (Some(low), Some(high)) = (character(low), character(high)) else {
        return false;
    };
    low != high && low.to_uppercase().eq(std::iter::once(high))
}

/// The character of a Latin-1 or Unicode keysym.
const fn character(keysym: u32) -> Option<char> {
    match keysym {
        0x20..=0x7e | 0xa0..=0xff => char::from_u32(keysym),
        0x0100_0100..=0x0110_ffff => char::from_u32(keysym & 0x00ff_ffff),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIFT: u8 = 50;
    const ALTGR: u8 = 108;
    const LEFT_CONTROL: u32 = 0xffe3;
    const TAB: u32 = 0xff09;
    const ALT_LEFT: u32 = 0xffe9;
    const ISO_LEFT_TAB: u32 = 0xfe20;

    /// A few keys of a keyboard with US meanings; keycodes 200 to 215 mean nothing.
    fn keymap() -> Keymap {
        let mut keysyms = vec![0_u32; 6 * 248];
        let mut row = |keycode: usize, row: [u32; 6]| {
            keysyms[(keycode - 8) * 6..(keycode - 7) * 6].copy_from_slice(&row);
        };
        for keycode in 8..256 {
            row(keycode, [0xfff0, 0, 0, 0, 0, 0]);
        }
        for (keycode, low, high) in [(10, '1', '!'), (29, 'y', 'Y'), (52, 'z', 'Z')] {
            let (low, high) = (u32::from(low), u32::from(high));
            row(keycode, [low, high, low, high, 0, 0]);
        }
        row(24, [0x71, 0x51, 0x71, 0x51, 0x40, 0]);
        row(23, [TAB, ISO_LEFT_TAB, TAB, ISO_LEFT_TAB, 0, 0]);
        row(37, [LEFT_CONTROL, 0, 0, 0, 0, 0]);
        row(SHIFT.into(), [0xffe1, 0, 0, 0, 0, 0]);
        row(ALTGR.into(), [ISO_LEVEL3_SHIFT, 0, 0, 0, 0, 0]);
        for keycode in 200..216 {
            row(keycode, [0; 6]);
        }
        let mut keymap = Keymap::default();
        keymap.set(Mapping {
            first: 8,
            columns: 6,
            keysyms,
            shifts: vec![SHIFT, 62],
        });
        keymap
    }

    impl Mapping {
        fn set(&mut self, keycode: u8, keysym: u32) {
            let at = usize::from(keycode - self.first) * self.columns;
            self.keysyms[at] = keysym;
        }
    }

    #[track_caller]
    fn check(code: u16, keysym: u32, pressed: &[u8], expected: u8) {
        let choice = keymap().choose(code, keysym, pressed).unwrap();
        assert_eq!((choice.keycode, choice.meaning), (expected, None));
    }

    #[test]
    fn a_key_is_pressed_at_its_own_place_where_that_means_the_same() {
        check(2, u32::from('1'), &[], 10);
        check(2, u32::from('!'), &[SHIFT], 10);
        check(21, u32::from('y'), &[], 29);
        check(21, u32::from('Y'), &[], 29);
        check(21, u32::from('y'), &[SHIFT], 29);
        check(16, u32::from('@'), &[ALTGR], 24);
        check(15, TAB, &[SHIFT], 23);
        check(21, 0, &[], 29);
    }

    #[test]
    fn a_key_of_another_layout_is_pressed_where_its_meaning_is() {
        check(21, u32::from('z'), &[], 52);
        check(21, u32::from('Z'), &[SHIFT], 52);
        check(58, LEFT_CONTROL, &[], 37);
        check(0, u32::from('1'), &[], 10);
    }

    #[test]
    fn alt_gr_chooses_no_character_that_the_layout_gives_without_it() {
        let mut keymap = keymap();
        let at = keymap.choose(16, u32::from('q'), &[ALTGR]).unwrap();
        assert_eq!(at.meaning, Some(u32::from('q')), "AltGr would give @");
        let at = keymap.choose(16, u32::from('@'), &[ALTGR, SHIFT]).unwrap();
        assert_eq!(at.meaning, Some(u32::from('@')));
        let one = keymap.choose(2, u32::from('!'), &[ALTGR]).unwrap();
        assert_eq!(one.meaning, Some(u32::from('!')), "! stands on Shift alone");
    }

    #[test]
    fn alt_gr_is_not_pressed_where_the_layout_has_none() {
        let mut keymap = keymap();
        let mut mapping = keymap.mapping.clone();
        mapping.set(ALTGR, ALT_LEFT + 1);
        keymap.set(mapping);
        assert_eq!(keymap.choose(100, ISO_LEVEL3_SHIFT, &[]), None);
    }

    #[test]
    fn a_right_alt_is_the_left_one_where_the_layout_has_alt_gr_in_its_place() {
        let mut keymap = keymap();
        let mut mapping = keymap.mapping.clone();
        mapping.set(64, ALT_LEFT);
        keymap.set(mapping);
        let alt = keymap.choose(100, ALT_LEFT + 1, &[]).unwrap();
        assert_eq!((alt.keycode, alt.meaning), (64, None));
    }

    #[test]
    fn a_meaning_that_the_layout_lacks_gets_a_spare_keycode() {
        let mut keymap = keymap();
        let euro = 0x20ac;
        let first = keymap.choose(18, euro, &[]).unwrap();
        assert_eq!((first.keycode, first.meaning), (200, Some(euro)));
        let again = keymap.choose(18, euro, &[]).unwrap();
        assert_eq!((again.keycode, again.meaning), (200, None));
        let shifted = keymap.choose(2, u32::from('1'), &[SHIFT]).unwrap();
        assert_eq!(shifted.meaning, Some(u32::from('1')), "Shift would give !");
        assert!(keymap.is_spare(first.keycode) && !keymap.is_spare(10));
    }

    #[test]
    fn the_least_recently_used_spare_changes_its_meaning() {
        let mut keymap = keymap();
        for keysym in 0x0100_0400..0x0100_0410_u32 {
            keymap.choose(0, keysym, &[]).unwrap();
        }
        assert_eq!(keymap.choose(0, 0x0100_0400, &[]).unwrap().keycode, 200);
        let next = keymap.choose(0, 0x0100_0500, &[202]).unwrap();
        assert_eq!(next.keycode, 201);
        let next = keymap.choose(0, 0x0100_0501, &[202]).unwrap();
        assert_eq!(next.keycode, 203, "what is down is not changed");
    }

    #[test]
    fn spares_survive_a_fresh_mapping_that_kept_them() {
        let mut keymap = keymap();
        let euro = 0x20ac;
        keymap.choose(0, euro, &[]).unwrap();
        let mut mapping = keymap.mapping.clone();
        let at = usize::from(200_u8 - mapping.first) * mapping.columns;
        mapping.keysyms[at] = euro;
        keymap.set(mapping.clone());
        assert_eq!(keymap.choose(0, euro, &[]).unwrap().meaning, None);
        mapping.keysyms[at] = 0;
        keymap.set(mapping);
        assert_eq!(keymap.choose(0, euro, &[]).unwrap().meaning, Some(euro));
    }

    #[test]
    fn caps_lock_must_fit_the_case_of_a_letter_and_of_nothing_else() {
        let caps_lock = |code, keysym: char, pressed: &[u8]| {
            let choice = keymap().choose(code, keysym.into(), pressed);
            choice.unwrap().caps_lock
        };
        assert_eq!(caps_lock(21, 'y', &[]), Some(false));
        assert_eq!(caps_lock(21, 'Y', &[]), Some(true));
        assert_eq!(caps_lock(21, 'Y', &[SHIFT]), Some(false));
        assert_eq!(caps_lock(21, 'y', &[SHIFT]), Some(true));
        assert_eq!(caps_lock(21, 'z', &[]), Some(false));
        assert_eq!(caps_lock(2, '1', &[]), None);
        assert_eq!(caps_lock(18, '€', &[]), None);
    }

    #[test]
    fn a_key_without_meaning_is_not_pressed() {
        assert_eq!(keymap().choose(0, 0, &[]), None);
        assert_eq!(keymap().choose(600, 0, &[]), None);
    }
}
