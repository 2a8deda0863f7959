// @ts-check
// Maps between the window, the picture and the desktop's pixels.

/** @typedef {{ width: number, height: number }} Size */
/**
 * @typedef {{ left: number, top: number, width: number, height: number, isExact: boolean }} Place
 */

/** Smallest and largest desktop, in pixels; the server enforces the same. */
export const DESKTOP_MIN = { width: 320, height: 200 };
export const DESKTOP_MAX = { width: 3840, height: 2160 };

/**
 * The desktop that fills a window: even numbers (4:2:0 video has no odd ones), within the
 * limits. A window that is too large keeps its shape, so that the picture still fills it.
 *
 * @param {Size} viewport device pixels
 * @returns {Size}
 */
export function desktopSize(viewport) {
  const shrink = Math.min(
    1,
    DESKTOP_MAX.width / viewport.width,
    DESKTOP_MAX.height / viewport.height,
  );
  return {
    width: even(viewport.width * shrink, DESKTOP_MIN.width, DESKTOP_MAX.width),
    height: even(viewport.height * shrink, DESKTOP_MIN.height, DESKTOP_MAX.height),
  };
}

/**
 * Where the picture goes, in CSS pixels. A picture that fits the window to within the rounding
 * of `desktopSize` is shown pixel for pixel on whole device pixels; any other is scaled.
 *
 * @param {Size} picture pixels of the video
 * @param {Size} viewport device pixels
 * @param {number} ratio device pixels per CSS pixel
 * @returns {Place}
 */
export function place(picture, viewport, ratio) {
  const fit = Math.min(viewport.width / picture.width, viewport.height / picture.height);
  const isExact = fit >= 1 && (fit - 1) * Math.max(picture.width, picture.height) < 2;
  const scale = isExact ? 1 : fit;
  const width = picture.width * scale;
  const height = picture.height * scale;
  return {
    left: Math.floor((viewport.width - width) / 2) / ratio,
    top: Math.floor((viewport.height - height) / 2) / ratio,
    width: width / ratio,
    height: height / ratio,
    isExact,
  };
}

/**
 * The desktop pixel under a point of the window; points outside give the nearest one.
 *
 * @param {{ x: number, y: number }} point CSS pixels
 * @param {Place} shown
 * @param {Size} picture
 * @returns {{ x: number, y: number }}
 */
export function toDesktop(point, shown, picture) {
  return {
    x: pixel(point.x - shown.left, shown.width, picture.width),
    y: pixel(point.y - shown.top, shown.height, picture.height),
  };
}

/**
 * @param {number} pixels
 * @param {number} min
 * @param {number} max
 */
function even(pixels, min, max) {
  return Math.min(max, Math.max(min, 2 * Math.floor(pixels / 2)));
}

/**
 * @param {number} offset CSS pixels from the picture's edge
 * @param {number} shown CSS pixels of the picture
 * @param {number} pixels of the desktop
 */
function pixel(offset, shown, pixels) {
  return Math.min(pixels - 1, Math.max(0, Math.floor((offset * pixels) / shown)));
}
