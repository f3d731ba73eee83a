/**
 * @module The kernel: one work item answers one question by following the tree's pointers through
 * the device's page table. Runs in the device's threads and knows nothing of pages, faults or
 * invalidations.
 *
 * Nodes, leaves and cities are plain loads, so they come through read copies in device memory. The
 * clock is an atomic and the answer is stores, so these go to RAM itself. What is read of a node or
 * a leaf lies together and is loaded as one record: one of eight doubles costs what three or four
 * single loads cost.
 */

import {
  ANSWER_AFTER,
  ANSWER_BEFORE,
  ANSWER_BYTES,
  ANSWER_CITY,
  ANSWER_POPULATION,
  BOX,
  CITY_BYTES,
  CITY_POPULATION,
  CONTROL_ANSWERED,
  CONTROL_CLOCK,
  CONTROL_LATEST,
  LEAF_BYTES,
  LEAF_CITIES,
  LEAF_POINTS,
  NODE_ABOVE_LEAVES,
  NODE_AXES,
  NODE_BYTES,
  NODE_CHILDREN,
  NODE_PLANES,
  POINTS,
  PROGRESS_STEP,
  QUESTION_BYTES,
  QUESTION_LATITUDE,
  QUESTION_LONGITUDE,
  QUESTION_UNITS_PER_DEGREE,
  pointerAt,
} from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { writeUnitVector } from "./sphere.ts";

/** The part of a device's memory that the search needs. */
export interface SearchMemory {
  readonly f64: {
    loadInto(address: number, target: Float64Array, targetOffset: number, count: number): void;
  };
}

/** The part of a device's memory that the kernel needs. */
export interface KernelMemory extends SearchMemory {
  readonly i32: { load(address: number): number };
  readonly f64: SearchMemory["f64"] & {
    load(address: number): number;
    store(address: number, value: number): void;
  };
  readonly ptr: { store(address: number, value: number): void };
  readonly u32: {
    store(address: number, value: number): void;
    atomicLoad(address: number): number;
    atomicStore(address: number, value: number): void;
    atomicAdd(address: number, value: number): number;
  };
}

/** More than what ever waits in one search: three for each level of nodes. */
const PENDING_LIMIT = 64;
/** Above the square of the longest chord, 2. */
const FARTHER_THAN_ALL = 5;

/** What is to be loaded: a node, the head of a leaf (up to its points), or the points of a leaf. */
const NODE = 0;
const HEAD = 1;
const PLACES = 2;

/** Doubles of a node, and of a leaf up to its points. */
const NODE_NUMBERS: number = NODE_BYTES / 8;
const LEAF_NUMBERS: number = LEAF_POINTS / 8;
const NODE_CHILDREN_WORD: number = NODE_CHILDREN / 4;
const LEAF_CITIES_WORD: number = LEAF_CITIES / 4;
const POINT_NUMBERS: number = 3 * POINTS;

// Scratch of this thread: a work item never waits for another one of the same thread.
const pendingPlaces = new Float64Array(PENDING_LIMIT);
const pendingSquares = new Float64Array(PENDING_LIMIT);
const pendingKinds = new Uint8Array(PENDING_LIMIT);
const place = new Float64Array(3);
/**
 * A node, or a leaf, as doubles, which are half as many as words; and the same bytes as what they
 * are. No eight bytes of a node are a NaN, the one kind of double that may change on its way.
 */
const record = new Float64Array(LEAF_NUMBERS + POINT_NUMBERS);
const words = new Uint32Array(record.buffer);
const box = new Float32Array(record.buffer, BOX, 6);
const planes = new Float64Array(record.buffer, NODE_PLANES, 3);
const axes = new Uint8Array(record.buffer, NODE_AXES, 3);
const bytes = new Uint8Array(record.buffer);
const points = new Float64Array(record.buffer, LEAF_POINTS, POINT_NUMBERS);
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
  const city = nearestCity(memory, nodes, place);

  const population = f64.load(city + CITY_POPULATION);
  // The address depends on the population, so that no processor reads the clock before it.
  const after = u32.atomicLoad(control + CONTROL_CLOCK + (population & always0[0]!));

  const answer = answers + item * ANSWER_BYTES;
  memory.ptr.store(answer + ANSWER_CITY, city);
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
 * Address of the city nearest to the point `at` of the unit sphere, in the tree whose root is at
 * `root`: depth first into the quarter that holds the point (Friedman, Bentley and Finkel 1977).
 * The other three quarters wait, each with the square of its distance as far as the planes tell;
 * most are never read. When the turn of one has come, its box tells the distance more closely,
 * before it is entered.
 *
 * There is one load, of whatever comes next, and what waits is written here and not in a function:
 * so V8 puts all that is called into this loop (920 bytes of bytecode, of which a load is 368). An
 * address or a square that is passed in a call is a double, and would be allocated.
 */
export function nearestCity({ f64 }: SearchMemory, root: number, at: Float64Array): number {
  let nearestYet = 0;
  let bestSquare = FARTHER_THAN_ALL;
  let pending = 0;
  let next = root;
  let kind = NODE;
  for (;;) {
    const count = kind === NODE ? NODE_NUMBERS : kind === HEAD ? LEAF_NUMBERS : POINT_NUMBERS;
    f64.loadInto(next, record, kind === PLACES ? LEAF_NUMBERS : 0, count);
    if (kind === PLACES) {
      for (let i = 0; i < POINTS; i++) {
        const square = squareTo(at, 3 * i);
        if (square < bestSquare) {
          bestSquare = square;
          nearestYet = pointerAt(words, LEAF_CITIES_WORD) + i * CITY_BYTES;
        }
      }
    } else if (boxSquare(at) < bestSquare) {
      if (kind === HEAD) {
        next += LEAF_POINTS;
        kind = PLACES;
        continue;
      }
      const childKind = bytes[NODE_ABOVE_LEAVES]!; // NODE or HEAD
      const childBytes = childKind === NODE ? NODE_BYTES : LEAF_BYTES;
      // How far the point is beyond the plane between the halves, and those within them.
      const whole = beyond(at, 0);
      const half = whole < 0 ? 0 : 1;
      const own = beyond(at, 1 + half);
      const other = beyond(at, 2 - half);
      const near = pointerAt(words, NODE_CHILDREN_WORD) + 2 * half * childBytes;
      const far = near + (2 - 4 * half) * childBytes;
      const farSquare = whole * whole;
      const farthestSquare = Math.max(farSquare, other * other);
      // The other three wait, the nearest on top.
      if (farthestSquare < bestSquare) {
        pendingPlaces[pending] = other < 0 ? far + childBytes : far;
        pendingKinds[pending] = childKind;
        pendingSquares[pending] = farthestSquare;
        pending++;
      }
      if (farSquare < bestSquare) {
        pendingPlaces[pending] = other < 0 ? far : far + childBytes;
        pendingKinds[pending] = childKind;
        pendingSquares[pending] = farSquare;
        pending++;
      }
      if (own * own < bestSquare) {
        pendingPlaces[pending] = own < 0 ? near + childBytes : near;
        pendingKinds[pending] = childKind;
        pendingSquares[pending] = own * own;
        pending++;
      }
      next = own < 0 ? near : near + childBytes;
      kind = childKind;
      continue;
    }
    do {
      if (pending === 0) return nearestYet;
      pending--;
    } while (pendingSquares[pending]! >= bestSquare);
    next = pendingPlaces[pending]!;
    kind = pendingKinds[pending]!;
  }
}

/** How far the point is beyond a plane of the node; negative: short of it. */
function beyond(at: Float64Array, plane: number): number {
  return at[axes[plane]!]! - planes[plane]!;
}

function squareTo(at: Float64Array, point: number): number {
  const dx = at[0]! - points[point]!;
  const dy = at[1]! - points[point + 1]!;
  const dz = at[2]! - points[point + 2]!;
  return dx * dx + dy * dy + dz * dz;
}

/** Square of the distance to the box. */
function boxSquare(at: Float64Array): number {
  const x = at[0]!;
  const y = at[1]!;
  const z = at[2]!;
  const dx = x < box[0]! ? box[0]! - x : x > box[3]! ? x - box[3]! : 0;
  const dy = y < box[1]! ? box[1]! - y : y > box[4]! ? y - box[4]! : 0;
  const dz = z < box[2]! ? box[2]! - z : z > box[5]! ? z - box[5]! : 0;
  return dx * dx + dy * dy + dz * dz;
}
