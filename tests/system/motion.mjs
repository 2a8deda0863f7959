// What moves on a desktop of these tests: a terminal that no two frames of are alike, nor text.

/** Prints a screen of letters, each of which has colours of its own, for a shell. */
export const NOISE = [
  'head -c 4000 /dev/urandom',
  'od -An -v -w156 -tu1',
  "sed 's/ *\\([0-9]\\+\\) *\\([0-9]\\+\\)/\\x1b[38;5;\\1;48;5;\\2m#/g'",
].join(' | ');
