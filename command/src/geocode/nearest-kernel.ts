/**
 * @module The kernel: one work item answers one question by following the tree's pointers through
 * the device's page table. Runs in the device's threads and knows nothing of pages, faults or
 * invalidations.
 *
 * Nodes and cities are plain loads, so they come through read copies in device memory. The clock is
 * an atomic and the answer is stores, so these go to RAM itself.
 */

import {
  ANSWER_AFTER,
  ANSWER_BEFORE,
  ANSWER_BYTES,
  ANSWER_CITY,
  ANSWER_POPULATION,
  AXIS_BYTES,
  AXIS_SHIFT,
  CHILD_COUNT_MASK,
  CITY_POPULATION,
  CONTROL_ANSWERED,
  CONTROL_CLOCK,
  CONTROL_LATEST,
  LINK_TAG_MASK,
  NODE_BOX,
  NODE_BYTES,
  NODE_CITY,
  NODE_LINK,
  NODE_X,
  NODE_Y,
  NODE_Z,
  PROGRESS_STEP,
  QUESTION_BYTES,
  QUESTION_LATITUDE,
  QUESTION_LONGITUDE,
  QUESTION_UNITS_PER_DEGREE,
} from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { writeUnitVector } from "./sphere.ts";

/** The part of a device's memory that the search needs. */
export interface Loads {
  load(address: number): number;
}

/** The part of a device's memory that the kernel needs. */
export interface KernelMemory {
  readonly i32: Loads;
  readonly f32: Loads;
  readonly f64: Loads & { store(address: number, value: number): void };
  readonly u32: {
    store(address: number, value: number): void;
    atomicLoad(address: number): number;
    atomicStore(address: number, value: number): void;
    atomicAdd(address: number, value: number): number;
  };
}

/**
 * More than the nodes that ever wait in one search: one for each level, and 64-bit machines hold no
 * tree of 64.
 */
const PENDING_LIMIT = 64;

/** Above the square of the longest chord, 2. */
const FARTHER_THAN_ALL = 5;

// Scratch of this thread: a work item never waits for another one of the same thread.
const pendingNodes = new Float64Array(PENDING_LIMIT);
const pendingHalves = new Float64Array(PENDING_LIMIT);
const pendingSquares = new Float64Array(PENDING_LIMIT);
const place = new Float64Array(3);
/** Not a constant, which a compiler would make use of. */
const always0 = new Int32Array(1);

/** What the kernel is given, in this order. */
export function kernelArguments(map: GeocodeMap): readonly number[] {
  return [map.nodes, map.questions, map.answers, map.control];
}

/**
 * Answers question `item`: which city is nearest, how many live there, and what the clock said
 * before and after.
 */
export function nearest(memory: KernelMemory, item: number, args: readonly number[]): void {
  const [nodes, questions, answers, control] = args as readonly [number, number, number, number];
  const { f64, u32 } = memory;
  const before = u32.atomicLoad(control + CONTROL_CLOCK);

  const question = questions + item * QUESTION_BYTES;
  const longitude = memory.i32.load(question + QUESTION_LONGITUDE) / QUESTION_UNITS_PER_DEGREE;
  const latitude = memory.i32.load(question + QUESTION_LATITUDE) / QUESTION_UNITS_PER_DEGREE;
  writeUnitVector(longitude, latitude, place, 0);
  const node = nearestNode(f64, memory.f32, nodes, place[0]!, place[1]!, place[2]!);

  const city = f64.load(node + NODE_CITY);
  const population = f64.load(city + CITY_POPULATION);
  // The address depends on the population, so that no processor reads the clock before it.
  const after = u32.atomicLoad(control + CONTROL_CLOCK + (population & always0[0]!));

  const answer = answers + item * ANSWER_BYTES;
  f64.store(answer + ANSWER_CITY, city);
  f64.store(answer + ANSWER_POPULATION, population);
  u32.store(answer + ANSWER_BEFORE, before);
  u32.store(answer + ANSWER_AFTER, after);
  if ((item & (PROGRESS_STEP - 1)) === PROGRESS_STEP - 1) {
    u32.atomicStore(control + CONTROL_LATEST, item);
    // Last: a device may give an item up at a fault and run it again, and only what comes after its
    // last fault happens once.
    u32.atomicAdd(control + CONTROL_ANSWERED, PROGRESS_STEP);
  }
}

/**
 * Address of the node nearest to the point (x, y, z) of the unit sphere, in the tree whose root is
 * at `root`: depth first into the half that holds the point (Friedman, Bentley and Finkel 1977),
 * with few loads. On the way down only the split is read. The node itself waits together with the
 * other half: the square of the distance to the plane between the halves bounds both, and most are
 * never read. When their turn has come and the best so far has become good, the node is measured,
 * and the box of the other half bounds that closely before it is entered.
 */
export function nearestNode(
  f64: Loads,
  f32: Loads,
  root: number,
  x: number,
  y: number,
  z: number,
): number {
  let nearestYet = root;
  let bestSquare = FARTHER_THAN_ALL;
  let pending = 0;
  let node = root;
  for (;;) {
    for (let link = f64.load(node + NODE_LINK); link !== 0; link = f64.load(node + NODE_LINK)) {
      const tag = link & LINK_TAG_MASK;
      const axis = tag >> AXIS_SHIFT;
      const beyond = (axis === 0 ? x : axis === 1 ? y : z) - f64.load(node + AXIS_BYTES * axis);
      const planeSquare = beyond * beyond;
      let near = link - tag;
      let far = 0;
      if ((tag & CHILD_COUNT_MASK) > 1) {
        if (beyond < 0) far = near + NODE_BYTES;
        else {
          far = near;
          near += NODE_BYTES;
        }
      }
      if (planeSquare < bestSquare) {
        pendingNodes[pending] = node;
        pendingHalves[pending] = far;
        pendingSquares[pending++] = planeSquare;
      }
      node = near;
    }

    let half = 0;
    for (;;) {
      const dx = x - f64.load(node + NODE_X);
      const dy = y - f64.load(node + NODE_Y);
      const dz = z - f64.load(node + NODE_Z);
      const square = dx * dx + dy * dy + dz * dz;
      if (square < bestSquare) {
        bestSquare = square;
        nearestYet = node;
      }
      if (half !== 0 && boxSquare(f32, half + NODE_BOX, x, y, z, bestSquare) < bestSquare) break;
      do {
        if (pending === 0) return nearestYet;
        pending--;
      } while (pendingSquares[pending]! >= bestSquare);
      node = pendingNodes[pending]!;
      half = pendingHalves[pending]!;
    }
    node = half;
  }
}

/**
 * Square of the distance from the point to the box at `box`, or some part of it that is no less
 * than `enough`.
 */
function boxSquare(
  f32: Loads,
  box: number,
  x: number,
  y: number,
  z: number,
  enough: number,
): number {
  let side = outside(f32, box, x);
  let square = side * side;
  if (square >= enough) return square;
  side = outside(f32, box + 4, y);
  square += side * side;
  if (square >= enough) return square;
  side = outside(f32, box + 8, z);
  return square + side * side;
}

/** How far `value` is outside of the interval whose ends are at `bounds` and `bounds + 12`. */
function outside(f32: Loads, bounds: number, value: number): number {
  const least = f32.load(bounds);
  if (value < least) return least - value;
  const greatest = f32.load(bounds + 12);
  return value > greatest ? value - greatest : 0;
}
