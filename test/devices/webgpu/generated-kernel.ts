/**
 * @module Kernels at random, for comparing the paged device with plain WebGPU. Whatever the order
 * in which workgroups run, the words that a kernel leaves are the same: what atomics return is used
 * as an address, but never as a value.
 */

import { diceOf } from "../../dice.ts";
/** The memory of a generated kernel: regions of pages, one after the other. */
export interface Regions {
  /** Words that are only read, and nodes of 16 bytes: pointer to another one, value, 0. */
  readonly readPages: number;
  readonly nodePages: number;
  /** Slots of the invocations. */
  readonly ownPages: number;
  readonly atomicPages: number;
  readonly listPages: number;
  /** Direct ranges: words that are only read, and sums. */
  readonly rangePages: number;
  readonly sumPages: number;
}

export interface GeneratedKernel {
  readonly code: string;
  /** It may be declared pure: what it stores, no other invocation loads. */
  readonly isPure: boolean;
  readonly workgroups: number;
  readonly regions: Regions;
}

/** Words of what the kernel has bound: sums that it adds to, and a table. */
export const BOUND_WORDS = 64;

const SIZE = 64;
/** Slots of an invocation. */
const SLOTS = 4;
const WORDS = 1023; // of a page: the last one is the CPU's

/** `isPure`: without atomics, workgroup memory, and variables of its own that it stores to. */
export function generateKernel(seed: number, isPure: boolean = false): GeneratedKernel {
  const random = diceOf(seed);
  const operations = isPure ? PURE_OPERATIONS : [...PURE_OPERATIONS, ...SHARING_OPERATIONS];
  const workgroups = 1 + random(24);
  const invocations = workgroups * SIZE;
  const steps = 3 + random(6);
  const lines: string[] = [];
  let appends = 0;
  for (let step = 0; step < steps; step++) {
    const kind = random(operations.length);
    const operation = operations[kind] ?? operations[0]!; // an index below its length
    if (operation === append && ++appends > 2) continue;
    lines.push(`  ${operation(random)}`);
  }
  const sumAt = random(lines.length);
  const rangeAt = random(lines.length);
  lines.splice(
    rangeAt,
    0,
    "  x += range_words[spread(vec2u(), hash(x), PAGES_rangePages).x / 4u];",
  );
  if (!isPure) {
    lines.splice(
      rangeAt,
      0,
      `  atomicAdd(&range_sums[spread(vec2u(), hash(x + ${random(9)}u), PAGES_sumPages).x / 4u], x & 7u);`,
    );
    lines.splice(sumAt, 0, `  atomicAdd(&bound_sums[hash(x) % ${BOUND_WORDS}u], x & 15u);`);
  }
  lines.push("  store_u32(own(g, 0u), x);");
  const regions: Regions = {
    readPages: 1 + random(24),
    nodePages: 1 + random(24),
    ownPages: Math.ceil((invocations * SLOTS) / WORDS) + random(8),
    atomicPages: 1 + random(12),
    listPages: 1 + Math.ceil((invocations * 2 + 1) / WORDS),
    rangePages: 1 + random(6),
    sumPages: 1 + random(3),
  };
  const code = `
@group(1) @binding(1) var<storage, read> bound_table: array<u32, ${BOUND_WORDS}>;
@group(1) @binding(2) var<storage, read> range_words: array<u32>;
${isPure ? "" : SHARED_VARIABLES}
fn hash(x: u32) -> u32 { return ((x ^ (x >> 15u)) * 0x2c1b3c6du) ^ (x >> 3u); }
fn spread(base: vec2u, i: u32, pages: u32) -> vec2u {
  let n = pages * ${WORDS}u;
  let k = i % n;
  return ptr_at(base, k / ${WORDS}u * 1024u + k % ${WORDS}u, 4u);
}
fn own(g: u32, slot: u32) -> vec2u {
  let i = slot * ${invocations}u + g;
  return ptr_at(arg_ptr(2u), i / ${WORDS}u * 1024u + i % ${WORDS}u, 4u);
}
@compute @workgroup_size(${SIZE})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) li: u32) {
  let g = id.x;
  var x = hash(g + ${seed >>> 0}u) + bound_table[g % ${BOUND_WORDS}u];
${lines.join("\n")}
}
`;
  const filled = code.replace(/PAGES_(\w+)/gu, (_, name: keyof Regions) => `${regions[name]}u`);
  return { code: filled, isPure, workgroups, regions };
}

const SHARED_VARIABLES = `
@group(1) @binding(0) var<storage, read_write> bound_sums: array<atomic<u32>, ${BOUND_WORDS}>;
@group(1) @binding(3) var<storage, read_write> range_sums: array<atomic<u32>>;
var<workgroup> shared_words: array<u32, ${SIZE}>;`;

type Operation = (random: (end: number) => number) => string;

const append: Operation = () =>
  `{ let r = atomic_add_u32(arg_ptr(4u), 1u);
    store_u32(spread(ptr_add(arg_ptr(4u), 4096u), r, PAGES_listPages - 1u), 77u); }`;

/** What no other invocation notices. Slots are stored to before they are loaded from. */
const PURE_OPERATIONS: readonly Operation[] = [
  (random) =>
    `x = hash(x + load_u32(spread(arg_ptr(0u), hash(x + ${random(99)}u), PAGES_readPages)));`,
  (random) => `{
    var q = ptr_at(arg_ptr(1u), hash(x) % (PAGES_nodePages * 255u) + hash(x) % 1u, 16u);
    q = ptr_at(arg_ptr(1u), (hash(x) % PAGES_nodePages) * 256u + x % 255u, 16u);
    for (var i = 0u; i < ${1 + random(12)}u; i++) { q = load_ptr(q); x += load_u32(ptr_add(q, 8u)); }
  }`,
  (random) =>
    `x += load_u32(ptr_at(arg_ptr(0u), x % (PAGES_readPages * 1024u) / 1024u * 1024u + hash(x + ${random(9)}u) % ${WORDS}u, 4u));`,
  (random) => `store_u32(own(g, ${random(SLOTS)}u), x ^ ${random(1000)}u);`,
  (random) =>
    `if (x % ${2 + random(3)}u == 0u) { store_u32(own(g, ${random(SLOTS)}u), ${random(9)}u); }`,
  (random) => `{ let p = own(g, ${random(SLOTS)}u); store_u32(p, x * 3u); x += load_u32(p); }`,
  (random) => `{
    let s = span_read(spread(arg_ptr(0u), hash(x), PAGES_readPages), ${1 + random(40)}u);
    for (var i = 0u; i + 1u < s.words; i++) { x += span_u32(s, i); }
  }`,
  () => `{ let v = load_vec4u(ptr_at(arg_ptr(0u), (x % PAGES_readPages) * 1024u + x % 1019u, 4u));
    x += v.x ^ v.w; }`,
  () => `{ let bytes = 4096u + ((x >> 31u) >> 1u); // a number that no compiler knows
    let first = ptr_add(arg_ptr(0u), x % ${WORDS}u * 4u);
    x += load_u32(ptr_at(first, hash(x) % PAGES_readPages, bytes)); }`,
];

const SHARING_OPERATIONS: readonly Operation[] = [
  (random) => `{ let p = own(g, ${random(SLOTS)}u); x += load_u32(p); store_u32(p, x * 3u); }`,
  (random) =>
    `_ = atomic_add_u32(spread(arg_ptr(3u), hash(x + ${random(9)}u), PAGES_atomicPages), x & 15u);`,
  () => `_ = atomic_xor_u32(spread(arg_ptr(3u), 5u, PAGES_atomicPages), 0u);`,
  (random) => `shared_words[li] = x;
  workgroupBarrier();
  x += shared_words[(li + ${1 + random(SIZE - 1)}u) % ${SIZE}u];
  workgroupBarrier();`,
  append,
];
