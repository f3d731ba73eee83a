/**
 * @module devices/webgpu/wgsl/type-layout
 * How many bytes a variable of a user's text needs of what is bound to it: WGSL's sizes and
 * alignments of host-shareable types. A type that it cannot read (a length that is no sum or
 * product of numbers and constants, a type of another library) needs nothing here, and is left to
 * WebGPU.
 */

import { type Field, type Token, type WgslText, closingOf, tokensOf } from "./scan.ts";

interface Layout {
  readonly sizeBytes: number;
  readonly alignBytes: number;
  /** Up to the end of its last value: what lies behind that nobody can read. */
  readonly usedBytes: number;
}

/** What must be bound to a variable of `type`, up to its last value; undefined: unknown. */
export function usedBytesOf(wgsl: WgslText, type: string): number | undefined {
  return new TypeReader(wgsl).read(tokensOf(type))?.usedBytes;
}

const SCALARS: ReadonlyMap<string, number> = new Map([
  ["f16", 2],
  ["f32", 4],
  ["i32", 4],
  ["u32", 4],
]);

/** Of `vec3f` and `mat2x3h`. */
const SUFFIXES: ReadonlyMap<string, number> = new Map([
  ["h", 2],
  ["f", 4],
  ["i", 4],
  ["u", 4],
]);

const VECTOR = /^vec([234])([hfiu]?)$/u;
const MATRIX = /^mat([234])x([234])([hf]?)$/u;
const NUMBER = /^(?:0x[0-9a-f]+|[0-9]+)[iu]?$/iu;

/** Structures and aliases in each other at most: a text that compiles has no circles. */
const DEPTH_MAX = 32;

class TypeReader {
  readonly #wgsl: WgslText;
  #depth = 0;

  constructor(wgsl: WgslText) {
    this.#wgsl = wgsl;
  }

  read(tokens: readonly Token[]): Layout | undefined {
    if (this.#depth === DEPTH_MAX) return undefined;
    this.#depth++;
    const layout = this.#read(tokens);
    this.#depth--;
    return layout;
  }

  #read(tokens: readonly Token[]): Layout | undefined {
    const name = tokens[0]?.text ?? "";
    const scalar = SCALARS.get(name);
    if (scalar !== undefined) return plain(scalar, scalar);
    const [first, second] = templateArguments(tokens);
    if (name === "atomic") return plain(4, 4);
    if (name === "array") return this.#array(first, second);
    const [, rows = "", suffix = ""] = VECTOR.exec(name) ?? [];
    if (rows !== "") return vector(Number(rows), this.#componentBytes(suffix, first));
    const [, columns = "", height = "", kind = ""] = MATRIX.exec(name) ?? [];
    if (columns !== "")
      return repeated(vector(Number(height), this.#componentBytes(kind, first)), Number(columns));
    const members = this.#wgsl.structures.get(name);
    if (members !== undefined) return this.#structure(members);
    const alias = this.#wgsl.aliases.get(name);
    return alias === undefined ? undefined : this.read(tokensOf(alias));
  }

  #componentBytes(suffix: string, argument: readonly Token[] | undefined): number | undefined {
    return SUFFIXES.get(suffix) ?? this.read(argument ?? [])?.sizeBytes;
  }

  /** An array without a length has one element at least. */
  #array(
    element: readonly Token[] | undefined,
    length: readonly Token[] | undefined,
  ): Layout | undefined {
    return repeated(this.read(element ?? []), length === undefined ? 1 : this.#number(length));
  }

  #structure(members: readonly Field[]): Layout | undefined {
    let [end, alignBytes, usedBytes] = [0, 1, 0];
    for (const { type, attributes } of members) {
      const layout = this.read(tokensOf(type));
      const given = (name: string, otherwise: number): number | undefined => {
        const attribute = attributes.find((one) => one.name === name);
        return attribute === undefined ? otherwise : this.#number(tokensOf(attribute.arguments));
      };
      if (layout === undefined) return undefined;
      const align = given("align", layout.alignBytes);
      const size = given("size", layout.sizeBytes);
      if (align === undefined || size === undefined || align === 0) return undefined;
      const at = roundUp(end, align);
      usedBytes = at + layout.usedBytes;
      end = at + size;
      alignBytes = Math.max(alignBytes, align);
    }
    return { sizeBytes: roundUp(end, alignBytes), alignBytes, usedBytes };
  }

  /** The value of sums and products of numbers and constants; undefined: it is something else. */
  #number(tokens: readonly Token[]): number | undefined {
    if (this.#depth === DEPTH_MAX) return undefined;
    this.#depth++;
    const value = new Sum(tokens, (name) => this.#constant(name)).value();
    this.#depth--;
    return value;
  }

  #constant(name: string): number | undefined {
    const { tokens } = this.#wgsl;
    const at = tokens.findIndex(
      ({ text }, i) => text === "const" && tokens[i + 1]?.text === name && name !== "",
    );
    if (at < 0) return undefined;
    const equals = tokens.findIndex(({ text }, i) => i > at && text === "=");
    const end = tokens.findIndex(({ text }, i) => i > at && text === ";");
    return equals < 0 || equals > end ? undefined : this.#number(tokens.slice(equals + 1, end));
  }
}

/** `a * (b + 2u)`, read from left to right. */
class Sum {
  readonly #tokens: readonly Token[];
  readonly #constant: (name: string) => number | undefined;
  #at = 0;

  constructor(tokens: readonly Token[], constant: (name: string) => number | undefined) {
    this.#tokens = tokens;
    this.#constant = constant;
  }

  value(): number | undefined {
    const value = this.#sum();
    return this.#at === this.#tokens.length && Number.isSafeInteger(value) ? value : undefined;
  }

  #sum(): number {
    let sum = this.#product();
    for (;;) {
      if (this.#takes("+")) sum += this.#product();
      else if (this.#takes("-")) sum -= this.#product();
      else return sum;
    }
  }

  #product(): number {
    let product = this.#one();
    for (;;) {
      if (this.#takes("*")) product *= this.#one();
      else if (this.#takes("/")) product = Math.trunc(product / this.#one());
      else return product;
    }
  }

  /** NaN: it is neither a number nor a constant. */
  #one(): number {
    const { text } = this.#tokens[this.#at] ?? { text: "" };
    if (text === "(") {
      const close = closingOf(this.#tokens, this.#at);
      const inside = new Sum(this.#tokens.slice(this.#at + 1, close), this.#constant);
      this.#at = close + 1;
      return inside.value() ?? Number.NaN;
    }
    this.#at++;
    if (NUMBER.test(text)) return Number(text.replace(/[iu]$/u, ""));
    return this.#constant(text) ?? Number.NaN;
  }

  #takes(sign: string): boolean {
    if (this.#tokens[this.#at]?.text !== sign) return false;
    this.#at++;
    return true;
  }
}

function plain(sizeBytes: number, alignBytes: number): Layout {
  return { sizeBytes, alignBytes, usedBytes: sizeBytes };
}

function vector(rows: number, componentBytes: number | undefined): Layout | undefined {
  if (componentBytes === undefined) return undefined;
  return plain(rows * componentBytes, (rows === 2 ? 2 : 4) * componentBytes);
}

function repeated(element: Layout | undefined, times: number | undefined): Layout | undefined {
  if (element === undefined || times === undefined || times < 1) return undefined;
  const { alignBytes } = element;
  const strideBytes = roundUp(element.sizeBytes, alignBytes);
  const usedBytes = (times - 1) * strideBytes + element.usedBytes;
  return { sizeBytes: times * strideBytes, alignBytes, usedBytes };
}

function roundUp(bytes: number, alignBytes: number): number {
  return Math.ceil(bytes / alignBytes) * alignBytes;
}

/** What stands between `<` and `>`, split at the commas that belong to it. */
function templateArguments(tokens: readonly Token[]): (readonly Token[])[] {
  const found: Token[][] = [];
  let depth = 0;
  let argument: Token[] = [];
  for (const token of tokens.slice(1)) {
    const { text } = token;
    if (text === "<" || text === "(") depth++;
    if (text === ">" || text === ")") depth--;
    const isBorder = (text === "<" && depth === 1) || depth === 0 || (text === "," && depth === 1);
    if (!isBorder) argument.push(token);
    else if (argument.length > 0) {
      found.push(argument);
      argument = [];
    }
  }
  return found;
}
