// What moves on a desktop of these tests: terminals of which no two frames are alike.

/** Prints a screen of letters, each of which has colours of its own, for a shell. */
export const NOISE = [
  'head -c 4000 /dev/urandom',
  'od -An -v -w156 -tu1',
  "sed 's/ *\\([0-9]\\+\\) *\\([0-9]\\+\\)/\\x1b[38;5;\\1;48;5;\\2m#/g'",
].join(' | ');

/** Prints a screen of letters that nobody has foreseen, for a shell. */
export const TEXT = 'head -c 3000 /dev/urandom | base64 -w 78';
