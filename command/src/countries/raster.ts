/** @module The places of a raster: a box of degrees, and the middle of each of its pixels. */

import { UNITS_PER_DEGREE, coordinateOf } from "./layout.ts";

/** Pixels of a tile's side; a work item, or a workgroup, has one tile. */
export const TILE_SIDE = 8;

/** In degrees. */
export interface Box {
  readonly west: number;
  readonly south: number;
  readonly east: number;
  readonly north: number;
}

export const WORLD: Box = { west: -180, south: -90, east: 180, north: 90 };

export interface Raster {
  readonly box: Box;
  readonly width: number;
  readonly height: number;
  /** Coordinate of each column, from west to east, ascending. */
  readonly xs: Uint32Array;
  /** Coordinate of each row, from north to south, descending. */
  readonly ys: Uint32Array;
}

/** A raster of so many columns over the box, with pixels that are square in degrees. */
export function makeRaster(box: Box, width: number): Raster {
  const height = Math.max(1, Math.round((width * (box.north - box.south)) / (box.east - box.west)));
  return {
    box,
    width,
    height,
    xs: middles(box.west, box.east, width),
    ys: middles(box.north, box.south, height),
  };
}

/** Tiles that cover the raster, row by row. */
export function tilesOf({ width, height }: Raster): number {
  return Math.ceil(width / TILE_SIDE) * Math.ceil(height / TILE_SIDE);
}

function middles(start: number, end: number, count: number): Uint32Array {
  const from = coordinateOf(start);
  const span = (end - start) * UNITS_PER_DEGREE;
  return Uint32Array.from({ length: count }, (_, i) =>
    Math.floor(from + (span * (i + 0.5)) / count),
  );
}
