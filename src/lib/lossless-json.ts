import { JsonFloat, type Json } from "./json.ts";

/** The text is not JSON, is nested too deeply, has too many values, or holds a number that no double can hold. */
export class JsonError extends Error {
  override name = "JsonError";
}

/**
 * Containers within containers that `parseJson` accepts. Python's parser, and with it Synapse, gives up near 1000; every
 * function here that walks a parsed value by recursion may rely on the bound.
 */
export const MAX_JSON_DEPTH = 1000;

/**
 * The value of a JSON text, exactly: integers beyond 2^53-1 are bigint, floats are `JsonFloat`, all else as by JSON.parse (of
 * duplicate keys the last wins). Lone surrogates in strings (`"\ud800"`) are kept: `stringify` prints them as the same escapes,
 * canonical JSON refuses them. NaN, Infinity, and literals beyond the range of a double are refused. A value takes far more memory than the
 * two bytes that it may be written with: `maxValues` bounds how many there are, counted by what opens a container and by commas.
 * @throws JsonError
 */
export function parseJson(text: string, { maxDepth = MAX_JSON_DEPTH, maxValues = Infinity } = {}): Json {
  if (needsExactNumbers(text, maxDepth, maxValues)) return new Reader(text).document();
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new JsonError((error as Error).message);
  }
}

/**
 * As `JSON.parse`, refusing what is nested too deeply for functions that walk values by recursion.
 * @throws JsonError
 */
export function parsePlainJson(text: string, maxDepth = MAX_JSON_DEPTH): Json {
  // Shorter texts cannot be that deep.
  if (text.length > maxDepth) needsExactNumbers(text, maxDepth, Infinity);
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new JsonError((error as Error).message);
  }
}

const QUOTE = 34;
const BACKSLASH = 92;

/** One pass over the text: checks the depth and how many values there are, and tells whether a number is a float or has 16 digits or more. */
function needsExactNumbers(text: string, maxDepth: number, maxValues: number): boolean {
  let exact = false;
  let depth = 0;
  let values = 0;
  const end = text.length;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      i = endOfString(text, i + 1);
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > maxDepth) throw new JsonError(`JSON nested more than ${maxDepth} deep`);
      values++;
    } else if (code === 0x2c) {
      if (++values > maxValues) throw new JsonError(`JSON of more than ${maxValues} values`);
    } else if (code === 0x5d || code === 0x7d) {
      depth--;
    } else if (code >= 0x30 && code <= 0x39) {
      const start = i;
      let next = code;
      while (next >= 0x30 && next <= 0x39) next = text.charCodeAt(++i);
      // ".", "e" and "E" make a float.
      if (next === 0x2e || next === 0x65 || next === 0x45 || i - start > 15) exact = true;
      i--;
    }
  }
  return exact;
}

/** Index of the quote that ends the string whose first character is at `from`; the text's length when there is none. */
function endOfString(text: string, from: number): number {
  let at = from;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote === -1) return text.length;
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH && quote - 1 - slashes >= from) slashes++;
    if (slashes % 2 === 0) return quote;
    at = quote + 1;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const WHITE = /[ \t\n\r]*/y;

/** Recursive descent over a text whose depth is already known to be bounded. */
class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): Json {
    const value = this.value();
    this.white();
    if (this.at < this.text.length) throw this.unexpected();
    return value;
  }

  private white(): void {
    const code = this.text.charCodeAt(this.at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    WHITE.lastIndex = this.at;
    WHITE.test(this.text);
    this.at = WHITE.lastIndex;
  }

  private value(): Json {
    this.white();
    switch (this.text[this.at]) {
      case "{":
        return this.object();
      case "[":
        return this.array();
      case '"':
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
      default:
        return this.number();
    }
  }

  private object(): Json {
    const out: Record<string, Json> = {};
    this.at++;
    this.white();
    if (this.take("}")) return out;
    for (;;) {
      this.white();
      if (this.text[this.at] !== '"') throw this.unexpected();
      const key = this.string();
      this.white();
      if (!this.take(":")) throw this.unexpected();
      const value = this.value();
      // Plain assignment to this key would set the prototype.
      if (key === "__proto__") Object.defineProperty(out, key, { value, writable: true, enumerable: true, configurable: true });
      else out[key] = value;
      this.white();
      if (this.take("}")) return out;
      if (!this.take(",")) throw this.unexpected();
    }
  }

  private array(): Json {
    const out: Json[] = [];
    this.at++;
    this.white();
    if (this.take("]")) return out;
    for (;;) {
      out.push(this.value());
      this.white();
      if (this.take("]")) return out;
      if (!this.take(",")) throw this.unexpected();
    }
  }

  private string(): string {
    const end = endOfString(this.text, this.at + 1);
    if (end === this.text.length) throw new JsonError(`Unterminated string in JSON at position ${this.at}`);
    const literal = this.text.slice(this.at, end + 1);
    try {
      const value = JSON.parse(literal) as string;
      this.at = end + 1;
      return value;
    } catch {
      throw new JsonError(`Bad string in JSON at position ${this.at}`);
    }
  }

  private number(): Json {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.text);
    if (match === null) throw this.unexpected();
    const [literal, fraction, exponent] = match;
    this.at = NUMBER.lastIndex;
    const value = Number(literal);
    if (fraction !== undefined || exponent !== undefined) {
      if (!Number.isFinite(value)) throw new JsonError(`Number out of range in JSON: ${literal.slice(0, 40)}`);
      return new JsonFloat(value, literal);
    }
    if (Number.isSafeInteger(value)) return value;
    // Reading decimal digits into a bigint takes quadratic time; Python refuses beyond this length too.
    if (literal.length > 4300) throw new JsonError("Integer with too many digits in JSON");
    return BigInt(literal);
  }

  private word<T extends Json>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) throw this.unexpected();
    this.at += word.length;
    return value;
  }

  private take(char: string): boolean {
    if (this.text[this.at] !== char) return false;
    this.at++;
    return true;
  }

  private unexpected(): JsonError {
    if (this.at >= this.text.length) return new JsonError("Unexpected end of JSON input");
    return new JsonError(`Unexpected token ${JSON.stringify(this.text[this.at])} in JSON at position ${this.at}`);
  }
}
