/**
 * @module devices/webgpu/wgsl/library
 * The shader's side: pointers, loads and stores through the page table, atomics, spans. Appended to
 * the user's text. layout.ts is what it agrees on with the host; docs/WEBGPU.md shows its use. Its
 * parts: translation-text.ts, access-text.ts, atomics-text.ts.
 */

import { SCALARS, SPANS, accessText, scalarText, spanText, vectorText } from "./access-text.ts";
import { atomicsText } from "./atomics-text.ts";
import {
  CONTROL_BINDING,
  ARGUMENTS_MAX,
  LIBRARY_GROUP,
  LOW_WORD_ENTRIES,
  PARAMETERS_BINDING,
  TABLE_BINDING,
  controlWords,
  framesByBuffer,
  isLow,
  poolBinding,
} from "./layout.ts";
import type { LibraryOptions, SpecialForm } from "./library-options.ts";
import { GATE, entryText, fastText, groupsText, recordingText } from "./translation-text.ts";

export function libraryText(options: LibraryOptions): string {
  const parts = [
    declarations(options),
    POINTERS,
    ...options.specialForms.map(specialText),
    entryText(options.table),
    options.isRecording ? recordingText(options) : fastText(options),
    groupsText(options),
    accessText(options),
    ...(options.usesItems ? [itemsText(options)] : []),
    ...SCALARS.map((scalar) => scalarText(scalar)),
    ...SCALARS.flatMap((scalar) => [2, 3, 4].map((width) => vectorText(scalar, width))),
    SPANS,
    ...SCALARS.map((scalar) => spanText(scalar, options)),
  ];
  if (options.usesAtomics) parts.push(atomicsText(options.pool));
  return parts.join("\n");
}

function declarations(options: LibraryOptions): string {
  const { isRecording, usesAtomics, table, pool } = options;
  const finish = isRecording
    ? `if (${GATE}) { hmm_note_group(); }`
    : "if (hmm_wrong() != 0u) { atomicStore(&hmm_control[0], 1u); }";
  const word = usesAtomics ? "atomic<u32>" : "u32";
  const buffers = framesByBuffer(pool).map((frames, i) => {
    const type = pool.isUnsized === true ? `array<${word}>` : `array<${word}, ${frames * 1024}>`;
    return `@group(${LIBRARY_GROUP}) @binding(${poolBinding(i)})
var<storage, read_write> hmm_pool${i}: ${type};`;
  });
  // An index of it that is beyond counts as missed, whatever is there: hmm_high, hmm_words.
  const isWhole = pool.isUnsized === true && table.isFlat && table.words === LOW_WORD_ENTRIES;
  return `
struct hmm_parameters {
  first: u32, end: u32, fuel: u32, touch: u32,
  groups: vec3u, frames: u32,
  window: vec2u, notes_use: u32, is_replay: u32,
  args: array<vec4u, ${ARGUMENTS_MAX}>,
}
@group(${LIBRARY_GROUP}) @binding(${PARAMETERS_BINDING}) var<uniform> hmm_u: hmm_parameters;
@group(${LIBRARY_GROUP}) @binding(${TABLE_BINDING})
var<storage, read> hmm_table: ${isWhole ? "array<u32>" : `array<u32, ${table.words}>`};
${buffers.join("\n")}
@group(${LIBRARY_GROUP}) @binding(${CONTROL_BINDING})
var<storage, read_write> hmm_control: array<atomic<u32>, ${controlWords(pool.frames)}>;
var<private> hmm_fuel: u32;
var<private> hmm_group: u32;
var<private> hmm_missed: u32;
fn hmm_spent() -> bool {
  hmm_fuel -= min(hmm_fuel, 1u);
  return hmm_fuel == 0u;
}
fn hmm_finish() {
  if (hmm_fuel == 0u) { atomicStore(&hmm_control[2], 1u); }
  ${finish}
}
${ARGUMENTS.map(({ type, is, value }) => `fn arg_${type}(i: u32) -> ${is} { return ${value}; }`).join("\n")}`;
}

/** A pointer is a vec2u: low word, high word, as it lies in memory. */
const POINTERS = `
fn ptr_add(p: vec2u, bytes: u32) -> vec2u {
  let low = p.x + bytes;
  return vec2u(low, p.y + select(0u, 1u, low < p.x));
}
fn ptr_at(p: vec2u, index: u32, bytes: u32) -> vec2u {
  let low = index * bytes;
  let high = ((index >> 16u) * bytes + (((index & 0xffffu) * bytes) >> 16u)) >> 16u;
  let x = p.x + low;
  return vec2u(x, p.y + high + select(0u, 1u, x < low));
}
fn ptr_word(w: u32) -> vec2u {
  let q = ptr_add(hmm_u.window, w << 2u);
  return vec2u(q.x, q.y + (w >> 30u));
}
fn ptr_is_null(p: vec2u) -> bool { return (p.x | p.y) == 0u; }
fn ptr_equal(p: vec2u, q: vec2u) -> bool { return all(p == q); }
`;

/** Of an argument, by its type; `i` stands for its number. */
const ARGUMENTS = [
  { type: "u32", is: "u32", value: "hmm_u.args[i].x" },
  { type: "i32", is: "i32", value: "bitcast<i32>(hmm_u.args[i].x)" },
  { type: "f32", is: "f32", value: "bitcast<f32>(hmm_u.args[i].z)" },
  { type: "ptr", is: "vec2u", value: "hmm_u.args[i].xy" },
] as const;

/** A name with what specialText or itemsText has put behind it. */
export const SPECIAL_NAME: RegExp =
  /^(?:(?:ptr_at|arg_(?:u32|i32|f32|ptr))_\d+|(?:ptr_at|load_(?:u32|i32|f32))_item)$/u;

function specialText({ name, number }: SpecialForm): string {
  const argument = ARGUMENTS.find(({ type }) => name === `arg_${type}`);
  if (argument !== undefined) {
    const value = argument.value.replace("[i]", `[${number}]`);
    return `fn ${name}_${number}(i: u32) -> ${argument.is} { return ${value}; }`;
  }
  return shiftText(`ptr_at_${number}`, number);
}

function shiftText(name: string, number: number): string {
  return `
fn ${name}(p: vec2u, index: u32, bytes: u32) -> vec2u {
  let low = index << ${number}u;
  let x = p.x + low;
  return vec2u(x, p.y + (index >> ${32 - number}u) + select(0u, 1u, x < low));
}`;
}

/**
 * `load_T_item(ptr_at_item(p, i, 4u))`: word i of what begins at p. A fast pass whose table has no
 * address beyond 4 GiB reckons in words, so it needs neither a carry nor a high word: the first
 * word of a p that is wrong by itself is beyond all of them, and so is every word then, or its
 * index. Both are looked at once, when the invocation ends.
 */
function itemsText({ isRecording, table }: LibraryOptions): string {
  const word = `
  let first = select(q.p.x >> 2u, ${2 ** 31}u, (q.p.y | (q.p.x & 3u)) != 0u);
  let word = first + q.i;
  hmm_words |= word | q.i;
  let entry = hmm_table[word >> 10u];
  hmm_rights &= entry;
  return (entry >> 2u) | (word & 1023u);`;
  const isInWords = !isRecording && isLow(table);
  const found = isInWords ? word : ` return hmm_load_at(hmm_at_4(q.p, q.i, 4u));`;
  const loads = SCALARS.map(
    ({ name, from }) =>
      `fn load_${name}_item(q: hmm_item) -> ${name} { return ${from("hmm_get(hmm_item_at(q))")}; }`,
  );
  return `
struct hmm_item { p: vec2u, i: u32, }
fn ptr_at_item(p: vec2u, i: u32, bytes: u32) -> hmm_item { return hmm_item(p, i); }
${shiftText("hmm_at_4", 2)}
fn hmm_item_at(q: hmm_item) -> u32 {${found}
}
${loads.join("\n")}`;
}
