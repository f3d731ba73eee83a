/**
 * @module The device's part of the example nearest-city.mjs: a work item answers one question.
 */

/**
 * A node: f64 longitude and latitude in degrees, ptr to what is lower and to what is higher, f64
 * number of the city.
 */
export const LONGITUDE = 0;
export const LATITUDE = 8;
export const LOWER = 16;
export const HIGHER = 24;
export const CITY = 32;
export const NODE_BYTES = 40;

const RADIANS = Math.PI / 180;

/**
 * Writes the address of the node nearest to question `item`: on a map, with degrees of longitude
 * shrunk by latitude.
 *
 * @type {import("hmm-ts").Kernel}
 */
export function nearest(memory, item, [tree = 0, questions = 0, answers = 0]) {
  const { f64, ptr } = memory;
  const longitude = f64.load(questions + item * 16);
  const latitude = f64.load(questions + item * 16 + 8);
  const shrink = Math.cos(latitude * RADIANS);
  let best = tree;
  let bestSquare = Infinity;

  const search = (node, side) => {
    if (node === 0) return;
    const east = (longitude - f64.load(node + LONGITUDE)) * shrink;
    const north = latitude - f64.load(node + LATITUDE);
    if (east * east + north * north < bestSquare) {
      best = node;
      bestSquare = east * east + north * north;
    }
    const beyond = side === LONGITUDE ? east : north;
    const next = side === LONGITUDE ? LATITUDE : LONGITUDE;
    search(ptr.load(node + (beyond < 0 ? LOWER : HIGHER)), next);
    if (beyond * beyond < bestSquare) search(ptr.load(node + (beyond < 0 ? HIGHER : LOWER)), next);
  };
  search(tree, LONGITUDE);
  ptr.store(answers + item * 8, best);
}
