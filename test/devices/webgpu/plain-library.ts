/**
 * @module The library of kernels once more, as plain as can be: the same functions over one buffer
 * in which all memory is bound. What the paged device computes is compared with it; it shares no
 * line with it.
 */

/** `base`: address of the buffer's first word, below 2^32. */
export function plainLibrary(base: number, args: readonly number[]): string {
  const words = args
    .map((value) => `vec2u(${value % 2 ** 32}u, ${Math.floor(value / 2 ** 32)}u)`)
    .join(", ");
  return `
@group(0) @binding(0) var<storage, read_write> plain: array<atomic<u32>>;
const plain_args = array<vec2u, ${args.length}>(${words});
fn word(p: vec2u) -> u32 { return (p.x - ${base}u) / 4u; }
fn arg_ptr(i: u32) -> vec2u { return plain_args[i]; }
fn ptr_add(p: vec2u, bytes: u32) -> vec2u { return vec2u(p.x + bytes, p.y); }
fn ptr_at(p: vec2u, i: u32, bytes: u32) -> vec2u { return vec2u(p.x + i * bytes, p.y); }
fn load_u32(p: vec2u) -> u32 { return atomicLoad(&plain[word(p)]); }
fn store_u32(p: vec2u, v: u32) { atomicStore(&plain[word(p)], v); }
fn load_ptr(p: vec2u) -> vec2u { return vec2u(load_u32(p), load_u32(ptr_add(p, 4u))); }
fn store_vec4u(p: vec2u, v: vec4u) {
  for (var i = 0u; i < 4u; i++) { store_u32(ptr_add(p, i * 4u), v[i]); }
}
fn load_vec4u(p: vec2u) -> vec4u {
  return vec4u(load_u32(p), load_u32(ptr_add(p, 4u)), load_u32(ptr_add(p, 8u)),
    load_u32(ptr_add(p, 12u)));
}
fn atomic_add_u32(p: vec2u, v: u32) -> u32 { return atomicAdd(&plain[word(p)], v); }
fn atomic_xor_u32(p: vec2u, v: u32) -> u32 { return atomicXor(&plain[word(p)], v); }
fn atomic_max_u32(p: vec2u, v: u32) -> u32 { return atomicMax(&plain[word(p)], v); }
fn atomic_max_i32(p: vec2u, v: i32) {
  loop {
    let old = load_u32(p);
    let next = bitcast<u32>(max(bitcast<i32>(old), v));
    if (atomicCompareExchangeWeak(&plain[word(p)], old, next).exchanged) { break; }
  }
}
struct span { p: vec2u, words: u32, }
fn span_read(p: vec2u, words: u32) -> span {
  return span(p, min(words, (4096u - p.x % 4096u) / 4u));
}
fn span_u32(s: span, i: u32) -> u32 { return load_u32(ptr_add(s.p, i * 4u)); }
`;
}
