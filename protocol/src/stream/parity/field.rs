//! The field of 256 elements with the polynomial x⁸ + x⁴ + x³ + x² + 1 (`11d`).

/// What is left of the polynomial below x⁸.
const REDUCTION: u8 = 0x1d;

/// Bytes that are multiplied together: the compiler makes vectors of them.
const BLOCK: usize = 64;

/// Powers of 2, twice around, and their exponents.
const TABLES: ([u8; 510], [u8; 256]) = tables();

#[expect(clippy::indexing_slicing, reason = "at compile time")]
const fn tables() -> ([u8; 510], [u8; 256]) {
    let (mut powers, mut exponents) = ([0; 510], [0; 256]);
    let mut power = 1;
    let mut exponent = 0;
    while exponent < 255 {
        powers[exponent] = power;
        powers[exponent + 255] = power;
        exponents[power as usize] = exponent as u8;
        power = double(power);
        exponent += 1;
    }
    (powers, exponents)
}

const fn double(a: u8) -> u8 {
    (a << 1) ^ (REDUCTION & 0_u8.wrapping_sub(a >> 7))
}

/// The product.
pub(super) fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    power(exponent(a) + exponent(b))
}

/// The quotient; of nothing by nothing it is nothing.
pub(super) fn div(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    power(exponent(a) + 255 - exponent(b))
}

fn exponent(a: u8) -> usize {
    let (_, exponents) = &TABLES;
    exponents
        .get(usize::from(a))
        .copied()
        .map_or(0, usize::from)
}

fn power(exponent: usize) -> u8 {
    let (powers, _) = &TABLES;
    powers.get(exponent).copied().unwrap_or_default()
}

/// Adds `factor` times `from` to `to`, byte by byte.
pub(super) fn add_product(to: &mut [u8], from: &[u8], factor: u8) {
    let (to_blocks, to_rest) = to.as_chunks_mut::<BLOCK>();
    let (from_blocks, from_rest) = from.as_chunks::<BLOCK>();
    for (to, from) in to_blocks.iter_mut().zip(from_blocks) {
        add_block(to, from, factor);
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to ^= mul(*from, factor);
    }
}

fn add_block(to: &mut [u8; BLOCK], from: &[u8; BLOCK], factor: u8) {
    let mut doubled = *from;
    let mut left = factor;
    loop {
        let mask = 0_u8.wrapping_sub(left & 1);
        for (to, from) in to.iter_mut().zip(&doubled) {
            *to ^= from & mask;
        }
        left >>= 1;
        if left == 0 {
            return;
        }
        for it in &mut doubled {
            *it = double(*it);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_polynomials() {
        /// By shifting and reducing, bit by bit.
        fn product(a: u8, b: u8) -> u8 {
            let doubled = std::iter::successors(Some(a), |it| Some(double(*it)));
            let bits = (0..8).map(|bit| b >> bit & 1);
            doubled.zip(bits).fold(0, |sum, (it, bit)| sum ^ (it * bit))
        }
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(mul(a, b), product(a, b), "{a} {b}");
                assert!(b == 0 || div(mul(a, b), b) == a, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_product_is_added_to_every_byte() {
        let from: Vec<u8> = (0..150).collect();
        for factor in [0, 1, 2, 0x8e, 255] {
            let mut to = vec![7; 150];
            add_product(&mut to, &from, factor);
            let expected = from.iter().map(|it| 7 ^ mul(*it, factor));
            assert!(to.iter().copied().eq(expected), "{factor}");
        }
    }
}
