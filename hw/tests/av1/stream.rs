//! A stream of AV1 that was encoded before, by its temporal units.

use sandbox_protocol::Size;

pub(crate) const SIZE: Size = Size {
    width: 640,
    height: 400,
};

/// Which of them need none before them.
pub(crate) const KEYS: [usize; 2] = [0, 6];

/// The temporal units of `desktop.ivf`.
pub(crate) fn units() -> Vec<Vec<u8>> {
    split(include_bytes!("desktop.ivf"))
}

/// Three of a flat picture of 3840×2160.
pub(crate) fn largest() -> Vec<Vec<u8>> {
    split(include_bytes!("largest.ivf"))
}

/// A header of 32 bytes, then 12 before each unit.
fn split(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &file[32..];
    let mut units = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let [l0, l1, l2, l3, ..] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        units.push(after[..length].to_vec());
        rest = &after[length..];
    }
    units
}
