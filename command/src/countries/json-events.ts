/**
 * @module Reads JSON that comes in pieces, and says what comes: nothing is kept but the text of one
 * number or string. For files that are larger than memory should hold.
 */

/** Hears what a JSON text consists of, in its order. */
export interface JsonListener {
  /** `isArray` tells an array from an object. */
  onStart(isArray: boolean): void;
  onEnd(): void;
  onKey(name: string): void;
  onNumber(value: number): void;
  onText(text: string): void;
  /** true, false or null. */
  onLiteral(): void;
}

/** The text is no JSON. */
export class JsonError extends Error {
  constructor(at: number, what: string) {
    super(`it is no JSON at byte ${at}: ${what}`);
    this.name = "JsonError";
  }
}

/** In the longest text of a number, a key or a string that is taken. */
const TOKEN_BYTES_MAX = 65_536;
const DEPTH_MAX = 64;

/** What may come next. */
const VALUE = 0;
const VALUE_OR_END = 1;
const KEY = 2;
const KEY_OR_END = 3;
const COLON = 4;
const COMMA_OR_END = 5;
const NOTHING = 6;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const POWERS: readonly number[] = Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$/;

export class JsonReader {
  readonly #listener: JsonListener;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  readonly #isArray: boolean[] = [];
  #next: number = VALUE;
  /** Of a token that the last piece ended in. */
  #begun: Uint8Array | undefined;
  #read = 0;

  constructor(listener: JsonListener) {
    this.#listener = listener;
  }

  /** Takes the next piece. Throws JsonError, and what the listener throws. */
  push(piece: Uint8Array): void {
    let bytes = piece;
    if (this.#begun !== undefined) {
      bytes = new Uint8Array(this.#begun.length + piece.length);
      bytes.set(this.#begun);
      bytes.set(piece, this.#begun.length);
      this.#read -= this.#begun.length;
      this.#begun = undefined;
    }
    const end = this.#readTokens(bytes, false);
    this.#keep(bytes.subarray(end));
    this.#read += bytes.length;
  }

  /** The text is over. */
  end(): void {
    const rest = this.#begun ?? new Uint8Array(0);
    this.#read -= rest.length;
    this.#begun = undefined;
    const end = this.#readTokens(rest, true);
    if (end < rest.length || this.#next !== NOTHING) this.#fail(rest.length, "it ends too early");
  }

  #keep(rest: Uint8Array): void {
    if (rest.length > TOKEN_BYTES_MAX) this.#fail(0, "a text or a number is too long");
    if (rest.length > 0) this.#begun = rest.slice();
  }

  /** Reads whole tokens, and returns where the first one begins that is not whole. */
  #readTokens(bytes: Uint8Array, isLast: boolean): number {
    let at = 0;
    while (at < bytes.length) {
      const byte = bytes[at]!; // at is below the length
      const after =
        byte <= 0x20
          ? this.#readSpace(at, byte)
          : byte === QUOTE
            ? this.#readText(bytes, at)
            : byte === 0x2d || (byte >= 0x30 && byte <= 0x39)
              ? this.#readNumber(bytes, at, isLast)
              : byte >= 0x61 && byte <= 0x7a
                ? this.#readWord(bytes, at, isLast)
                : this.#readMark(at, byte);
      if (after < 0) return at;
      at = after;
    }
    return at;
  }

  #readSpace(at: number, byte: number): number {
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)
      this.#fail(at, `there is the byte ${byte}`);
    return at + 1;
  }

  #readMark(at: number, byte: number): number {
    const next = this.#next;
    if (byte === 0x2c && next === COMMA_OR_END) {
      this.#next = this.#isArray.at(-1) === true ? VALUE : KEY;
    } else if (byte === 0x3a && next === COLON) {
      this.#next = VALUE;
    } else if (byte === 0x5b || byte === 0x7b) {
      this.#expectValue(at);
      const isArray = byte === 0x5b;
      if (this.#isArray.push(isArray) > DEPTH_MAX) this.#fail(at, "it is nested too deeply");
      this.#next = isArray ? VALUE_OR_END : KEY_OR_END;
      this.#listener.onStart(isArray);
    } else if (byte === 0x5d || byte === 0x7d) {
      const isArray = byte === 0x5d;
      const mayEnd = next === COMMA_OR_END || next === (isArray ? VALUE_OR_END : KEY_OR_END);
      if (!mayEnd || this.#isArray.pop() !== isArray) this.#fail(at, "a bracket is too much");
      this.#afterValue();
      this.#listener.onEnd();
    } else this.#fail(at, `${JSON.stringify(String.fromCharCode(byte))} does not belong there`);
    return at + 1;
  }

  /** Of a text in quotes; -1 if its end is not here. */
  #readText(bytes: Uint8Array, start: number): number {
    let isPlain = true;
    let at = start + 1;
    for (; ; at++) {
      if (at >= bytes.length) return -1;
      const byte = bytes[at]!; // at is below the length
      if (byte === QUOTE) break;
      if (byte >= 0x20 && byte !== BACKSLASH) continue;
      // An escape; or a control character, which JSON.parse refuses.
      isPlain = false;
      if (byte === BACKSLASH) at++;
    }
    const isKey = this.#next === KEY || this.#next === KEY_OR_END;
    if (!isKey) this.#expectValue(start);
    const text = this.#decode(bytes, start, at, isPlain);
    if (isKey) {
      this.#next = COLON;
      this.#listener.onKey(text);
    } else {
      this.#afterValue();
      this.#listener.onText(text);
    }
    return at + 1;
  }

  #decode(bytes: Uint8Array, start: number, end: number, isPlain: boolean): string {
    try {
      const text = this.#decoder.decode(bytes.subarray(start + 1, end));
      if (isPlain) return text;
      return JSON.parse(`"${text}"`) as string; // a JSON string is a string
    } catch {
      return this.#fail(start, "a text is not written well");
    }
  }

  #readNumber(bytes: Uint8Array, start: number, isLast: boolean): number {
    this.#expectValue(start);
    const isNegative = bytes[start] === 0x2d;
    let at = isNegative ? start + 1 : start;
    const first = at;
    let mantissa = 0;
    let decimals = -1;
    let isSimple = true;
    for (; at < bytes.length; at++) {
      const byte = bytes[at]!; // at is below the length
      if (byte >= 0x30 && byte <= 0x39) {
        mantissa = mantissa * 10 + (byte - 0x30);
        if (decimals >= 0) decimals++;
      } else if (byte === 0x2e && decimals < 0) decimals = 0;
      else if (byte === 0x2e || byte === 0x65 || byte === 0x45 || byte === 0x2b || byte === 0x2d)
        isSimple = false;
      else break;
    }
    if (at === bytes.length && !isLast) return -1;
    const length = at - first;
    const hasOddZero = bytes[first] === 0x30 && length > 1 && decimals !== length - 2;
    let value: number;
    // Both are exact as doubles then, so the quotient is the one that is nearest to the number.
    if (isSimple && !hasOddZero && length < 16 && length > 0 && decimals !== 0) {
      value = decimals > 0 ? mantissa / POWERS[decimals]! : mantissa; // below 16 digits
      if (isNegative) value = -value;
    } else value = this.#parse(bytes, start, at);
    this.#afterValue();
    this.#listener.onNumber(value);
    return at;
  }

  #parse(bytes: Uint8Array, start: number, end: number): number {
    const text = this.#decoder.decode(bytes.subarray(start, end));
    return NUMBER.test(text) ? Number(text) : this.#fail(start, "a number is not written well");
  }

  #readWord(bytes: Uint8Array, start: number, isLast: boolean): number {
    this.#expectValue(start);
    let at = start;
    while (at < bytes.length && bytes[at]! >= 0x61 && bytes[at]! <= 0x7a) at++; // below the length
    if (at === bytes.length && !isLast) return -1;
    const word = this.#decoder.decode(bytes.subarray(start, at));
    if (!["true", "false", "null"].includes(word))
      this.#fail(start, "a word does not belong there");
    this.#afterValue();
    this.#listener.onLiteral();
    return at;
  }

  #expectValue(at: number): void {
    if (this.#next !== VALUE && this.#next !== VALUE_OR_END)
      this.#fail(at, "a value does not belong there");
  }

  #afterValue(): void {
    this.#next = this.#isArray.length === 0 ? NOTHING : COMMA_OR_END;
  }

  #fail(at: number, what: string): never {
    throw new JsonError(this.#read + at, what);
  }
}
