/**
 * @module Second opinions on which city is nearest, by code and geometry that share nothing with
 * the job's own: kdbush with geokdbush (a flat index over degrees, haversine bounds), and brute
 * force over all chords.
 */

import { around } from "geokdbush";
import KDBush from "kdbush";
import type { CityList } from "./city-list.ts";
import { writeUnitVector } from "./sphere.ts";

/**
 * Answers with the index of a nearest city to a place in degrees, or -1. It may leave out cities
 * that are farther than `claimedRadians`, the distance of the city that is claimed to be nearest:
 * they cannot prove that wrong.
 */
export type NearestCity = (longitude: number, latitude: number, claimedRadians: number) => number;

/**
 * Points in a leaf of the index: the fastest of 8 to 256 for one nearest city, with far ones left
 * out.
 */
const LEAF_SIZE = 32;

/** Builds the kdbush index once, in memory that all checking threads share. */
export function buildReferenceIndex(cities: CityList): ArrayBufferLike {
  const index = new KDBush(cities.count, LEAF_SIZE, Float64Array, SharedArrayBuffer);
  for (let city = 0; city < cities.count; city++)
    index.add(cities.longitudes[city]!, cities.latitudes[city]!);
  return index.finish().data;
}

/**
 * The nearest city by geokdbush, over an index from {@link buildReferenceIndex}. It spends three
 * quarters of its time on cities of the leaves that it looks at. So cities that are clearly farther
 * than the claim are left out, by the chord, with a margin far above rounding.
 */
export function referenceNearest(cities: CityList, index: ArrayBufferLike): NearestCity {
  const kdbush = KDBush.from(index);
  const squares = new ChordSquares(cities);
  let claimedSquare = Infinity;
  const mayBeNearer = (city: number): boolean => squares.to(city) <= claimedSquare;
  return (longitude, latitude, claimedRadians) => {
    squares.moveTo(longitude, latitude);
    const chord = 2 * Math.sin(Math.min(claimedRadians, Math.PI) / 2);
    claimedSquare = chord * chord * (1 + RELATIVE_MARGIN) + ABSOLUTE_MARGIN;
    return around(kdbush, longitude, latitude, 1, Infinity, mayBeNearer)[0] ?? -1;
  };
}

const RELATIVE_MARGIN = 1e-6;
const ABSOLUTE_MARGIN = 1e-12;

/** The nearest city by looking at all of them. */
export function bruteForceNearest(cities: CityList): NearestCity {
  const squares = new ChordSquares(cities);
  return (longitude, latitude) => {
    squares.moveTo(longitude, latitude);
    let nearest = -1;
    let nearestSquare = Infinity;
    for (let city = 0; city < cities.count; city++) {
      const square = squares.to(city);
      if (square < nearestSquare) {
        nearest = city;
        nearestSquare = square;
      }
    }
    return nearest;
  };
}

/** Squares of the chords from one place to cities, on the unit sphere. */
class ChordSquares {
  private readonly vectors: Float64Array;
  private readonly place: Float64Array = new Float64Array(3);

  constructor(cities: CityList) {
    this.vectors = new Float64Array(3 * cities.count);
    for (let city = 0; city < cities.count; city++) {
      writeUnitVector(cities.longitudes[city]!, cities.latitudes[city]!, this.vectors, 3 * city);
    }
  }

  /** From here on measures from this place. Degrees. */
  moveTo(longitude: number, latitude: number): void {
    writeUnitVector(longitude, latitude, this.place, 0);
  }

  to(city: number): number {
    const dx = this.vectors[3 * city]! - this.place[0]!;
    const dy = this.vectors[3 * city + 1]! - this.place[1]!;
    const dz = this.vectors[3 * city + 2]! - this.place[2]!;
    return dx * dx + dy * dy + dz * dz;
  }
}
