/**
 * @module Builds the quadtree over all borders (layout.ts), from the top down. A cell knows the
 * pieces of borders that lie in it, and the countries that its south-west corner lies in. Its four
 * parts get their share of the pieces, and the countries of their corners, by the path from the
 * cell's corner to theirs (crossing.ts). A cell with few edges is a leaf, and its pieces are copied
 * into it: so a search reads one place in memory, not one for each border.
 *
 * A part gets each edge that a path in it may cross, and perhaps some more, which do no harm.
 */

import { crosses } from "./crossing.ts";
import {
  CHILDREN,
  COORDINATE_BITS,
  INNER,
  NODE_ANSWER,
  NODE_BYTES,
  NODE_RUNS,
  PLACE_WORDS,
  RUN_HEAD_WORDS,
} from "./layout.ts";
import { PieceList } from "./piece-list.ts";

/** The part of an address space that the builder needs. */
export interface TreeMemory {
  readonly u32: { store(address: number, value: number): void };
  readonly ptr: { store(address: number, value: number): void };
}

/** Memory for one kind of record, which is given out from its start. */
export interface Room {
  readonly address: number;
  readonly lengthBytes: number;
}

/**
 * What nodes and leaves take at most, if the places of the borders take so many bytes, and are not
 * just a few. Most edges lie in one leaf or two, so leaves take twice as much as the places, and
 * nodes half as much.
 */
export function roomsFor(placeBytes: number): {
  readonly nodeBytes: number;
  readonly leafBytes: number;
} {
  return { nodeBytes: placeBytes, leafBytes: 3 * placeBytes };
}

/** What was built. */
export interface Tree {
  /** Address of the root. */
  readonly root: number;
  readonly nodeBytes: number;
  readonly leafBytes: number;
  readonly leaves: number;
  /** Edges in all leaves; one that lies in several is counted in each. */
  readonly leafEdges: number;
  readonly depth: number;
}

/** A cell with no more edges is a leaf. */
const LEAF_EDGES = 16;
/**
 * From this depth on, 180 metres at the equator, a leaf may have twice as many with each level: to
 * split a place where many borders meet helps nobody.
 */
const DENSE_DEPTH = 18;
/** A cell of 64 units, 0.7 metre at the equator, is a leaf whatever it holds. */
const DEPTH_MAX: number = COORDINATE_BITS - 6;
const WORD_BYTES = 4;

/** Pieces of the south-west, south-east, north-west and north-east part of a cell. */
type Parts = readonly [PieceList, PieceList, PieceList, PieceList];

function makeParts(): Parts {
  return [new PieceList(), new PieceList(), new PieceList(), new PieceList()];
}

/** More than what rounding takes from a sum of two products below 2^65. */
const ROUNDING: number = 2 ** 15;

interface Cell {
  readonly depth: number;
  readonly x: number;
  readonly y: number;
  readonly pieces: PieceList;
  /** Countries that the corner (x, y) lies in, ascending. */
  readonly inside: readonly number[];
}

export class TreeBuilder {
  readonly #memory: TreeMemory;
  readonly #places: Uint32Array;
  readonly #nodes: Room;
  readonly #leaves: Room;
  readonly #onEdges: (edges: number) => void;
  /** Four lists for each depth, used again and again. */
  readonly #lists: Parts[] = [];
  readonly #insideX = new InsideList();
  readonly #insideY = new InsideList();
  readonly #insideXY = new InsideList();
  #nodeBytes = 0;
  #leafBytes = 0;
  #leafCount = 0;
  #leafEdges = 0;
  #depth = 0;

  /**
   * `places`: x and y of all places by turns. `onEdges` hears of each leaf, how many edges
   * it has.
   */
  constructor(
    memory: TreeMemory,
    places: Uint32Array,
    nodes: Room,
    leaves: Room,
    onEdges: (edges: number) => void = () => {},
  ) {
    this.#memory = memory;
    this.#places = places;
    this.#nodes = nodes;
    this.#leaves = leaves;
    this.#onEdges = onEdges;
  }

  /** Builds the tree of these rings. Throws RangeError when a room is too small. */
  build(rings: PieceList): Tree {
    const root = this.#takeNodes(1);
    this.#writeCell(root, { depth: 0, x: 0, y: 0, pieces: rings, inside: [] });
    return {
      root,
      nodeBytes: this.#nodeBytes,
      leafBytes: this.#leafBytes,
      leaves: this.#leafCount,
      leafEdges: this.#leafEdges,
      depth: this.#depth,
    };
  }

  #writeCell(node: number, cell: Cell): void {
    this.#depth = Math.max(this.#depth, cell.depth);
    const most = LEAF_EDGES * 2 ** Math.max(0, cell.depth - DENSE_DEPTH);
    if (cell.pieces.edges <= most || cell.depth === DEPTH_MAX) this.#writeLeaf(node, cell);
    else this.#writeInner(node, cell);
  }

  #writeInner(node: number, cell: Cell): void {
    const children = this.#takeNodes(CHILDREN);
    this.#memory.ptr.store(node, children);
    this.#memory.u32.store(node + NODE_RUNS, INNER);
    this.#memory.u32.store(node + NODE_ANSWER, 0);
    const lists = (this.#lists[cell.depth] ??= makeParts());
    const half = 2 ** (COORDINATE_BITS - 1 - cell.depth);
    this.#split(cell, cell.x + half, cell.y + half, lists);
    const { inside } = cell;
    const corners = [inside, this.#insideX.take(), this.#insideY.take(), this.#insideXY.take()];
    for (let child = 0; child < CHILDREN; child++) {
      this.#writeCell(children + child * NODE_BYTES, {
        depth: cell.depth + 1,
        x: cell.x + (child & 1) * half,
        y: cell.y + (child >> 1) * half,
        pieces: lists[child]!, // one for each child
        inside: corners[child]!,
      });
    }
  }

  /** Shares the pieces out, and finds out which countries the corners of the parts lie in. */
  #split({ x, y, pieces, inside }: Cell, xm: number, ym: number, lists: Parts): void {
    for (const list of lists) list.clear();
    const [southWest, southEast, northWest, northEast] = lists;
    const corners = [this.#insideX, this.#insideY, this.#insideXY];
    for (const corner of corners) corner.begin(inside);
    const places = this.#places;
    for (let piece = 0; piece < pieces.length; piece++) {
      const country = pieces.country(piece);
      for (const corner of corners) corner.goTo(country);
      const first = pieces.first(piece);
      const end = first + pieces.edgesOf(piece);
      for (let place = first; place < end; place++) {
        const at = PLACE_WORDS * place;
        // an edge has two places
        const [ax, ay, bx, by] = [places[at]!, places[at + 1]!, places[at + 2]!, places[at + 3]!];
        const isWest = ax < xm || bx < xm;
        const isEast = ax > xm || bx > xm;
        const isSouth = ay < ym || by < ym;
        const isNorth = ay > ym || by > ym;
        const isOfOne = isWest !== isEast && isSouth !== isNorth;
        const reaches = (px: number, py: number): boolean =>
          isOfOne || mayMeet(ax, ay, bx, by, px, py, xm - x);
        if (isSouth && isWest && reaches(x, y)) southWest.add(place, 1, country);
        if (isSouth && isEast && reaches(xm, y)) southEast.add(place, 1, country);
        if (isNorth && isWest && reaches(x, ym)) northWest.add(place, 1, country);
        if (isNorth && isEast && reaches(xm, ym)) northEast.add(place, 1, country);
        if ((ay > ym && by > ym) || (ax > xm && bx > xm)) continue;
        // Only an edge at one of these lines lies in the way of a path to a corner.
        if (ay <= y !== by <= y) this.#insideX.cross(crosses(ax, ay, bx, by, x, y, xm, y));
        if (ax <= x !== bx <= x) this.#insideY.cross(crosses(ax, ay, bx, by, x, y, x, ym));
        if (ax <= x !== bx <= x || ay <= ym !== by <= ym)
          this.#insideXY.cross(crosses(ax, ay, bx, by, x, y, xm, ym));
      }
    }
    for (const corner of corners) corner.end();
  }

  /** A leaf, or a cell that has one answer. */
  #writeLeaf(node: number, { pieces, inside }: Cell): void {
    this.#onEdges(pieces.edges);
    const { u32, ptr } = this.#memory;
    const hasEdges = pieces.edges > 0;
    const start = this.#leaves.address + this.#leafBytes;
    const runs = hasEdges ? this.#writeRuns(pieces, inside) : 0;
    ptr.store(node, start);
    u32.store(node + NODE_RUNS, runs);
    u32.store(node + NODE_ANSWER, hasEdges || inside[0] === undefined ? 0 : inside[0] + 1);
    this.#leafCount++;
    this.#leafEdges += pieces.edges;
  }

  /** Returns how many. */
  #writeRuns(pieces: PieceList, inside: readonly number[]): number {
    let runs = 0;
    let next = 0;
    let country = -1;
    for (let piece = 0; piece < pieces.length; piece++) {
      const isNew = pieces.country(piece) !== country;
      country = pieces.country(piece);
      // The cell lies in these, whole: nothing behind the first of them is ever asked for.
      if (isNew && (inside[next] ?? Infinity) < country) break;
      const isInside = isNew && inside[next] === country;
      if (isInside) next++;
      this.#writeRun(country, isInside, pieces.first(piece), pieces.edgesOf(piece));
      runs++;
    }
    const whole = inside[next];
    if (whole === undefined) return runs;
    this.#writeRun(whole, true, 0, 0);
    return runs + 1;
  }

  #writeRun(country: number, isInside: boolean, first: number, edges: number): void {
    const words = RUN_HEAD_WORDS + PLACE_WORDS * (edges + 1);
    const { u32 } = this.#memory;
    let at = this.#leaves.address + this.#leafBytes;
    this.#leafBytes += words * WORD_BYTES;
    checkRoom(this.#leaves, this.#leafBytes);
    u32.store(at, country * 2 + (isInside ? 1 : 0));
    u32.store(at + WORD_BYTES, edges);
    at += RUN_HEAD_WORDS * WORD_BYTES;
    const end = PLACE_WORDS * (first + edges + 1);
    for (let word = PLACE_WORDS * first; word < end; word++, at += WORD_BYTES)
      u32.store(at, this.#places[word] ?? 0); // one behind the end for a file without places
  }

  #takeNodes(count: number): number {
    const address = this.#nodes.address + this.#nodeBytes;
    this.#nodeBytes += count * NODE_BYTES;
    checkRoom(this.#nodes, this.#nodeBytes);
    return address;
  }
}

/**
 * Whether the line through a and b may meet the square whose corner is (x, y): false only if all of
 * the square lies on one side of it.
 */
function mayMeet(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  x: number,
  y: number,
  side: number,
): boolean {
  const [dx, dy, half] = [bx - ax, by - ay, side / 2];
  // Of the middle, and how much less or more it is of the corners.
  const middle = dx * (y + half - ay) - dy * (x + half - ax);
  return Math.abs(middle) <= half * (Math.abs(dx) + Math.abs(dy)) + ROUNDING;
}

function checkRoom({ lengthBytes }: Room, bytes: number): void {
  if (bytes > lengthBytes) throw new RangeError(`the tree needs more than ${lengthBytes} bytes`);
}

/** Finds out which countries a corner lies in, country by country. */
class InsideList {
  #before: readonly number[] = [];
  #next = 0;
  #country = -1;
  #isInside = 0;
  #found: number[] = [];

  /** `before`: those that the corner lies in from which the paths come. */
  begin(before: readonly number[]): void {
    this.#before = before;
    this.#next = 0;
    this.#country = -1;
    this.#isInside = 0;
    this.#found = [];
  }

  /** From here on come the crossings of this country, or more of them. Countries ascend. */
  goTo(country: number): void {
    if (country === this.#country) return;
    this.#leave(country);
    this.#country = country;
    this.#isInside = 0;
    if (this.#before[this.#next] !== country) return;
    this.#next++;
    this.#isInside = 1;
  }

  cross(count: number): void {
    this.#isInside ^= count;
  }

  end(): void {
    this.#leave(Infinity);
  }

  take(): readonly number[] {
    return this.#found;
  }

  /** Keeps the country, and those whose borders do not come before that of `next`. */
  #leave(next: number): void {
    if (this.#isInside === 1) this.#found.push(this.#country);
    for (; this.#next < this.#before.length; this.#next++) {
      const country = this.#before[this.#next]!; // the index is below the length
      if (country >= next) break;
      this.#found.push(country);
    }
  }
}
