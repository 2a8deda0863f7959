//! Pixels of an Xvfb, read from the file that it maps (`-fbdir`).
//!
//! Reading the file reads the very pages that Xvfb draws into, so a pixel is seen as soon as it
//! is drawn; a read of four bytes costs less than a microsecond and needs no `unsafe`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sandbox_barcode::{BLOCK, COLUMNS, ORIGIN, ROWS, SQUARE, SQUARE_X, SQUARE_Y};

/// Big-endian 32-bit fields of the XWD header, by index.
const HEADER_SIZE: usize = 0;
const WIDTH: usize = 4;
const HEIGHT: usize = 5;
const BITS_PER_PIXEL: usize = 11;
const BYTES_PER_LINE: usize = 12;
const COLORS: usize = 19;
const FIELDS: usize = 25;
const COLOR_BYTES: u64 = 12;

/// A framebuffer file.
#[derive(Debug)]
pub(crate) struct Screen {
    file: File,
    path: PathBuf,
    pixels: u64,
    stride: u64,
}

/// Why pixels could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScreenError {
    #[error("cannot read the framebuffer {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the framebuffer {path} has {bits} bits per pixel, not 32")]
    Depth { path: PathBuf, bits: u32 },
    #[error("the framebuffer {path} of {width}×{height} is too small for the barcode")]
    Size {
        path: PathBuf,
        width: u32,
        height: u32,
    },
}

impl Screen {
    /// Opens the file of the first screen below an `-fbdir` directory.
    pub(crate) fn open(fbdir: &Path) -> Result<Self, ScreenError> {
        let path = fbdir.join("Xvfb_screen0");
        let io = |source| ScreenError::Io {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(io)?;
        let mut header = [0; FIELDS * 4];
        file.read_exact_at(&mut header, 0).map_err(io)?;
        let (words, _) = header.as_chunks::<4>();
        let fields: Vec<u32> = words.iter().map(|it| u32::from_be_bytes(*it)).collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        let (width, height) = (field(WIDTH), field(HEIGHT));
        if field(BITS_PER_PIXEL) != 32 {
            return Err(ScreenError::Depth {
                path,
                bits: field(BITS_PER_PIXEL),
            });
        }
        let right = u32::from(SQUARE_X + SQUARE).max(u32::from(ORIGIN + BLOCK * COLUMNS));
        if width < right || height < u32::from(ORIGIN + BLOCK * ROWS) {
            return Err(ScreenError::Size {
                path,
                width,
                height,
            });
        }
        let pixels = u64::from(field(HEADER_SIZE)) + u64::from(field(COLORS)) * COLOR_BYTES;
        Ok(Self {
            file,
            path,
            pixels,
            stride: u64::from(field(BYTES_PER_LINE)),
        })
    }

    /// Brightness of a pixel's green, which carries most of the luma.
    fn green(&self, x: u16, y: u16) -> Result<u8, ScreenError> {
        let mut pixel = [0; 4];
        let at = self.pixels + u64::from(y) * self.stride + u64::from(x) * 4;
        self.file
            .read_exact_at(&mut pixel, at)
            .map_err(|source| ScreenError::Io {
                path: self.path.clone(),
                source,
            })?;
        let [_, green, _, _] = pixel;
        Ok(green)
    }

    /// Whether the barcode's square is white.
    pub(crate) fn is_square_white(&self) -> Result<bool, ScreenError> {
        Ok(self.green(SQUARE_X + SQUARE / 2, SQUARE_Y + SQUARE / 2)? > 127)
    }

    /// The number of the newest key, where a whole barcode is shown.
    pub(crate) fn number(&self) -> Result<Option<u16>, ScreenError> {
        let mut rows = [0; ROWS as usize];
        for (word, row) in rows.iter_mut().zip(0..) {
            for column in 0..COLUMNS {
                let middle = |block: u16| ORIGIN + block * BLOCK + BLOCK / 2;
                let is_white = self.green(middle(column), middle(row))? > 127;
                *word = *word << 1 | u16::from(is_white);
            }
        }
        Ok(sandbox_barcode::number_of(&rows))
    }
}
