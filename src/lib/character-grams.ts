/**
 * Text in scripts whose words no spaces part (or, as in Korean, in which a word carries its endings), taken apart into single characters
 * and pairs of neighbours, so that an index finds any run of characters.
 */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}\p{Script=Yi}ー々〆]/u;
const RUNS = new RegExp(`(?:${UNSPACED.source})+`, "gu");

/** Upper and lower case, full and half width, composed and decomposed letters are alike. */
export function normaliseText(text: string): string {
  return text.normalize("NFKC").toLowerCase();
}

/** True when the text has words of a script that does not divide them. */
export function hasUnspaced(text: string): boolean {
  return UNSPACED.test(text);
}

/** Single characters and pairs of a normalised text's unspaced runs, each once. */
export function gramsOf(text: string): string[] {
  const grams = new Set<string>();
  for (const [run] of text.matchAll(RUNS)) {
    const characters = [...run];
    for (const [index, character] of characters.entries()) {
      grams.add(character);
      if (index > 0) grams.add(characters[index - 1]! + character);
    }
  }
  return [...grams];
}

/** What a text must have to hold this normalised piece: its pairs, or the single characters that have no neighbour. */
export function gramsToFind(piece: string): string[] {
  const grams = new Set<string>();
  for (const [run] of piece.matchAll(RUNS)) {
    const characters = [...run];
    if (characters.length === 1) grams.add(run);
    for (let index = 1; index < characters.length; index++) grams.add(characters[index - 1]! + characters[index]!);
  }
  return [...grams];
}
