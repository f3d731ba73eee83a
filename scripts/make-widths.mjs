/**
 * @module Makes the typed-access classes of all widths, src/mmu/widths/*.ts, from the class for
 * 32-bit integers, src/mmu/i32-access.ts, which says why. Every build runs it. The result is not
 * committed.
 *
 * A copy is the template with some texts replaced. Each text must occur as often as the table says.
 * So a change of the template without a change of the table is an error.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const template = readFileSync(`${root}src/mmu/i32-access.ts`, "utf8");
const wideTemplate = readFileSync(`${root}src/mmu/i64-access.ts`, "utf8");
const storesTemplate = readFileSync(`${root}src/mmu/i32-stores.ts`, "utf8");
const folder = `${root}src/mmu/widths/`;

/**
 * @typedef {object} Width
 * @property {string} name
 * @property {string} array
 * @property {number} bytes
 * @property {boolean} isFloat
 * @property {string} [field] Of a section, where it is not named as the width.
 */
/**
 * @typedef {readonly [text: string, times: number, replacement: (width: Width) => string]} Place
 */

/** @type {readonly Width[]} */
const widths = [
  { name: "i8", array: "Int8Array", bytes: 1, isFloat: false },
  { name: "u8", array: "Uint8Array", bytes: 1, isFloat: false },
  { name: "i16", array: "Int16Array", bytes: 2, isFloat: false },
  { name: "u16", array: "Uint16Array", bytes: 2, isFloat: false },
  { name: "u32", array: "Uint32Array", bytes: 4, isFloat: false },
  { name: "f32", array: "Float32Array", bytes: 4, isFloat: true },
  { name: "f64", array: "Float64Array", bytes: 8, isFloat: true },
  // Addresses: 8 bytes that are loaded and stored as a double (src/mmu/pointer.ts).
  { name: "ptr", array: "Float64Array", bytes: 8, isFloat: true, field: "f64" },
];

const PAGE_BYTES = 4096;

/**
 * Texts of the template that say how wide it is: how often each stands there, and what replaces it.
 *
 * @type {readonly Place[]}
 */
const places = [
  ["I32Access", 1, ({ name }) => classOf(name)],
  ["I32Stores", 2, storesOf],
  ['"./i32-stores.ts"', 1, ({ name }) => `"./widths/${name}-stores.ts"`],
  ["#home: Int32Array = new Int32Array(0)", 1, ({ array }) => `#home: ${array} = new ${array}(0)`],
  [
    "#elsewhere: Int32Array[] = [new Int32Array(0)]",
    1,
    ({ array }) => `#elsewhere: ${array}[] = [new ${array}(0)]`,
  ],
  [
    "#lastData: Int32Array = new Int32Array(0)",
    1,
    ({ array }) => `#lastData: ${array} = new ${array}(0)`,
  ],
  ["~4092", 1, ({ bytes }) => `~${PAGE_BYTES - bytes}`],
  ["offset >> 2", 1, ({ bytes }) => `offset >> ${Math.log2(bytes)}`],
  ["IntegerAccess<number, Int32Array>", 1, ({ array }) => `IntegerAccess<number, ${array}>`],
  ["target: Int32Array", 2, ({ array }) => `target: ${array}`],
  ["(targetOffset - start) * 4", 1, ({ bytes }) => `(targetOffset - start) * ${bytes}`],
  ["count <= 1024", 1, ({ bytes }) => `count <= ${PAGE_BYTES / bytes}`],
  [
    "(small >>> 2) | (small << 30)",
    2,
    ({ bytes }) => `(small >>> ${Math.log2(bytes)}) | (small << ${(32 - Math.log2(bytes)) % 32})`,
  ],
  ["turned >>> 10", 2, ({ bytes }) => `turned >>> ${12 - Math.log2(bytes)}`],
  ["turned & 1023", 1, ({ bytes }) => `turned & ${PAGE_BYTES / bytes - 1}`],
  ["+ small) >>> 2", 3, ({ bytes }) => `+ small) >>> ${Math.log2(bytes)}`],
  // Every address of a byte is aligned, so none of its bits is known to be 0.
  ["& small & 3]", 2, ({ bytes }) => (bytes === 1 ? "& this.#zero]" : `& small & ${bytes - 1}]`)],
  // Of a byte the 1 in the word of a page at home counts (src/mmu/page-words.ts).
  ["(word + small)", 1, ({ bytes }) => (bytes === 1 ? "(word + small - 1)" : "(word + small)")],
  ["(address, 4, this)", 3, ({ bytes }) => `(address, ${bytes}, this)`],
  ["(address, 4, this, tries)", 1, ({ bytes }) => `(address, ${bytes}, this, tries)`],
  ["PAGE_BYTES / 4", 1, ({ bytes }) => `PAGE_BYTES / ${bytes}`],
  [
    "(address - page * PAGE_BYTES) / 4",
    2,
    ({ bytes }) => `(address - page * PAGE_BYTES) / ${bytes}`,
  ],
  [".section!.i32", 1, ({ name, field = name }) => `.section!.${field}`],
  [".lastSection!.i32", 1, ({ name, field = name }) => `.lastSection!.${field}`],
  [".arrays!.i32", 3, ({ name, field = name }) => `.arrays!.${field}`],
  [" arrays.i32;", 2, ({ name, field = name }) => ` arrays.${field};`],
];

/**
 * The same of the template of stores.
 *
 * @type {readonly Place[]}
 */
const storePlaces = [
  ["I32Stores", 1, storesOf],
  [
    "NO_ELEMENTS: Int32Array = new Int32Array(0)",
    1,
    ({ array }) => `NO_ELEMENTS: ${array} = new ${array}(0)`,
  ],
  ["data: Int32Array = NO_ELEMENTS", 1, ({ array }) => `data: ${array} = NO_ELEMENTS`],
  ["#known: Int32Array", 1, ({ array }) => `#known: ${array}`],
  ["{ i32 }: FrameArrays", 1, ({ name, field = name }) => `{ ${field} }: FrameArrays`],
  ["#known = i32", 1, ({ name, field = name }) => `#known = ${field}`],
  ["(small & 3)", 1, ({ bytes }) => `(small & ${bytes - 1})`],
  // Of a byte the 1 in what is known of its page counts (store-mark.ts).
  [
    "(known + small) >>> 2",
    1,
    ({ bytes }) => `(known + small${bytes === 1 ? " - 1" : ""}) >>> ${Math.log2(bytes)}`,
  ],
  ["0x80000003", 1, ({ bytes }) => `0x8000000${bytes - 1}`],
  ["& 4095) >> 2", 1, ({ bytes }) => `& 4095) >> ${Math.log2(bytes)}`],
  ["(address, 4, this)", 3, ({ bytes }) => `(address, ${bytes}, this)`],
  ["frame << 10", 1, ({ bytes }) => `frame << ${12 - Math.log2(bytes)}`],
  ["PAGE_BYTES / 4", 1, ({ bytes }) => `PAGE_BYTES / ${bytes}`],
  [
    "pending: Int32Array = new Int32Array(1)",
    1,
    ({ array }) => `pending: ${array} = new ${array}(1)`,
  ],
  ["offset / 4", 1, ({ bytes }) => `offset / ${bytes}`],
  ["section.i32", 1, ({ name, field = name }) => `section.${field}`],
];

/**
 * What a float has instead: its bits by way of memory.
 *
 * @type {readonly Place[]}
 */
const floatPlaces = [
  ["this.#loadSecond(address) | 0", 1, () => "+this.#loadSecond(address)"],
  ["IntegerAccess", 2, () => "ValueAccess"],
  ["  return value | 0;", 1, () => "  scratch[0] = value;\n  return scratch[0]!;"],
  ["  return value;\n}", 1, () => "  scratch[0] = value;\n  return scratchBits[0]!;\n}"],
  // Of a record once, of the sum: it depends on every element, whatever it is.
  ["bits |= bitsOf(value);", 2, () => "sum += value;"],
  ["let bits = 0;", 2, () => "let sum = 0;"],
  ["[bits & this.#zero]", 2, () => "[bitsOf(sum) & this.#zero]"],
  [
    "/** What a store writes.",
    1,
    ({ array }) =>
      `/** CPUs keep the order of reads also along a dependency through a store and the same thread's read. */
// Over a buffer: a small array without one lies in V8's heap, and has no constant address.
const scratch = new ${array}(new ArrayBuffer(8));
const scratchBits = new Int32Array(scratch.buffer);

/** What a store writes.`,
  ],
];

/**
 * Of words without a sign: a store converts to one, bits are a word with a sign.
 *
 * @type {readonly Place[]}
 */
const unsignedWordPlaces = [
  ["return value | 0;", 1, () => "return value >>> 0;"],
  ["  return value;\n}", 1, () => "  return value | 0;\n}"],
  ["this.#loadSecond(address) | 0", 1, () => "this.#loadSecond(address) >>> 0"],
];

/**
 * Of addresses: what a load gives and a store takes are the two halves of the double. They are read
 * without a sign, or V8 would test what is made unsigned for the sign. Applied after those of
 * floats.
 *
 * @type {readonly Place[]}
 */
const pointerPlaces = [
  ["const scratchBits = new Int32Array", 1, () => "const scratchBits = new Uint32Array"],
  ...["small & 7", "this.#zero"].map(
    (zero) =>
      /** @type {Place} */ ([
        `if (this.#epochWord[bitsOf(value) & ${zero}] === this.#epoch) return value;`,
        2,
        () => `const low = bitsOf(value);
          const high = scratchBits[1]!;
          if (this.#epochWord[low & ${zero}] === this.#epoch)
            return high === 0 ? low : pointerOf(high, low, address);`,
      ]),
  ),
  // Only when the check has held: of an attempt that fails it no address need be one.
  [
    "=== this.#epoch) return;",
    1,
    () => `=== this.#epoch) {
          convertPointers(target, targetOffset, targetOffset + count, address);
          return;
        }`,
  ],
  [
    "        start = stop;",
    1,
    () => "        convertPointers(target, start, stop, at);\n        start = stop;",
  ],
  [
    `  if (typeof value !== "number") throwNoValue(value, "a number", accessor);
  scratch[0] = value;
  return scratch[0]!;`,
    1,
    () => `  if (!(typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER && Math.floor(value) === value))
    throwNotPointer(value, accessor);
  scratchBits[0] = value;
  scratchBits[1] = Math.floor(value / 2 ** 32);
  return scratch[0]!;`,
  ],
  [
    "/** An integer that depends on the value",
    1,
    () => `/** The address that has these two halves; \`address\` is where it was. */
const pointerOf = (high: number, low: number, address: number): number => {
  if (high >= 2 ** 21) throwTooHigh(address);
  return high * 2 ** 32 + low;
};

/** What was loaded of a record, as doubles, becomes addresses. The first was at \`address\`. */
const convertPointers = (
  target: Float64Array,
  start: number,
  end: number,
  address: number,
): void => {
  for (let i = start; i < end; i++) {
    const low = bitsOf(target[i]!);
    target[i] = pointerOf(scratchBits[1]!, low, address + (i - start) * 8);
  }
};

/** An integer that depends on the value`,
  ],
  [
    'import { checkTarget, throwNoAddress, throwNoValue } from "./address.ts";',
    1,
    () => `import { checkTarget, throwNoAddress } from "./address.ts";
import { throwNotPointer, throwTooHigh } from "./pointer.ts";`,
  ],
];

const INTEGERS_ONLY = "\n\n  // Integers only, from here to the end of the class.\n";

/**
 * @param {string} text
 * @param {readonly Place[]} table
 * @param {Width} width
 * @param {string} [source]
 */
function replaceAll(text, table, width, source = "i32-access") {
  let replaced = text;
  for (const [place, times, replacement] of table) {
    const parts = replaced.split(place);
    if (parts.length !== times + 1) {
      throw new Error(
        `src/mmu/${source}.ts has "${place}" ${parts.length - 1} times, not ${times}: mend scripts/make-widths.mjs`,
      );
    }
    replaced = parts.join(replacement(width));
  }
  return replaced;
}

/**
 * Takes away what only integers have, and the imports that nobody names then.
 *
 * @param {string} text
 */
function withoutIntegers(text) {
  const end = text.indexOf(INTEGERS_ONLY);
  if (end < 0)
    throw new Error("src/mmu/i32-access.ts does not say where what only integers have begins");
  return `${text.slice(0, end)}\n}\n`
    .replace(/import \{\n {2}atomicAdd,[^}]*\} from "\.\.\/sync\/atomics\.ts";\n/, "")
    .replace(/import \{ accessDone, accessFrom \}.*\n/, "")
    .replace("import { checkRetry, checkTarget, pageOf,", "import { checkTarget,")
    .replace('import { generationIndex } from "../sync/primitives/shootdown.ts";\n', "")
    .replace(/import type \{ AtomicArray \}.*\n/, "")
    .replace(/type Modify = .*\n\n/, "")
    .replace(/ {2}\/\*\* Whether an atomic load.*?\n {2}readonly #loadsInRam: boolean;\n/s, "")
    .replace(/ {4}this\.#loadsInRam = .*\n/, "");
}

/** @param {Width} width */
function storesOf({ name }) {
  return classOf(name).replace("Access", "Stores");
}

/** @param {string} name */
function classOf(name) {
  return name === "ptr" ? "PtrAccess" : `${name.toUpperCase()}Access`;
}

/** @param {Width} width */
function textOf(width) {
  const replaced = replaceAll(bodyOf(template), places, width);
  if (width.name === "u32") return replaceAll(replaced, unsignedWordPlaces, width);
  if (!width.isFloat) return replaced;
  const float = withoutIntegers(replaceAll(replaced, floatPlaces, width));
  return width.name === "ptr" ? replaceAll(float, pointerPlaces, width) : float;
}

/** @param {string} text A template, without its head. */
function bodyOf(text) {
  return text.slice(text.indexOf("import "));
}

/**
 * @param {string} name
 * @param {string} source
 * @param {string} text
 */
function write(name, source, text) {
  const what = source.slice(source.indexOf("-"));
  const head = `/** @module Made from src/mmu/${source}.ts by scripts/make-widths.mjs: change that. */\n\n`;
  const path = `${folder}${name}${what}.ts`;
  const whole = head + text.replaceAll('"../', '"../../').replaceAll('"./', '"../');
  let old = "";
  try {
    old = readFileSync(path, "utf8");
  } catch {
    // Not made yet.
  }
  // A file that is the same is left as it is, so that what depends on it is not built again.
  if (old !== whole) writeFileSync(path, whole);
}

/**
 * @param {Width} width
 * @param {string} element What a program gives to be stored.
 */
function writeStores(width, element = "number") {
  const { name } = width;
  const text = replaceAll(bodyOf(storesTemplate), storePlaces, width, "i32-stores");
  write(name, "i32-stores", text.replace("element: number", `element: ${element}`));
}

mkdirSync(folder, { recursive: true });
for (const width of widths) {
  write(width.name, "i32-access", textOf(width));
  writeStores(width);
}
writeStores({ name: "i64", array: "BigInt64Array", bytes: 8, isFloat: false }, "bigint");
writeStores({ name: "u64", array: "BigUint64Array", bytes: 8, isFloat: false }, "bigint");
const unsigned = bodyOf(wideTemplate)
  .replaceAll("I64Access", "U64Access")
  .replaceAll("I64Stores", "U64Stores")
  .replaceAll("i64-stores", "u64-stores")
  .replaceAll(".i64", ".u64")
  .replaceAll("BigInt64Array", "BigUint64Array")
  .replace("asIntN", "asUintN");
write("u64", "i64-access", unsigned);
