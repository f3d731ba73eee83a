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
const folder = `${root}src/mmu/widths/`;

/** @typedef {{ name: string, array: string, bytes: number, isFloat: boolean }} Width */
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
];

const PAGE_BYTES = 4096;

/**
 * Texts of the template that say how wide it is: how often each stands there, and what replaces it.
 *
 * @type {readonly Place[]}
 */
const places = [
  ["I32Access", 1, ({ name }) => `${name.toUpperCase()}Access`],
  ["new StoreTlb(tlb, 4, item)", 1, ({ bytes }) => `new StoreTlb(tlb, ${bytes}, item)`],
  ["#data: Int32Array = new Int32Array(0)", 1, ({ array }) => `#data: ${array} = new ${array}(0)`],
  ["~4092", 1, ({ bytes }) => `~${PAGE_BYTES - bytes}`],
  ["offset >> 2", 1, ({ bytes }) => `offset >> ${Math.log2(bytes)}`],
  ["0x80000003", 1, ({ bytes }) => `0x8000000${bytes - 1}`],
  ["& 4095) >> 2", 1, ({ bytes }) => `& 4095) >> ${Math.log2(bytes)}`],
  ["this.#base) >> 2", 1, ({ bytes }) => `this.#base) >> ${Math.log2(bytes)}`],
  ["pageOf(address, 4)", 2, ({ bytes }) => `pageOf(address, ${bytes})`],
  ["frame << 10", 2, ({ bytes }) => `frame << ${12 - Math.log2(bytes)}`],
  ["PAGE_BYTES / 4", 1, ({ bytes }) => `PAGE_BYTES / ${bytes}`],
  [
    "(address - page * PAGE_BYTES) / 4",
    1,
    ({ bytes }) => `(address - page * PAGE_BYTES) / ${bytes}`,
  ],
  [".section!.i32", 5, ({ name }) => `.section!.${name}`],
  ["section.i32;", 1, ({ name }) => `section.${name};`],
];

/**
 * What a float has instead: its bits by way of memory, and a load that tries again.
 *
 * @type {readonly Place[]}
 */
const floatPlaces = [
  [
    "): number {\n    const distance",
    1,
    () => "): number {\n    for (let tries = 0; ; tries++) {\n    const distance",
  ],
  [
    "    return this.#loadSecond(address) | 0;\n",
    1,
    () => "    this.#aimAt(address, tries);\n    }\n",
  ],
  ["IntegerAccess", 2, () => "ValueAccess"],
  ["  return value | 0;", 1, () => "  scratch[0] = value;\n  return scratch[0]!;"],
  ["  return value;\n}", 1, () => "  scratch[0] = value;\n  return scratchBits[0]!;\n}"],
  [
    "/** What a store writes.",
    1,
    ({ array }) =>
      `/** CPUs keep the order of reads also along a dependency through a store and the same thread's read. */
const scratch = new ${array}(1);
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

const INTEGERS_ONLY = "\n\n  // Integers only, from here to the end of the class.\n";

/**
 * @param {string} text
 * @param {readonly Place[]} table
 * @param {Width} width
 */
function replaceAll(text, table, width) {
  let replaced = text;
  for (const [place, times, replacement] of table) {
    const parts = replaced.split(place);
    if (parts.length !== times + 1) {
      throw new Error(
        `src/mmu/i32-access.ts has "${place}" ${parts.length - 1} times, not ${times}: mend scripts/make-widths.mjs`,
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
    .replace(
      /import \{\n {2}atomicAdd,[^}]*\} from "\.\.\/sync\/atomics\.ts";\n/,
      'import { speculativeLoad } from "../sync/atomics.ts";\n',
    )
    .replace(/import type \{ AtomicArray \}.*\n/, "")
    .replace(/type Modify = .*\n\n/, "")
    .replace(/ {2}\/\*\* Whether an atomic load.*?\n {2}readonly #loadsInRam: boolean;\n/s, "")
    .replace(/ {4}this\.#loadsInRam = .*\n/, "");
}

/** @param {Width} width */
function make(width) {
  const head = `/** @module Made from src/mmu/i32-access.ts by scripts/make-widths.mjs: change that. */\n\n`;
  const body = template.slice(template.indexOf("import "));
  const replaced = replaceAll(body, places, width);
  const own = (width.isFloat ? withoutIntegers(replaceAll(replaced, floatPlaces, width)) : replaced)
    .replaceAll('"../', '"../../')
    .replaceAll('"./', '"../');
  return head + (width.name === "u32" ? replaceAll(own, unsignedWordPlaces, width) : own);
}

mkdirSync(folder, { recursive: true });
for (const width of widths) {
  const path = `${folder}${width.name}-access.ts`;
  const text = make(width);
  let old = "";
  try {
    old = readFileSync(path, "utf8");
  } catch {
    // Not made yet.
  }
  // A file that is the same is left as it is, so that what depends on it is not built again.
  if (old !== text) writeFileSync(path, text);
}
