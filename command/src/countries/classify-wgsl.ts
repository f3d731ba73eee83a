/**
 * @module The kernel in WGSL: each workgroup classifies the places of one square tile of the
 * raster. The search is that of classify-kernel.ts, the arithmetic that of crossing.ts: whole
 * numbers of 32 bits, and products of them in two words. Its rules are C1 of crossing.ts and C2 of
 * crossing.ts.
 */

import { INNER, NODE_ANSWER, NODE_BYTES, NODE_RUNS } from "./layout.ts";
import { TILE_SIDE } from "./raster.ts";

/** Name of its `@compute` function. */
export const CLASSIFY_ENTRY = "classify";

export const CLASSIFY_CODE: string = `
// The product in two words, high word first.
fn wide_product(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let one = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (one & 0xffffu);
  return vec2u((a >> 16u) * (b >> 16u) + (one >> 16u) + (other >> 16u),
    (other << 16u) | (low & 0xffffu));
}
// a * b compared with c * d: -1, 0 or 1.
fn compare_products(a: u32, b: u32, c: u32, d: u32) -> i32 {
  let left = wide_product(a, b);
  let right = wide_product(c, d);
  if (left.x != right.x) { return select(-1, 1, left.x > right.x); }
  return select(select(0, -1, left.y < right.y), 1, left.y > right.y);
}
fn difference(a: u32, b: u32) -> u32 { return max(a, b) - min(a, b); }

// C1: whether the edge from a to b, at the height py, lies west of qx or on it.
fn is_west(a: vec2u, b: vec2u, qx: u32, py: u32) -> bool {
  if (a.x <= qx && b.x <= qx) { return true; }
  if (a.x > qx && b.x > qx) { return false; }
  let low = select(b, a, a.y < b.y);
  let high = select(a, b, a.y < b.y);
  let order = compare_products(difference(qx, low.x), high.y - low.y,
    difference(high.x, low.x), py - low.y);
  return select(order <= 0, order >= 0, high.x > low.x);
}
// C2: whether the edge from a to b, at x0, lies south of qy.
fn is_south(a: vec2u, b: vec2u, x0: u32, qy: u32) -> bool {
  if (a.y == b.y) { return a.y <= qy; }
  if (a.y < qy && b.y < qy) { return true; }
  if (a.y > qy && b.y > qy) { return false; }
  let left = select(b, a, a.x < b.x);
  let right = select(a, b, a.x < b.x);
  let order = compare_products(difference(qy, left.y), right.x - left.x,
    difference(right.y, left.y), x0 - left.x);
  return select(order <= 0, order > 0, right.y > left.y);
}
// Whether the path from the corner to the place crosses the edge once.
fn crosses(a: vec2u, b: vec2u, corner: vec2u, place: vec2u) -> bool {
  var is_odd = false;
  if ((a.y <= place.y) != (b.y <= place.y)) {
    is_odd = is_west(a, b, place.x, place.y) && !is_west(a, b, corner.x, place.y);
  }
  if ((a.x <= corner.x) != (b.x <= corner.x)) {
    let is_crossed = is_south(a, b, corner.x, place.y) && !is_south(a, b, corner.x, corner.y);
    is_odd = is_odd != is_crossed;
  }
  return is_odd;
}

fn country_at(root: vec2u, place: vec2u) -> u32 {
  var node = root;
  var half = 0x80000000u;
  var corner = vec2u();
  var record = load_vec4u(node);
  while (record.z == ${INNER}u) {
    let is_far = (place & vec2u(half)) != vec2u();
    corner += select(vec2u(), vec2u(half), is_far);
    let child = select(0u, 1u, is_far.x) + select(0u, 2u, is_far.y);
    node = ptr_add(record.xy, ${NODE_BYTES}u * child);
    half >>= 1u;
    record = load_vec4u(node);
  }
  if (record.z == 0u) { return record.w; }
  var at = record.xy;
  var country = 0xffffffffu;
  var is_inside = false;
  for (var runs = record.z; runs > 0u; runs--) {
    // The head, and the first place.
    let head = load_vec4u(at);
    if (head.x >> 1u != country) {
      if (is_inside) { break; }
      country = head.x >> 1u;
      is_inside = (head.x & 1u) != 0u;
    }
    at = ptr_add(at, 16u);
    var a = head.zw;
    for (var edges = head.y; edges > 0u; edges--) {
      let b = load_vec2u(at);
      at = ptr_add(at, 8u);
      is_inside = is_inside != crosses(a, b, corner, place);
      a = b;
    }
  }
  return select(0u, country + 1u, is_inside);
}

// Arguments: root, xs, ys, answers, width, height, first tile.
@compute @workgroup_size(${TILE_SIDE}, ${TILE_SIDE})
fn ${CLASSIFY_ENTRY}(@builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u) {
  let tile = arg_u32(6) + group.x;
  let width = arg_u32(4);
  let across = (width + ${TILE_SIDE - 1}u) / ${TILE_SIDE}u;
  let column = (tile % across) * ${TILE_SIDE}u + local.x;
  let row = (tile / across) * ${TILE_SIDE}u + local.y;
  if (column >= width || row >= arg_u32(5)) { return; }
  let x = load_u32(ptr_at(arg_ptr(1), column, 4u));
  let y = load_u32(ptr_at(arg_ptr(2), row, 4u));
  let answer = country_at(arg_ptr(0), vec2u(x, y));
  store_u32(ptr_at(arg_ptr(3), row * width + column, 4u), answer);
}
`;

// The text loads a node as four words, and a run's head with its first place.
if (NODE_BYTES !== 16 || NODE_RUNS !== 8 || NODE_ANSWER !== 12)
  throw new Error("The text of the kernel does not fit the layout of a node");
