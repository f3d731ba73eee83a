/**
 * @module devices/webgpu/wgsl/library
 * The shader's side: pointers, loads and stores through the page table, atomics, spans. Appended to
 * the user's text. layout.ts is what it agrees on with the host; docs/WEBGPU.md shows its use.
 *
 * Two forms. The fast one notes only that something missed, without a branch: an invocation keeps
 * the AND of the entries that it has loaded through and the OR of their addresses, and looks at
 * them when it ends. The recording one lists which accesses missed, once for each page, and notes
 * which frames were used if it is told to: that takes an atomic load with each access, and twice
 * the time.
 *
 *   W1  A missed load reads 0, from ZERO_FRAME. A missed store goes to SINK_FRAME. The host undoes
 *       such a pass.
 *   W2  A store marks its frame DIRTY, before or after it: the host looks when the pass is over.
 *   W3  In a touch pass no store reaches a page: it only finds out what is needed.
 */

import {
  CONTROL_BINDING,
  DIRTY,
  FAULTS_MAX,
  FAULT_LIST,
  FAULT_WORDS,
  FLAGS,
  ARGUMENTS_MAX,
  GPU_FRAME_SHIFT,
  GPU_READ,
  GPU_WATCHED,
  GROUPS,
  GROUPS_MAX,
  GROUP_LIST,
  GPU_WRITE,
  LEAF_ENTRIES,
  LEAF_SHIFT,
  LIBRARY_GROUP,
  LOW_WORD_ENTRIES,
  PARAMETERS_BINDING,
  type PoolShape,
  SEEN_WORDS,
  SINK_FRAME,
  TABLE_BINDING,
  type TableLayout,
  USED,
  controlWords,
  framesByBuffer,
  isLow,
  poolBinding,
  replayAt,
} from "./layout.ts";

/**
 * A function of the library for one value of an argument, which program.ts calls where the text has
 * that value: `ptr_at_2(p, i, 4u)` shifts by 2, `arg_ptr_3(3u)` is the argument 3. Not every
 * compiler finds that out, and then each address costs twice the operations.
 */
export interface SpecialForm {
  readonly name: string;
  readonly number: number;
}

export interface LibraryOptions {
  readonly isRecording: boolean;
  /** The pool is an array of atomics then. */
  readonly usesAtomics: boolean;
  /** An invocation stores nothing any more when it has missed, or has run out of fuel. */
  readonly isGated: boolean;
  readonly specialForms: readonly SpecialForm[];
  /** The text has elements: ptr_at_item. */
  readonly usesItems: boolean;
  readonly table: TableLayout;
  readonly pool: PoolShape;
}

/** Scalars that an address can hold. `from` makes one of a word, `to` a word of one. */
const SCALARS = [
  { name: "u32", letter: "u", from: (word: string) => word, to: (value: string) => value },
  {
    name: "i32",
    letter: "i",
    from: (word: string) => `bitcast<i32>(${word})`,
    to: (value: string) => `bitcast<u32>(${value})`,
  },
  {
    name: "f32",
    letter: "f",
    from: (word: string) => `bitcast<f32>(${word})`,
    to: (value: string) => `bitcast<u32>(${value})`,
  },
] as const;
type Scalar = (typeof SCALARS)[number];

export function libraryText(options: LibraryOptions): string {
  const parts = [
    declarations(options),
    POINTERS,
    ...options.specialForms.map(specialText),
    entryText(options.table),
    options.isRecording ? recordingText(options) : fastText(options),
    groupsText(options),
    access(options),
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
  const { isRecording, isGated, usesAtomics, table, pool } = options;
  const finish = isRecording
    ? isGated
      ? `if (${GATE}) { hmm_note_group(); }`
      : ""
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

function pageOf(table: TableLayout): string {
  return isLow(table) ? "p.x >> 12u" : "(p.y << 20u) | (p.x >> 12u)";
}

/** Not 0: the high word of an address, or the sum of some, is beyond the table. */
function beyond(high: string, table: TableLayout): string {
  return isLow(table) ? high : `(${high} >> 12u)`;
}

function entryText(table: TableLayout): string {
  const leaf = `hmm_table[page >> ${LEAF_SHIFT}u]`;
  const index = table.isFlat ? "page" : `${leaf} + (page & ${LEAF_ENTRIES - 1}u)`;
  return `
fn hmm_entry(p: vec2u) -> u32 {
  let page = ${pageOf(table)};
  return hmm_table[${index}];
}`;
}

/** Index into the pool of the word at p, for loading and for storing. */
function fastText({ isGated, table }: LibraryOptions): string {
  return `
var<private> hmm_rights: u32 = ${GPU_READ}u;
var<private> hmm_low: u32;
var<private> hmm_high: u32;
var<private> hmm_words: u32;
fn hmm_wrong() -> u32 {
  return hmm_missed | (~hmm_rights & ${GPU_READ}u) | (hmm_low & 3u) | (hmm_words >> 30u) |
    ${beyond("hmm_high", table)};
}
fn hmm_load_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  hmm_rights &= entry;
  hmm_low |= p.x;
  hmm_high |= p.y;
  return ${WORD_AT};
}
fn hmm_store_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  let bad = (~entry & ${GPU_WRITE}u) | (p.x & 3u) | ${beyond("p.y", table)};
  hmm_missed |= bad;
  let sinks = ${isGated ? GATE : "bad != 0u"};
  let frame = select(entry >> ${GPU_FRAME_SHIFT}u, ${SINK_FRAME}u, sinks);
  atomicStore(&hmm_control[${FLAGS}u + frame], ${USED | DIRTY}u);
  return (frame << 10u) | ((p.x >> 2u) & 1023u);
}`;
}

/** The word of the pool: the flags go with the two bits that are shifted out. */
const WORD_AT = "(entry + (p.x & 4095u)) >> 2u";
/** What an invocation would store may be wrong, and where. */
const GATE = "(hmm_wrong() != 0u || hmm_fuel == 0u)";

function recordingText({ isGated, table }: LibraryOptions): string {
  const bad = `(p.x & 3u) | ${beyond("p.y", table)}`;
  return `
fn hmm_wrong() -> u32 { return hmm_missed; }
fn hmm_note(p: vec2u, is_write: u32) {
  hmm_missed = 1u;
  atomicStore(&hmm_control[0], 1u);
  let page = (p.y << 20u) | (p.x >> 12u);
  let tag = max(((page << 1u) | is_write) + 1u, 1u); // 0: nobody has noted anything
  let seen = ${FLAGS}u + hmm_u.frames + ((page * 2654435761u) >> 19u) % ${SEEN_WORDS}u;
  if (atomicLoad(&hmm_control[seen]) == tag) { return; }
  if (atomicExchange(&hmm_control[seen], tag) == tag) { return; }
  let slot = atomicAdd(&hmm_control[1], 1u);
  if (slot >= ${FAULTS_MAX}u) { return; }
  let at = ${FAULT_LIST}u + slot * ${FAULT_WORDS}u;
  atomicStore(&hmm_control[at], p.x);
  atomicStore(&hmm_control[at + 1u], p.y);
  atomicStore(&hmm_control[at + 2u], is_write);
  atomicStore(&hmm_control[at + 3u], hmm_group);
}
fn hmm_load_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  if (((~entry & ${GPU_READ}u) | ${bad}) != 0u) {
    hmm_note(p, 0u);
    return (p.x >> 2u) & 1023u;
  }
  if ((hmm_u.notes_use | (entry & ${GPU_WATCHED}u)) != 0u) {
    let flags = ${FLAGS}u + (entry >> ${GPU_FRAME_SHIFT}u);
    if (atomicLoad(&hmm_control[flags]) == 0u) { atomicOr(&hmm_control[flags], ${USED}u); }
  }
  return ((entry & ~4095u) + (p.x & 4095u)) >> 2u;
}
fn hmm_store_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  var frame = ${SINK_FRAME}u;
  if (((~entry & ${GPU_WRITE}u) | ${bad}) != 0u) {
    hmm_note(p, 1u);
  } else {
    let flags = ${FLAGS}u + (entry >> ${GPU_FRAME_SHIFT}u);
    if (hmm_u.touch != 0u${isGated ? ` || ${GATE}` : ""}) {
      atomicOr(&hmm_control[flags], ${USED}u);
    } else {
      frame = entry >> ${GPU_FRAME_SHIFT}u;
      atomicOr(&hmm_control[flags], ${USED | DIRTY}u);
    }
  }
  return (frame << 10u) | ((p.x >> 2u) & 1023u);
}`;
}

/**
 * Which workgroup an index of a pass means; where the host can run a part of them, which of them
 * have missed, or run out of fuel.
 */
function groupsText({ isRecording, isGated, pool }: LibraryOptions): string {
  if (!isRecording || !isGated) return `fn hmm_group_at(place: u32) -> u32 { return place; }`;
  return `
fn hmm_group_at(place: u32) -> u32 {
  if (hmm_u.is_replay == 0u) { return place; }
  return atomicLoad(&hmm_control[${replayAt(pool.frames)}u + place]);
}
fn hmm_note_group() {
  let seen = ${replayAt(pool.frames) - GROUPS_MAX}u + (hmm_group & ${GROUPS_MAX - 1}u);
  let tag = hmm_group + 1u;
  if (atomicLoad(&hmm_control[seen]) == tag) { return; }
  if (atomicExchange(&hmm_control[seen], tag) == tag) { return; }
  let slot = atomicAdd(&hmm_control[${GROUPS}], 1u);
  if (slot < ${GROUPS_MAX}u) { atomicStore(&hmm_control[${GROUP_LIST}u + slot], hmm_group); }
}`;
}

/**
 * A function of the word `i` of the pool. With one buffer it is no more than its body; else it has
 * a choice by the upper bits of `i`.
 */
function poolFunction(head: string, pool: PoolShape, body: (word: string) => string): string {
  const { bufferFrames } = pool;
  const count = framesByBuffer(pool).length;
  if (count === 1) return `fn ${head} { ${body("hmm_pool0[i]")} }`;
  const shift = Math.log2(bufferFrames * 1024);
  const cases = Array.from({ length: count }, (_, buffer) => {
    const label = buffer === 0 ? "default" : `case ${buffer}u`;
    return `${label}: { ${body(`hmm_pool${buffer}[w]`)} }`;
  });
  return `fn ${head} {
  let w = i & ${bufferFrames * 1024 - 1}u;
  switch (i >> ${shift}u) { ${cases.join(" ")} }
}`;
}

function access({ usesAtomics, pool }: LibraryOptions): string {
  const get = usesAtomics
    ? (word: string) => `return atomicLoad(&${word});`
    : (word: string) => `return ${word};`;
  const set = usesAtomics
    ? (word: string) => `atomicStore(&${word}, v);`
    : (word: string) => `${word} = v;`;
  return `
${poolFunction("hmm_get(i: u32) -> u32", pool, get)}
${poolFunction("hmm_set(i: u32, v: u32)", pool, set)}`;
}

function scalarText({ name, from, to }: Scalar): string {
  return `
fn load_${name}(p: vec2u) -> ${name} { return ${from("hmm_get(hmm_load_at(p))")}; }
fn store_${name}(p: vec2u, v: ${name}) { hmm_set(hmm_store_at(p), ${to("v")}); }`;
}

/** One translation where the vector lies in one page, else one for each component. */
function vectorText({ name, letter, from, to }: Scalar, width: number): string {
  const type = `vec${width}${letter}`;
  const places = Array.from({ length: width }, (_, i) => i);
  const last = 1024 - width;
  const loads = places.map((i) => from(`hmm_get(i + ${i}u)`)).join(", ");
  const slowLoads = places.map((i) => `load_${name}(ptr_add(p, ${i * 4}u))`).join(", ");
  const stores = places.map((i) => `hmm_set(i + ${i}u, ${to(`v[${i}]`)});`).join(" ");
  const slowStores = places.map((i) => `store_${name}(ptr_add(p, ${i * 4}u), v[${i}]);`).join(" ");
  return `
fn load_${type}(p: vec2u) -> ${type} {
  if (((p.x >> 2u) & 1023u) > ${last}u) { return ${type}(${slowLoads}); }
  let i = hmm_load_at(p);
  return ${type}(${loads});
}
fn store_${type}(p: vec2u, v: ${type}) {
  if (((p.x >> 2u) & 1023u) > ${last}u) { ${slowStores} return; }
  let i = hmm_store_at(p);
  ${stores}
}`;
}

/**
 * A run of words from p on that lie in one page: as many as were asked for, or fewer. An index
 * beyond the end means the last word, as in arrays of WGSL.
 */
const SPANS = `
struct span { at: u32, words: u32, }
fn hmm_span(p: vec2u, words: u32, at: u32) -> span {
  return span(at, clamp(words, 1u, 1024u - ((p.x >> 2u) & 1023u)));
}
fn span_read(p: vec2u, words: u32) -> span { return hmm_span(p, words, hmm_load_at(p)); }
fn span_write(p: vec2u, words: u32) -> span { return hmm_span(p, words, hmm_store_at(p)); }
fn load_ptr(p: vec2u) -> vec2u { return load_vec2u(p); }
fn store_ptr(p: vec2u, q: vec2u) { store_vec2u(p, q); }`;

function spanText({ name, from, to }: Scalar, { isGated }: LibraryOptions): string {
  const place = "s.at + min(i, s.words - 1u)";
  const stored = isGated ? `select(${place}, ${SINK_FRAME * 1024}u, ${GATE})` : place;
  return `
fn span_${name}(s: span, i: u32) -> ${name} {
  return ${from(`hmm_get(${place})`)};
}
fn span_set_${name}(s: span, i: u32, v: ${name}) {
  hmm_set(${stored}, ${to("v")});
}`;
}

/** By name: WGSL's function, for u32 and i32. */
const ATOMIC_FUNCTIONS = ["add", "sub", "and", "or", "xor", "exchange"] as const;

/** max and min depend on the sign: for i32 by compare and exchange, as for f32 all is. */
function atomicsText(pool: PoolShape): string {
  const ofU32 = [...ATOMIC_FUNCTIONS, "max", "min"].map((name) => atomicText(name, pool));
  const swap = poolFunction(
    "hmm_swap(i: u32, expected: u32, v: u32) -> u32",
    pool,
    (word) => `
    loop {
      let answer = atomicCompareExchangeWeak(&${word}, expected, v);
      if (answer.exchanged || answer.old_value != expected) { return answer.old_value; }
    }
  `,
  );
  return `
fn hmm_atomic_at(p: vec2u) -> u32 { return hmm_store_at(p); }
${swap}
${ofU32.join("\n")}
fn atomic_load_u32(p: vec2u) -> u32 { return load_u32(p); }
fn atomic_load_i32(p: vec2u) -> i32 { return load_i32(p); }
fn atomic_store_u32(p: vec2u, v: u32) { store_u32(p, v); }
fn atomic_store_i32(p: vec2u, v: i32) { store_i32(p, v); }
fn atomic_compare_exchange_u32(p: vec2u, expected: u32, v: u32) -> u32 {
  let i = hmm_store_at(p);
  if (hmm_u.touch != 0u) { return load_u32(p); }
  return hmm_swap(i, expected, v);
}
fn atomic_compare_exchange_i32(p: vec2u, expected: i32, v: i32) -> i32 {
  return bitcast<i32>(atomic_compare_exchange_u32(p, bitcast<u32>(expected), bitcast<u32>(v)));
}
${atomicBySwap("max", "i32", "max(bitcast<i32>(seen), v)")}
${atomicBySwap("min", "i32", "min(bitcast<i32>(seen), v)")}
${atomicBySwap("add", "f32", "bitcast<f32>(seen) + v")}
${atomicBySwap("max", "f32", "max(bitcast<f32>(seen), v)")}
${atomicBySwap("min", "f32", "min(bitcast<f32>(seen), v)")}
${atomicBySwap("exchange", "f32", "v")}`;
}

function atomicText(name: string, pool: PoolShape): string {
  const call = `atomic${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
  const isSigned = name === "max" || name === "min";
  const ofI32 = isSigned
    ? ""
    : `
fn atomic_${name}_i32(p: vec2u, v: i32) -> i32 {
  return bitcast<i32>(atomic_${name}_u32(p, bitcast<u32>(v)));
}`;
  const head = `hmm_${name}(i: u32, v: u32) -> u32`;
  return `
${poolFunction(head, pool, (word) => `return ${call}(&${word}, v);`)}
fn atomic_${name}_u32(p: vec2u, v: u32) -> u32 {
  let i = hmm_store_at(p);
  if (hmm_u.touch != 0u) { return load_u32(p); }
  return hmm_${name}(i, v);
}${ofI32}`;
}

/** Another invocation's change in between makes it try again. */
function atomicBySwap(name: string, type: string, next: string): string {
  return `
fn atomic_${name}_${type}(p: vec2u, v: ${type}) -> ${type} {
  let i = hmm_store_at(p);
  if (hmm_u.touch != 0u) { return load_${type}(p); }
  var seen = hmm_get(i);
  loop {
    let old = hmm_swap(i, seen, bitcast<u32>(${next}));
    if (old == seen) { break; }
    seen = old;
  }
  return bitcast<${type}>(seen);
}`;
}
