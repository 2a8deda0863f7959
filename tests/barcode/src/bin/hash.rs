//! Reads pixels (BGRX, row by row) and prints the hash by which viewer and server compare pictures.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the command line"
)]

use std::io::Read as _;
use std::process::ExitCode;

use sandbox_protocol::screen::{Picture, View};
use sandbox_protocol::{Rect, Size};

fn main() -> ExitCode {
    match hash() {
        Ok(hash) => {
            println!("{hash:032x}");
            ExitCode::SUCCESS
        }
        Err(words) => {
            eprintln!("sandbox-hash: {words}");
            ExitCode::from(2)
        }
    }
}

fn hash() -> Result<u128, String> {
    let usage = "usage: sandbox-hash WIDTH HEIGHT < PIXELS";
    let sides: Result<Vec<u16>, _> = std::env::args().skip(1).map(|it| it.parse()).collect();
    let Ok([width, height]) = sides.as_deref() else {
        return Err(usage.to_owned());
    };
    let size = Size {
        width: *width,
        height: *height,
    };
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read the pixels: {error}"))?;
    let whole = Rect::whole(size);
    if bytes.len() != whole.area() * 4 || bytes.is_empty() {
        return Err(format!("{} bytes are no picture of {size}", bytes.len()));
    }
    let mut picture = Picture::new(size);
    View::new(&bytes, usize::from(size.width) * 4, size).write(whole, &mut picture);
    Ok(picture.hash())
}
