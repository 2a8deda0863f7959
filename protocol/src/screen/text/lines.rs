//! Finds the lines of text: rows in which colours change often, and few that part them.

use crate::limits::TEXT_LINE_ROWS_MAX;

/// Distances from line to line that are looked for.
const PITCH_MIN: usize = 6;
const PITCH_MAX: usize = 48;

/// The share of what differs from row to row that lines at even distances must explain.
const EVEN_SHARE: f64 = 0.3;

/// A shorter distance is taken for one that explains only a little more: its double.
const NEARLY: f64 = 0.9;

/// Finds lines; its buffers serve one call after the other.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How busy each row is: the magnitude of how often its colour changes.
    busy: Vec<u8>,
    heights: Vec<u8>,
    missing: Missing,
}

/// Rows that the first and the last line lack of being as high as the others; none where most of
/// the line lies outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) above: u8,
    pub(super) below: u8,
}

/// Lines at even distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pitch {
    rows: usize,
    /// The first row with which one begins.
    first: usize,
}

impl Lines {
    /// The heights of the lines of a rectangle of colours in rows of `width`, from the top. They
    /// cover it; what parts lines belongs to one or is one.
    pub(super) fn find(&mut self, indices: &[u16], width: usize) {
        self.busy.clear();
        let rows = indices.chunks_exact(width);
        self.busy.extend(rows.map(busy));
        self.heights.clear();
        self.missing = Missing::default();
        match pitch(&self.busy) {
            Some(pitch) => self.cut_evenly(pitch),
            None => self.cut_where_quiet(),
        }
    }

    /// What lies outside of the rectangle that was looked at.
    pub(super) const fn missing(&self) -> Missing {
        self.missing
    }

    /// The rectangle has so many rows more now.
    pub(super) fn complete(&mut self, rows: Missing) {
        if let Some(first) = self.heights.first_mut() {
            *first += rows.above;
        }
        if let Some(last) = self.heights.last_mut() {
            *last += rows.below;
        }
    }

    /// What was found.
    pub(super) fn found(&self) -> &[u8] {
        &self.heights
    }

    fn cut_evenly(&mut self, pitch: Pitch) {
        self.push(pitch.first);
        let mut left = self.busy.len() - pitch.first;
        while left > 0 {
            self.push(pitch.rows.min(left));
            left = left.saturating_sub(pitch.rows);
        }
        let missing = |line: Option<&u8>| {
            let lacks = |it: &u8| pitch.rows.saturating_sub(usize::from(*it));
            let lacks = line.map(lacks).filter(|it| it * 2 <= pitch.rows);
            lacks
                .and_then(|it| u8::try_from(it).ok())
                .unwrap_or_default()
        };
        self.missing = Missing {
            above: missing(self.heights.first()),
            below: missing(self.heights.last()),
        };
    }

    /// Cuts where busy rows begin or end.
    fn cut_where_quiet(&mut self) {
        let busiest = self.busy.iter().max().copied().unwrap_or_default();
        let busy = std::mem::take(&mut self.busy);
        for rows in busy.chunk_by(|a, b| is_quiet(*a, busiest) == is_quiet(*b, busiest)) {
            self.push(rows.len());
        }
        self.busy = busy;
    }

    /// Adds a line, or as many as that takes.
    fn push(&mut self, rows: usize) {
        let most = usize::from(TEXT_LINE_ROWS_MAX);
        let mut left = rows;
        while left > 0 {
            let height = left.min(most);
            self.heights.extend(u8::try_from(height));
            left -= height;
        }
    }
}

const fn is_quiet(busy: u8, busiest: u8) -> bool {
    busy * 2 < busiest
}

/// How often the colour changes, in steps of a quarter: short lines count as long ones.
fn busy(row: &[u16]) -> u8 {
    let next = row.get(1..).unwrap_or_default();
    let changes = row.iter().zip(next).filter(|(a, b)| a != b).count();
    let bits = usize::BITS - changes.leading_zeros();
    // The two bits behind the first one.
    let quarters = if bits > 2 {
        changes >> (bits - 3) & 3
    } else {
        changes << (3 - bits) & 3
    };
    u8::try_from(4 * bits as usize + quarters).unwrap_or(u8::MAX)
}

/// The distance at which busy and quiet rows repeat.
fn pitch(busy: &[u8]) -> Option<Pitch> {
    let most = PITCH_MAX.min(busy.len() / 3);
    let shares = || (PITCH_MIN..=most).map(|rows| (rows, explained(busy, rows)));
    let best = shares().map(|it| it.1).fold(EVEN_SHARE, f64::max);
    let (rows, _) = shares().find(|it| it.1 >= best * NEARLY && it.1 > EVEN_SHARE)?;
    let mean = |phase: usize| {
        let those = busy.iter().skip(phase).step_by(rows);
        let (sum, count) = those.fold((0.0, 0.0), |(sum, count), it| {
            (sum + f64::from(*it), count + 1.0)
        });
        sum / count
    };
    // Of several quiet rows the one behind the text, wherever the rectangle begins: then the same
    // letters have the same columns.
    let before = |phase: usize| mean((phase + rows - 1) % rows);
    let first = (0..rows).min_by(|a, b| {
        let is_quieter = mean(*a).total_cmp(&mean(*b));
        is_quieter.then(before(*b).total_cmp(&before(*a)))
    })?;
    Some(Pitch { rows, first })
}

/// The share of the rows' variance that their place within a line explains (the adjusted R² of a
/// one-way analysis of variance), of what each differs from the line around it.
fn explained(busy: &[u8], rows: usize) -> f64 {
    let mut phases = [(0.0, 0.0); PITCH_MAX];
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (n, around) in busy.windows(rows).enumerate() {
        let line: u32 = around.iter().map(|it| u32::from(*it)).sum();
        let length = around.iter().fold(0.0, |length, _| length + 1.0);
        let middle = around.get(rows / 2).copied().unwrap_or_default();
        let differs = f64::from(middle) - f64::from(line) / length;
        count += 1.0;
        sum += differs;
        squares += differs * differs;
        if let Some(phase) = phases.get_mut(n % rows) {
            *phase = (phase.0 + differs, phase.1 + 1.0);
        }
    }
    let common = sum * sum / count;
    let all = squares - common;
    let used = phases.iter().filter(|it| it.1 > 0.0);
    let (between, groups) = used.fold((-common, 0.0), |(between, groups), (sum, count)| {
        (between + sum * sum / count, groups + 1.0)
    });
    if all <= 0.0 || count <= groups {
        return 0.0;
    }
    1.0 - (1.0 - between / all) * (count - 1.0) / (count - groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_even_distances_are_cut_at_their_quietest_row() {
        let line = [0, 5, 6, 7, 7, 6, 6, 6, 5, 4, 1, 1, 1];
        let rows: Vec<u8> = line.iter().copied().cycle().skip(10).take(133).collect();
        let found = pitch(&rows).unwrap();
        assert_eq!(found, Pitch { rows: 13, first: 3 });
        let mut lines = Lines {
            busy: rows,
            ..Lines::default()
        };
        lines.cut_evenly(found);
        assert_eq!(lines.heights, [&[3][..], &[13; 10]].concat());
        assert_eq!(lines.missing(), Missing::default());
        // Most of them is there.
        lines.heights.clear();
        lines.busy.drain(..3 + 13 - 7);
        lines.busy.truncate(7 + 26 + 12);
        lines.cut_evenly(Pitch { rows: 13, first: 7 });
        assert_eq!(lines.heights, [7, 13, 13, 12]);
        let missing = Missing { above: 6, below: 1 };
        assert_eq!(lines.missing(), missing);
        lines.complete(missing);
        assert_eq!(lines.heights, [13; 4]);
    }

    #[test]
    fn lines_are_cut_at_the_same_row_wherever_the_rectangle_begins() {
        let line = [0, 0, 5, 6, 7, 7, 6, 6, 5, 0, 0, 0];
        for start in 0..12 {
            let rows = line.iter().copied().cycle().skip(start);
            let rows: Vec<u8> = rows.take(120).collect();
            let found = pitch(&rows).unwrap();
            assert_eq!((found.rows, (start + found.first) % 12), (12, 9), "{start}");
        }
    }

    #[test]
    fn lines_at_other_distances_are_cut_where_it_is_quiet() {
        let busy = [vec![0; 5], vec![6; 20], vec![1; 3], vec![7; 9], vec![0; 70]].concat();
        assert_eq!(pitch(&busy), None);
        let mut lines = Lines {
            busy,
            ..Lines::default()
        };
        lines.cut_where_quiet();
        assert_eq!(lines.heights, [5, 20, 3, 9, 64, 6]);
    }

    #[test]
    fn what_is_always_the_same_has_no_pitch() {
        assert_eq!(pitch(&[3; 500]), None);
        assert_eq!(pitch(&[]), None);
        assert_eq!(pitch(&[1, 2, 3]), None);
    }
}
