/**
 * @module devices/webgpu/wgsl/access-text
 * Loads and stores of the shader by type: scalars, vectors, spans.
 */

import { type PoolShape, SINK_FRAME, framesByBuffer } from "./layout.ts";
import type { LibraryOptions } from "./library-options.ts";
import { GATE } from "./translation-text.ts";

/** A scalar that an address can hold. */
export interface Scalar {
  readonly name: string;
  /** Of a vector's type: `vec2u`. */
  readonly letter: string;
  /** Makes one of a word. */
  readonly from: (word: string) => string;
  /** Makes a word of one. */
  readonly to: (value: string) => string;
}

export const SCALARS: readonly Scalar[] = [
  { name: "u32", letter: "u", from: (word) => word, to: (value) => value },
  {
    name: "i32",
    letter: "i",
    from: (word) => `bitcast<i32>(${word})`,
    to: (value) => `bitcast<u32>(${value})`,
  },
  {
    name: "f32",
    letter: "f",
    from: (word) => `bitcast<f32>(${word})`,
    to: (value) => `bitcast<u32>(${value})`,
  },
];

/**
 * A function of the word `i` of the pool. With one buffer it is no more than its body; else it has
 * a choice by the upper bits of `i`.
 */
export function poolFunction(
  head: string,
  pool: PoolShape,
  body: (word: string) => string,
): string {
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

export function accessText({ usesAtomics, pool }: LibraryOptions): string {
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

export function scalarText({ name, from, to }: Scalar): string {
  return `
fn load_${name}(p: vec2u) -> ${name} { return ${from("hmm_get(hmm_load_at(p))")}; }
fn store_${name}(p: vec2u, v: ${name}) { hmm_set(hmm_store_at(p), ${to("v")}); }`;
}

/** One translation where the vector lies in one page, else one for each component. */
export function vectorText({ name, letter, from, to }: Scalar, width: number): string {
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
export const SPANS = `
struct span { at: u32, words: u32, }
fn hmm_span(p: vec2u, words: u32, at: u32) -> span {
  return span(at, clamp(words, 1u, 1024u - ((p.x >> 2u) & 1023u)));
}
fn span_read(p: vec2u, words: u32) -> span { return hmm_span(p, words, hmm_load_at(p)); }
fn span_write(p: vec2u, words: u32) -> span { return hmm_span(p, words, hmm_store_at(p)); }
fn load_ptr(p: vec2u) -> vec2u { return load_vec2u(p); }
fn store_ptr(p: vec2u, q: vec2u) { store_vec2u(p, q); }`;

export function spanText({ name, from, to }: Scalar, { isGated }: LibraryOptions): string {
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
