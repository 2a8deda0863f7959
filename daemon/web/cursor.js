// @ts-check
// Shows the desktop's pointer as the browser's own cursor, so that there is one pointer only.

/** Side in pixels; the server sends none larger. */
const SIDE_MAX = 96;

/**
 * @typedef {{ width: number, height: number, hot_x: number, hot_y: number, rgba: string }} Picture
 */

export class Cursor {
  #stage;
  /** @type {Picture | null} */
  #picture = null;
  #url = '';
  #pixelsPerCss = 1;

  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.#stage = stage;
  }

  /** @param {Picture} picture an empty one hides the pointer */
  show(picture) {
    const url = picture.rgba === '' ? '' : pngUrl(picture);
    if (url === null) return;
    this.#picture = picture;
    this.#url = url;
    this.#apply();
  }

  /** @param {number} pixelsPerCss desktop pixels per CSS pixel */
  scale(pixelsPerCss) {
    if (pixelsPerCss === this.#pixelsPerCss) return;
    this.#pixelsPerCss = pixelsPerCss;
    this.#apply();
  }

  /** The browser's arrow, until the desktop says otherwise. */
  clear() {
    this.#picture = null;
    this.#stage.style.cursor = '';
  }

  #apply() {
    if (!this.#picture) return;
    this.#stage.style.cursor = this.#url === '' ? 'none' : this.#css(this.#picture);
  }

  /** @param {Picture} picture */
  #css({ hot_x, hot_y }) {
    const density = this.#pixelsPerCss;
    const hot = `${Math.round(hot_x / density)} ${Math.round(hot_y / density)}`;
    if (density === 1) return `url("${this.#url}") ${hot}, default`;
    return `image-set(url("${this.#url}") ${density}x) ${hot}, default`;
  }
}

/**
 * @param {Picture} picture
 * @returns {string | null} null where the picture is not what it says
 */
function pngUrl({ width, height, rgba }) {
  if (!(width > 0 && height > 0 && width <= SIDE_MAX && height <= SIDE_MAX)) return null;
  const bytes = Uint8ClampedArray.from(atob(rgba), (it) => it.charCodeAt(0));
  if (bytes.length !== width * height * 4) return null;
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d')?.putImageData(new ImageData(bytes, width, height), 0, 0);
  return canvas.toDataURL();
}
