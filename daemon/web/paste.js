// @ts-check
// Cuts pasted text into the pieces that the `ctl` channel carries.

/** Bytes of UTF-8 in one piece and in one paste; the server enforces the same. */
export const PIECE_BYTES_MAX = 32 << 10;
export const PASTE_BYTES_MAX = 1 << 20;
/** Bytes of a piece in JSON, where some characters take up to six: 64 KiB less the envelope. */
export const MESSAGE_BYTES_MAX = 60 << 10;

/**
 * @param {string} text
 * @returns {string[] | null} pieces cut between characters; null where the text is too long
 */
export function pastePieces(text) {
  // Each UTF-16 unit is at least one byte, so nothing longer needs to be encoded to be refused.
  if (text.length > PASTE_BYTES_MAX) return null;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > PASTE_BYTES_MAX) return null;
  const pieces = [];
  for (let start = 0; start < bytes.length; ) {
    let end = characterBoundary(bytes, start + PIECE_BYTES_MAX);
    while (messageBytes(bytes.subarray(start, end)) > MESSAGE_BYTES_MAX) {
      end = characterBoundary(bytes, start + ((end - start) >> 1));
    }
    pieces.push(decode(bytes.subarray(start, end)));
    start = end;
  }
  return pieces;
}

/** @param {Uint8Array} piece */
function messageBytes(piece) {
  return new TextEncoder().encode(JSON.stringify(decode(piece))).length;
}

/** @param {Uint8Array} piece */
function decode(piece) {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(piece);
}

/**
 * The last boundary between characters that is not behind `end`.
 *
 * @param {Uint8Array} bytes
 * @param {number} end
 */
function characterBoundary(bytes, end) {
  if (end >= bytes.length) return bytes.length;
  // UTF-8: the second and later bytes of a character are 10xxxxxx.
  while ((bytes[end] ?? 0) >> 6 === 0b10) end -= 1;
  return end;
}
