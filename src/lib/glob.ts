/**
 * True when the whole text matches a glob (`*`: anything, `?`: one character), without regard to case. Time grows with the product of the
 * lengths at worst: no pattern makes it explode.
 */
export function matchesGlob(glob: string, text: string): boolean {
  const pattern = [...glob.toLowerCase()];
  const chars = [...text.toLowerCase()];
  let p = 0;
  let t = 0;
  let star = -1;
  let retry = 0;
  while (t < chars.length) {
    if (p < pattern.length && pattern[p] === "*") {
      star = p++;
      retry = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === chars[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++retry;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
