//! Programs that draw what people look at: pages of text, and films.

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    ConfigureWindowAux, ConnectionExt as _, CreateGCAux, CreateWindowAux, Gcontext, ImageFormat,
    Pixmap, Rectangle, StackMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::harness::{Desktop, SIZE};
use crate::program::connect;

/// Of the X server's own font.
const LETTER: (u16, u16) = (6, 13);
const COLUMNS: u16 = 100;
const LINES: u16 = SIZE.height / LETTER.1;

/// A window over the whole screen that shows text.
pub(crate) struct Page {
    x: RustConnection,
    window: Window,
    gc: Gcontext,
    inverse: Gcontext,
    state: u32,
}

impl Page {
    pub(crate) fn start(desktop: &Desktop, seed: u32) -> Self {
        let x = connect(desktop);
        let root = x.setup().roots[0].root;
        let depth = x.setup().roots[0].root_depth;
        let [window, pixmap, font] = [(); 3].map(|()| x.generate_id().unwrap());
        x.open_font(font, b"fixed").unwrap().check().unwrap();
        let [gc, inverse] = [(0, 0xff_ffff), (0xff_ffff, 0)].map(|(ink, paper)| {
            let gc = x.generate_id().unwrap();
            let aux = CreateGCAux::new()
                .foreground(ink)
                .background(paper)
                .font(font)
                .graphics_exposures(0);
            x.create_gc(gc, root, &aux).unwrap();
            gc
        });
        x.create_pixmap(depth, pixmap, root, SIZE.width, SIZE.height)
            .unwrap();
        let mut page = Self {
            x,
            window,
            gc,
            inverse,
            state: seed,
        };
        page.fill(pixmap);
        page.map(pixmap);
        page
    }

    /// The X server itself paints the background wherever the window comes to light.
    fn map(&self, background: Pixmap) {
        let (x, root) = (&self.x, self.x.setup().roots[0].root);
        let aux = CreateWindowAux::new()
            .override_redirect(1)
            .background_pixmap(background);
        let (width, height, class) = (SIZE.width, SIZE.height, WindowClass::INPUT_OUTPUT);
        x.create_window(0, self.window, root, 0, 0, width, height, 0, class, 0, &aux)
            .unwrap();
        x.map_window(self.window).unwrap();
        self.wait();
    }

    fn fill(&mut self, onto: Pixmap) {
        let all = Rectangle {
            x: 0,
            y: 0,
            width: SIZE.width,
            height: SIZE.height,
        };
        let paper = [all];
        self.x
            .poly_fill_rectangle(onto, self.inverse, &paper)
            .unwrap();
        for line in 0..LINES {
            self.write_line(onto, line);
        }
    }

    fn write_line(&mut self, onto: Pixmap, line: u16) {
        let text: Vec<u8> = (0..COLUMNS).map(|_| self.letter()).collect();
        let y = ((line + 1) * LETTER.1 - 3).cast_signed();
        self.x.image_text8(onto, self.gc, 2, y, &text).unwrap();
    }

    /// Writes a letter at a place, as an editor does.
    pub(crate) fn type_letter(&self, letter: u8, column: u16, line: u16) {
        let x = (2 + column * LETTER.0).cast_signed();
        let y = ((line + 1) * LETTER.1 - 3).cast_signed();
        self.x
            .image_text8(self.window, self.gc, x, y, &[letter])
            .unwrap();
        self.wait();
    }

    /// Moves the text up by some lines, and writes others below.
    pub(crate) fn scroll(&mut self, lines: u16) {
        let by = lines * LETTER.1;
        let height = LINES * LETTER.1;
        let window = self.window;
        self.x
            .copy_area(
                window,
                window,
                self.gc,
                0,
                by.cast_signed(),
                0,
                0,
                SIZE.width,
                height - by,
            )
            .unwrap();
        for line in LINES - lines..LINES {
            self.write_line(window, line);
        }
        self.wait();
    }

    /// Comes before all other windows.
    pub(crate) fn raise(&self) {
        let above = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
        self.x.configure_window(self.window, &above).unwrap();
        self.wait();
    }

    /// Shows another picture of noise, as a film does, of at most 64,000 pixels.
    pub(crate) fn show_noise(&mut self, (x, y): (i16, i16), (width, height): (u16, u16)) {
        let pixels = usize::from(width) * usize::from(height);
        let bytes: Vec<u8> = (0..pixels)
            .flat_map(|_| self.next().to_le_bytes())
            .collect();
        let depth = self.x.setup().roots[0].root_depth;
        let (format, window) = (ImageFormat::Z_PIXMAP, self.window);
        self.x
            .put_image(
                format, window, self.gc, width, height, x, y, 0, depth, &bytes,
            )
            .unwrap();
        self.wait();
    }

    /// Until the X server has drawn all that.
    fn wait(&self) {
        self.x.get_input_focus().unwrap().reply().unwrap();
    }

    fn letter(&mut self) -> u8 {
        let letters = b"etaoin shrdlu cmfwyp vbgkjqxz ETAOIN 0123456789(){};:.,";
        letters[self.next() as usize % letters.len()]
    }

    /// Xorshift, so that a seed replays.
    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state
    }
}
