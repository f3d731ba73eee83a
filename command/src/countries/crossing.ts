/**
 * @module Whether a path crosses an edge, exactly, in whole numbers. classify-wgsl.ts has the same
 * in WGSL, line by line.
 *
 * The path leads from the corner (x0, y0) of a cell to a place (px, py) of it: north along x0, then
 * east along py. A place lies in a country if the corner does, and the path crosses the country's
 * borders an even number of times; or the corner does not, and the number is odd.
 *
 * What lies on a border, or on a corner of one? All places are thought of as moved a little: east
 * by d and north by e, both smaller than any difference of two numbers that occur, and e so much
 * smaller that e divided by d is again smaller than every slope. No moved place lies on an edge,
 * and no path leads through a corner. So each crossing is a crossing, and every path says the same:
 *
 *   C1  The path east crosses an edge if py is in [lower y, upper y), and the edge's x there is in
 *       (x0, px]: at a tie d decides, for the edge has moved by e over its slope only.
 *   C2  The path north crosses one if x0 is in [left x, right x), and the edge's y there is in
 *       (y0, py]. At a tie the edge has moved up by d times its slope: it lies below the place if
 *       it falls or is level, above it if it rises.
 *   C3  Two products of differences are compared. They are below 2^64; see `compareProducts`.
 */

/** Below 0, 0 or above 0, as a * b is less than c * d, equal or greater. All four below 2^32. */
export function compareProducts(a: number, b: number, c: number, d: number): number {
  const left = a * b;
  const right = c * d;
  // Rounding keeps the order, so two that differ as doubles differ in truth, and in this way.
  if (left !== right) return left - right;
  // Both round to one double below 2^64, so they differ by less than 2^13: their low words tell.
  return (Math.imul(a, b) - Math.imul(c, d)) | 0;
}

/** Whether the edge from a to b, at the height py, lies west of qx or on it. Of C1. */
function isWest(ax: number, ay: number, bx: number, by: number, qx: number, py: number): boolean {
  if (ax <= qx && bx <= qx) return true;
  if (ax > qx && bx > qx) return false;
  const [lowX, lowY, highX, highY] = ay < by ? [ax, ay, bx, by] : [bx, by, ax, ay];
  // Of one sign: qx lies between them.
  const order = compareProducts(
    Math.abs(qx - lowX),
    highY - lowY,
    Math.abs(highX - lowX),
    py - lowY,
  );
  return highX > lowX ? order >= 0 : order <= 0;
}

/** Whether the edge from a to b, at x0, lies south of qy. Of C2. */
function isSouth(ax: number, ay: number, bx: number, by: number, x0: number, qy: number): boolean {
  if (ay === by) return ay <= qy;
  if (ay < qy && by < qy) return true;
  if (ay > qy && by > qy) return false;
  const [leftX, leftY, rightX, rightY] = ax < bx ? [ax, ay, bx, by] : [bx, by, ax, ay];
  const order = compareProducts(
    Math.abs(qy - leftY),
    rightX - leftX,
    Math.abs(rightY - leftY),
    x0 - leftX,
  );
  return rightY > leftY ? order > 0 : order <= 0;
}

/** 1 if the path from (x0, y0) to (px, py) crosses the edge from a to b, but not twice; else 0. */
export function crosses(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  x0: number,
  y0: number,
  px: number,
  py: number,
): number {
  let count = 0;
  if (ay <= py !== by <= py && isWest(ax, ay, bx, by, px, py) && !isWest(ax, ay, bx, by, x0, py))
    count++;
  if (ax <= x0 !== bx <= x0 && isSouth(ax, ay, bx, by, x0, py) && !isSouth(ax, ay, bx, by, x0, y0))
    count++;
  return count & 1;
}
