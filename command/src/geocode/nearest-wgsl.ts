/**
 * @module The kernel in WGSL: one invocation answers one question. The tree is the one of the
 * software device (layout.ts), and so is the search (nearest-kernel.ts).
 *
 * WGSL has no f64, and its f32 tells places 0.4 m apart from each other at best. So all is done in
 * whole numbers, which WGSL defines bit by bit:
 *
 *   N1  A coordinate c of the unit sphere, an f64, is taken for c * 2^52, cut towards 0: 53 bits
 *       and a sign. Cutting keeps the order: what lies on one side of a plane still does, or on it.
 *   N2  The square of a distance between two such places is computed whole, in 128 bits. The city
 *       with the least one is the answer: among the cut places, no other is nearer.
 *   N3  What a node or a box tells about distances is computed from c * 2^29, cut, less what
 *       cutting may have added: it is never more than the truth. A part of the tree is left out
 *       only if its bound is more than the best square, both in units of 2^-29, cut.
 *
 * Cutting moves a place by less than 2^-51, so the answer's distance is at most 2^-49 more than the
 * least one. Doubles promise no more: their sines are off by about 2^-53 each.
 */

import {
  ANSWER_BEFORE,
  ANSWER_BYTES,
  ANSWER_CITY,
  ANSWER_POPULATION,
  CITY_BYTES,
  CITY_POPULATION,
  LEAF_BYTES,
  LEAF_CITIES,
  LEAF_POINTS,
  NODE_BYTES,
  NODE_CHILDREN,
  NODE_PLANES,
  POINTS,
} from "./layout.ts";

/** Name of its `@compute` function. */
export const NEAREST_ENTRY = "nearest_city";
/** Questions of a workgroup. */
export const NEAREST_GROUP = 32;
/** Bytes of a question's place: x, y, z on the unit sphere, f64. */
export const VECTOR_BYTES = 24;

/** Parts that wait: three for each level of nodes, and one more. */
const PENDING_LIMIT = 64;

const FIXED = `
// A coordinate times 2^52: low and high word, and its sign (N1).
struct fixed { size: vec2u, is_negative: bool, }

// Of an f64 of at most 1. What is no place (Infinity) has an exponent above that of 1.
fn fixed_of(bits: vec2u) -> fixed {
  let shift = 1023u - ((bits.y >> 20u) & 0x7ffu);
  let high = (bits.y & 0xfffffu) | 0x100000u;
  var size = vec2u();
  if (shift == 0u) {
    size = vec2u(bits.x, high);
  } else if (shift < 32u) {
    size = vec2u((bits.x >> shift) | (high << (32u - shift)), high >> shift);
  } else if (shift < 53u) {
    size = vec2u(high >> (shift - 32u), 0u);
  }
  return fixed(size, (bits.y >> 31u) != 0u);
}
fn is_place(bits: vec2u) -> bool { return ((bits.y >> 20u) & 0x7ffu) <= 1023u; }

// A coordinate times 2^29.
fn coarse_of(f: fixed) -> i32 {
  let size = i32((f.size.y << 9u) | (f.size.x >> 23u));
  return select(size, -size, f.is_negative);
}

// How far two coordinates are apart: below 2^54.
fn gap_of(a: fixed, b: fixed) -> vec2u {
  if (a.is_negative != b.is_negative) {
    let low = a.size.x + b.size.x;
    return vec2u(low, a.size.y + b.size.y + select(0u, 1u, low < a.size.x));
  }
  let is_less = a.size.y < b.size.y || (a.size.y == b.size.y && a.size.x < b.size.x);
  let more = select(a.size, b.size, is_less);
  let less = select(b.size, a.size, is_less);
  return vec2u(more.x - less.x, more.y - less.y - select(0u, 1u, more.x < less.x));
}

// The product of two words: low word first.
fn wide_product(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let one = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (one & 0xffffu);
  return vec2u((other << 16u) | (low & 0xffffu),
    (a >> 16u) * (b >> 16u) + (one >> 16u) + (other >> 16u));
}

// The square of a number below 2^54: low word first (N2).
fn square_of(d: vec2u) -> vec4u {
  let lows = wide_product(d.x, d.x);
  let mixed = wide_product(d.x, d.y);
  let highs = wide_product(d.y, d.y);
  let twice = vec2u(mixed.x << 1u, (mixed.y << 1u) | (mixed.x >> 31u));
  let second = lows.y + twice.x;
  let carry = select(0u, 1u, second < lows.y);
  let third = highs.x + twice.y;
  let sum = third + carry;
  let next = select(0u, 1u, third < highs.x) + select(0u, 1u, sum < third);
  return vec4u(lows.x, second, sum, highs.y + next);
}
fn add_squares(a: vec4u, b: vec4u) -> vec4u {
  let first = a.x + b.x;
  let carry = select(0u, 1u, first < a.x);
  let second = a.y + b.y;
  let second_sum = second + carry;
  let second_carry = select(0u, 1u, second < a.y) + select(0u, 1u, second_sum < second);
  let third = a.z + b.z;
  let third_sum = third + second_carry;
  let third_carry = select(0u, 1u, third < a.z) + select(0u, 1u, third_sum < third);
  return vec4u(first, second_sum, third_sum, a.w + b.w + third_carry);
}
fn is_less_square(a: vec4u, b: vec4u) -> bool {
  if (a.w != b.w) { return a.w < b.w; }
  if (a.z != b.z) { return a.z < b.z; }
  if (a.y != b.y) { return a.y < b.y; }
  return a.x < b.x;
}

// A square of N2, in units of 2^-29, cut.
fn coarse_square(s: vec4u) -> u32 { return (s.z >> 11u) | (s.w << 21u); }
// The same of a gap in units of 2^-29 (N3).
fn square_of_coarse(gap: i32) -> u32 {
  let size = u32(max(gap, 0));
  let square = wide_product(size, size);
  return (square.x >> 29u) | (square.y << 3u);
}
`;

/**
 * Loops where three lines would do, and spans where loads would: what a driver has to compile is a
 * third of it then. A node or a leaf begins at a multiple of 64 bytes, so what is read of it
 * through one span lies in one page.
 */
const SEARCH = `
fn f64_in(s: span, word: u32) -> vec2u { return vec2u(span_u32(s, word), span_u32(s, word + 1u)); }

fn fixed_at(p: vec2u) -> fixed { return fixed_of(f64_in(span_read(p, 2u), 0u)); }

// At most the square of the distance to the box, six f32.
fn box_square(s: span, at: array<i32, 3>) -> u32 {
  var square = 0u;
  for (var axis = 0u; axis < 3u; axis++) {
    let least = i32(span_f32(s, axis) * 536870912.0);
    let greatest = i32(span_f32(s, axis + 3u) * 536870912.0);
    square += square_of_coarse(max(least - at[axis], at[axis] - greatest) - 2);
  }
  return square;
}

// The square of the distance to the point of a leaf.
fn point_square(point: vec2u, place: array<fixed, 3>) -> vec4u {
  var square = vec4u();
  for (var axis = 0u; axis < 3u; axis++) {
    let gap = gap_of(place[axis], fixed_at(ptr_add(point, 8u * axis)));
    square = add_squares(square, square_of(gap));
  }
  return square;
}

// Address of the city nearest to the place, in the tree at root.
fn nearest(root: vec2u, place: array<fixed, 3>) -> vec2u {
  let at = array<i32, 3>(coarse_of(place[0]), coarse_of(place[1]), coarse_of(place[2]));
  var pending_places: array<u32, ${PENDING_LIMIT}>; // bytes behind the root; bit 0: a leaf
  var pending_squares: array<u32, ${PENDING_LIMIT}>;
  pending_places[0] = 0u;
  pending_squares[0] = 0u;
  var pending = 1u;
  var found = vec2u();
  var best = vec4u(0xffffffffu);
  var best_coarse = 0xffffffffu;
  while (pending > 0u) {
    pending--;
    if (pending_squares[pending] > best_coarse) { continue; }
    let here = pending_places[pending];
    let address = ptr_add(root, here & 0xfffffffeu);
    let record = span_read(address, 16u);
    if (box_square(record, at) > best_coarse) { continue; }
    let below = f64_in(record, 6u); // the pointer: to children, or to cities
    // A page that is not there yet reads as zeros. This pass will be undone: to search on, without
    // what is nearest, would only ask for pages that nobody needs.
    if (ptr_is_null(below)) { break; }
    if ((here & 1u) != 0u) {
      for (var i = 0u; i < ${POINTS}u; i++) {
        let point = ptr_add(address, ${LEAF_POINTS}u + 24u * i);
        if (!is_place(f64_in(span_read(point, 2u), 0u))) { break; }
        let square = point_square(point, place);
        if (is_less_square(square, best)) {
          best = square;
          best_coarse = coarse_square(square);
          found = ptr_add(below, ${CITY_BYTES}u * i);
        }
      }
      continue;
    }
    // How far the place is beyond each plane; negative: short of it.
    var beyond: array<i32, 3>;
    var squares: array<u32, 3>;
    let marks = span_u32(record, 14u);
    for (var plane = 0u; plane < 3u; plane++) {
      let bits = f64_in(record, 8u + 2u * plane);
      // Infinity is above everything.
      let there = select(0x3fffffff, coarse_of(fixed_of(bits)), is_place(bits));
      beyond[plane] = at[(marks >> (8u * plane)) & 3u] - there;
      squares[plane] = square_of_coarse(abs(beyond[plane]) - 1);
    }
    let is_above_leaves = (marks >> 24u) != 0u;
    let stride = select(${NODE_BYTES}u, ${LEAF_BYTES}u, is_above_leaves);
    let children = (below.x - root.x) + select(0u, 1u, is_above_leaves); // within 4 GiB
    let half = select(1u, 0u, beyond[0] < 0);
    // The four parts, the farthest first: it waits longest.
    for (var turn = 0u; turn < 4u; turn++) {
      let is_far = turn < 2u;
      let side = select(half, 1u - half, is_far);
      let is_above = beyond[1u + side] >= 0;
      let is_other = (turn & 1u) == 0u;
      let part = 2u * side + select(0u, 1u, is_above != is_other);
      var square = select(0u, squares[0], is_far);
      if (is_other) { square = max(square, squares[1u + side]); }
      pending_places[pending] = children + part * stride;
      pending_squares[pending] = square;
      pending++;
    }
  }
  return found;
}
`;

const ENTRY = `
// Arguments: nodes, vectors, answers, first question, end, what the clock said before.
@compute @workgroup_size(${NEAREST_GROUP})
fn ${NEAREST_ENTRY}(@builtin(global_invocation_id) id: vec3u) {
  let question = arg_u32(3) + id.x;
  if (question >= arg_u32(4)) { return; }
  let vector = ptr_at(arg_ptr(1), question, ${VECTOR_BYTES}u);
  var place: array<fixed, 3>;
  for (var axis = 0u; axis < 3u; axis++) { place[axis] = fixed_at(ptr_add(vector, 8u * axis)); }
  let city = nearest(arg_ptr(0), place);
  let answer = ptr_at(arg_ptr(2), question, ${ANSWER_BYTES}u);
  let population = f64_in(span_read(ptr_add(city, ${CITY_POPULATION}u), 2u), 0u);
  var words = array<u32, 5>(city.x, city.y, population.x, population.y, arg_u32(5));
  for (var word = 0u; word < 5u; word++) { store_u32(ptr_add(answer, 4u * word), words[word]); }
}
`;

export const NEAREST_CODE: string = FIXED + SEARCH + ENTRY;

// The text knows where these lie.
if (LEAF_CITIES !== NODE_CHILDREN || NODE_CHILDREN !== 24 || NODE_PLANES !== 32)
  throw new Error("The text of the kernel does not fit the layout of a node");
if (ANSWER_CITY !== 0 || ANSWER_POPULATION !== 8 || ANSWER_BEFORE !== 16)
  throw new Error("The text of the kernel does not fit the layout of an answer");
