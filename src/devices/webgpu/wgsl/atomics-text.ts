/**
 * @module devices/webgpu/wgsl/atomics-text
 * Atomics of the shader. In a touch pass (W3 of translation-text.ts) they only load.
 */

import { poolFunction } from "./access-text.ts";
import type { PoolShape } from "./layout.ts";

/** By name: WGSL's function, for u32 and i32. */
const ATOMIC_FUNCTIONS = ["add", "sub", "and", "or", "xor", "exchange"] as const;

/** max and min depend on the sign: for i32 by compare and exchange, as for f32 all is. */
export function atomicsText(pool: PoolShape): string {
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
