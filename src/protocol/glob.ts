/**
 * Globs as Matrix has them: `*` stands for any run of characters, `?` for one character; case does not matter. No user's text
 * becomes a regular expression: a pattern is run as a bit-parallel automaton, whose time is that of one pass over the text (for
 * each 32 characters of the pattern).
 */
export interface Glob {
  matches(text: string): boolean;
}

/** A glob that must match the whole text. */
export function compileGlob(pattern: string): Glob {
  const glob = pattern.toLowerCase();
  if (!WILD.test(glob)) return { matches: (text) => text.toLowerCase() === glob };
  if (/^\*+$/.test(glob)) return { matches: () => true };
  if (!glob.includes("?")) {
    const pieces = glob.split(/\*+/);
    return { matches: (text) => matchPieces(pieces, text.toLowerCase()) };
  }
  const automaton = new Automaton(glob);
  return { matches: (text) => automaton.run(text.toLowerCase(), false) };
}

/**
 * A glob that must match some part of the text that begins and ends at the edges of words, as push rules match `content.body`: an
 * edge is anywhere but between two characters of a word (letters, marks, digits, connectors).
 */
export function compileWordGlob(pattern: string): Glob {
  return wordMatcher(pattern.toLowerCase(), false);
}

/** As `compileWordGlob`, but `*` and `?` stand for themselves. */
export function compileWords(text: string): Glob {
  return wordMatcher(text.toLowerCase(), true);
}

function wordMatcher(glob: string, literal: boolean): Glob {
  // The longest run of ordinary characters must be there at all: most texts end here.
  const needle = literal ? glob : glob.split(/[*?]+/).reduce((longest, piece) => (piece.length > longest.length ? piece : longest), "");
  const isLiteral = needle === glob;
  let automaton: Automaton | undefined;
  return {
    matches(given) {
      const text = given.toLowerCase();
      const at = text.indexOf(needle);
      if (at === -1) return false;
      if (isLiteral && isEdge(text, at) && isEdge(text, at + needle.length)) return true;
      return (automaton ??= new Automaton(glob, literal)).run(text, true);
    },
  };
}

const WILD = /[*?]/;

/**
 * Matches a pattern that knows only stars, given as what stands between them: the first and last piece are anchored, the others are
 * looked for from left to right, each as early as can be. Case matters.
 */
export function matchPieces(pieces: readonly string[], text: string): boolean {
  const head = pieces[0]!;
  const tail = pieces.at(-1)!;
  if (pieces.length === 1) return text === head;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  let at = head.length;
  const end = text.length - tail.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

/** True unless the positions on both sides of `at` hold characters of one word. */
function isEdge(text: string, at: number): boolean {
  if (at <= 0 || at >= text.length) return true;
  const after = text.codePointAt(at)!;
  const low = text.charCodeAt(at - 1);
  const before = low >= 0xdc00 && low <= 0xdfff && at >= 2 ? text.codePointAt(at - 2)! : low;
  return !(isWordCharacter(before) && isWordCharacter(after));
}

const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

function isWordCharacter(code: number): boolean {
  if (code < 0x80) return (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x5f || (code >= 0x41 && code <= 0x5a);
  return WORD.test(String.fromCodePoint(code));
}

/**
 * Bit i of the state means: the first i characters of the pattern have matched. A star before character i keeps bit i through
 * any character.
 */
class Automaton {
  private readonly words: number;
  private readonly accept: number;
  private readonly stays: Uint32Array;
  private readonly any: Uint32Array;
  private readonly byCharacter = new Map<number, Uint32Array>();

  constructor(glob: string, literal = false) {
    const characters: string[] = [];
    const stars = new Set<number>();
    for (const character of glob) {
      if (character === "*" && !literal) stars.add(characters.length);
      else characters.push(character);
    }
    const wild = literal ? undefined : "?";
    this.accept = characters.length;
    this.words = (characters.length >>> 5) + 1;
    this.stays = this.bits(stars);
    this.any = this.bits(characters.flatMap((character, at) => (character === "?" ? [at] : [])));
    for (const character of new Set(characters)) {
      if (character === wild) continue;
      const places = characters.flatMap((other, at) => (other === character || other === wild ? [at] : []));
      this.byCharacter.set(character.codePointAt(0)!, this.bits(places));
    }
  }

  /** Over the whole text, or over any part of it between edges of words. */
  run(text: string, inWords: boolean): boolean {
    let state = new Uint32Array(this.words);
    let next = new Uint32Array(this.words);
    state[0] = 1;
    if (this.accept === 0 && inWords) return true;
    for (let at = 0; at < text.length;) {
      const code = text.codePointAt(at)!;
      const mask = this.byCharacter.get(code) ?? this.any;
      let carry = 0;
      for (let i = 0; i < this.words; i++) {
        const moved = state[i]! & mask[i]!;
        next[i] = (moved << 1) | carry | (state[i]! & this.stays[i]!);
        carry = moved >>> 31;
      }
      at += code > 0xffff ? 2 : 1;
      [state, next] = [next, state];
      if (inWords && isEdge(text, at)) {
        if (this.accepts(state)) return true;
        state[0]! |= 1;
      }
    }
    return this.accepts(state);
  }

  private accepts(state: Uint32Array): boolean {
    return ((state[this.accept >>> 5]! >>> (this.accept & 31)) & 1) === 1;
  }

  private bits(places: Iterable<number>): Uint32Array {
    const out = new Uint32Array(this.words);
    for (const place of places) out[place >>> 5]! |= 1 << (place & 31);
    return out;
  }
}
