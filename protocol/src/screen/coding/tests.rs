//! Holds the tile codings to giving back what they were given, and to surviving everything else.

use super::*;
use crate::screen::sample::Random;

/// Codes, decodes, and returns the form with the bytes.
#[track_caller]
fn check(pixels: &[Pixel], width: u16) -> (Option<Coding>, Vec<u8>) {
    let mut coder = Coder::default();
    match coder.encode(pixels, width) {
        Coded::Solid(colour) => {
            assert!(pixels.iter().all(|it| *it == colour));
            (None, Vec::new())
        }
        Coded::Tile(coding, bytes) => {
            let mut decoded = vec![0xDEAD; pixels.len()];
            let read = Decoder::default().decode(coding, bytes, width, &mut decoded);
            assert_eq!(read, Ok(()), "{coding:?}");
            assert!(decoded == pixels, "{coding:?}");
            (Some(coding), bytes.to_vec())
        }
    }
}

/// Pixels of so many colours, in short runs, with rows that repeat.
fn sample(random: &mut Random, colours: u32, width: usize, height: usize) -> Vec<Pixel> {
    let palette: Vec<Pixel> = (0..colours)
        .map(|_| random.next_u32() & 0x00FF_FFFF)
        .collect();
    let mut pixels: Vec<Pixel> = Vec::new();
    while pixels.len() < width * height {
        if random.below(4) == 0 && pixels.len() >= width {
            for _ in 0..random.below(3 * u32::try_from(width).unwrap()) {
                pixels.push(pixels[pixels.len() - width]);
            }
        }
        let colour = palette[random.below(colours) as usize];
        let run = random.below(9) as usize;
        pixels.resize(pixels.len() + run, colour);
    }
    pixels.truncate(width * height);
    pixels
}

#[test]
fn every_form_gives_back_its_pixels() {
    let mut random = Random::new(1);
    for round in 0..400 {
        let colours = [1, 2, 3, 16, 127, 128, 256, 257, 5000][round % 9];
        let width = 1 + random.below(128);
        let height = 1 + random.below(128);
        let pixels = sample(&mut random, colours, width as usize, height as usize);
        check(&pixels, u16::try_from(width).unwrap());
    }
}

#[test]
fn the_number_of_colours_chooses_the_form() {
    let form = |colours: u32| {
        let pixels: Vec<Pixel> = (0..4096).map(|it| it % colours).collect();
        check(&pixels, 64).0.map(|it| it.form)
    };
    assert_eq!(form(1), None);
    assert_eq!(form(2), Some(Form::Bits));
    assert_eq!(form(3), Some(Form::Runs));
    assert_eq!(form(127), Some(Form::Runs));
    assert_eq!(form(128), Some(Form::Indices));
    assert_eq!(form(256), Some(Form::Indices));
    assert_eq!(form(257), Some(Form::Plain));
    // A handful of pixels of as many colours: a palette would only be added.
    let (coding, bytes) = check(&[1, 2, 3, 4, 5], 5);
    assert_eq!((coding.unwrap().form, bytes.len()), (Form::Plain, 15));
}

/// These bytes are the contract with every viewer ever shipped.
#[test]
fn the_bytes_of_a_form_never_change() {
    #[track_caller]
    fn golden(pixels: &[Pixel], width: u16, form: Form, expected: &[u8]) {
        let (coding, bytes) = check(pixels, width);
        let is_packed = false;
        assert_eq!(coding, Some(Coding { form, is_packed }));
        assert_eq!(bytes, expected);
    }
    let (a, b, c) = (0x0001_0203, 0x0004_0506, 0x0007_0809);
    golden(
        &[a, b, b, a, a, a, a, a, b],
        3,
        Form::Bits,
        &[3, 2, 1, 6, 5, 4, 0b0000_0110, 1],
    );
    golden(
        &[a, a, a, a, b, c, c, c, b, c, c, a],
        4,
        Form::Runs,
        &[
            2, 3, 2, 1, 6, 5, 4, 9, 8, 7, 0x81, 2, 2, 0x83, 1, 0x80, 1, 1,
        ],
    );
    let long = [a; 300].iter().chain(&[b, c]).copied().collect::<Vec<_>>();
    golden(
        &long,
        302,
        Form::Runs,
        &[2, 3, 2, 1, 6, 5, 4, 9, 8, 7, 0x81, 255, 43, 2, 3],
    );
    golden(&[a, b, c], 1, Form::Plain, &[3, 2, 1, 6, 5, 4, 9, 8, 7]);
    let mut predicted = Vec::new();
    predicted::write(&[a, a, b, c, 0x00FF_0000, a], 3, &mut predicted);
    assert_eq!(predicted, [65, 1, 14, 252, 192, 45, 202, 1]);
}

/// Something like a photograph: slopes, and a little noise.
fn photo(random: &mut Random, width: u16, height: u16) -> Vec<Pixel> {
    let mut pixels = Vec::new();
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            let noise = random.below(4);
            let (r, g, b) = (x * 2 + y + noise, x + y * 2 + noise, 90 + x / 3 + noise);
            pixels.push((r & 255) << 16 | (g & 255) << 8 | b & 255);
        }
    }
    pixels
}

#[test]
fn a_photo_is_predicted() {
    let mut random = Random::new(9);
    for (width, height) in [(64, 64), (128, 128), (1, 128), (128, 1), (7, 5)] {
        let pixels = photo(&mut random, width, height);
        let (coding, bytes) = check(&pixels, width);
        let is_large = pixels.len() >= 4096;
        if is_large {
            assert_eq!(coding, Some(Coding::of(Form::Predicted)));
            assert!(bytes.len() < pixels.len() * 3 / 2, "{} bytes", bytes.len());
        }
        let mut predicted = Vec::new();
        predicted::write(&pixels, width.into(), &mut predicted);
        let mut read = vec![0; pixels.len()];
        assert_eq!(
            predicted::read(&predicted, width.into(), &mut read),
            Some(())
        );
        assert!(read == pixels);
        for end in 0..predicted.len().min(600) {
            let cut = predicted::read(&predicted[..end], width.into(), &mut read);
            assert_eq!(cut, None, "{end} bytes");
        }
        predicted.push(0);
        assert_eq!(predicted::read(&predicted, width.into(), &mut read), None);
    }
}

#[test]
fn text_is_small() {
    let mut page = crate::screen::sample::Page::new(64, 64);
    page.text(0, 0, "fn main() {\n  let a\n  = b;\n}");
    let (coding, bytes) = check(&page.pixels(), 64);
    assert_eq!(coding.unwrap().form, Form::Bits);
    assert!(bytes.len() < 300, "{} bytes", bytes.len());
}

#[test]
fn hostile_bytes_are_refused_or_make_some_pixels() {
    let mut random = Random::new(2);
    let mut decoder = Decoder::default();
    let mut pixels = vec![0; 64 * 64];
    let forms = [
        Form::Bits,
        Form::Runs,
        Form::Indices,
        Form::Plain,
        Form::Predicted,
    ];
    let mut accepted = 0;
    for round in 0..4_000_usize {
        let sample = sample(&mut random, [2, 9, 200, 4000][round % 4], 64, 64);
        let (coding, mut bytes) = check(&sample, 64);
        let mut coding = coding.unwrap();
        match round % 5 {
            0 => bytes.truncate(random.below(u32::try_from(bytes.len()).unwrap()) as usize),
            1 => bytes.push(0),
            2 => coding.is_packed ^= true,
            3 => coding.form = forms[random.below(5) as usize],
            _ => (),
        }
        for _ in 0..random.below(4) {
            if let Some(byte) = bytes.get_mut(random.below(1 << 12) as usize) {
                *byte ^= u8::try_from(1 + random.below(255)).unwrap();
            }
        }
        accepted += u32::from(decoder.decode(coding, &bytes, 64, &mut pixels).is_ok());
    }
    assert!(accepted > 0, "some changes leave a tile of other pixels");
}

#[test]
fn every_cut_of_a_tile_is_refused() {
    let mut random = Random::new(3);
    for colours in [2, 9, 200, 4000] {
        let sample = sample(&mut random, colours, 40, 30);
        let (coding, bytes) = check(&sample, 40);
        let mut pixels = vec![0; sample.len()];
        for end in 0..bytes.len() {
            let read = Decoder::default().decode(coding.unwrap(), &bytes[..end], 40, &mut pixels);
            assert!(read.is_err(), "{colours} colours, {end} bytes");
        }
    }
}

#[test]
fn a_packed_body_cannot_grow_past_its_limit() {
    // A match of 65,535 bytes and more from one literal.
    let mut bomb = vec![0x1F, 7, 1, 0];
    bomb.extend([255; 60_000]);
    bomb.push(0);
    let coding = Coding {
        form: Form::Plain,
        is_packed: true,
    };
    let read = Decoder::default().decode(coding, &bomb, 64, &mut [0; 4096]);
    assert!(read.is_err());
}
