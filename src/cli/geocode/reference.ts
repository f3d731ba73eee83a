/**
 * @module Second opinions on which city is nearest, by code and geometry that share nothing with the job's own:
 * kdbush with geokdbush (a flat index over degrees, haversine bounds), and brute force over all chords.
 */

import { around } from "geokdbush";
import KDBush from "kdbush";
import type { CityList } from "./city-list.ts";
import { writeUnitVector } from "./sphere.ts";

/** Answers with the index of a nearest city. Degrees. */
export type NearestCity = (longitude: number, latitude: number) => number;

/** Points in a leaf of the index; 16 was the fastest of 2 to 64 for one nearest city. */
const LEAF_SIZE = 16;

/** Builds the kdbush index once, in memory that all checking threads share. */
export function buildReferenceIndex(cities: CityList): ArrayBufferLike {
  const index = new KDBush(cities.count, LEAF_SIZE, Float64Array, SharedArrayBuffer);
  for (let city = 0; city < cities.count; city++) index.add(cities.longitudes[city]!, cities.latitudes[city]!);
  return index.finish().data;
}

/** The nearest city by geokdbush, over an index from {@link buildReferenceIndex}. */
export function referenceNearest(index: ArrayBufferLike): NearestCity {
  const kdbush = KDBush.from(index);
  return (longitude, latitude) => around(kdbush, longitude, latitude, 1)[0] ?? -1;
}

/** The nearest city by looking at all of them. */
export function bruteForceNearest(cities: CityList): NearestCity {
  const vectors = new Float64Array(3 * cities.count);
  for (let city = 0; city < cities.count; city++) {
    writeUnitVector(cities.longitudes[city]!, cities.latitudes[city]!, vectors, 3 * city);
  }
  const place = new Float64Array(3);
  return (longitude, latitude) => {
    writeUnitVector(longitude, latitude, place, 0);
    const x = place[0]!;
    const y = place[1]!;
    const z = place[2]!;
    let nearest = -1;
    let nearestSquare = Infinity;
    for (let city = 0; city < cities.count; city++) {
      const dx = vectors[3 * city]! - x;
      const dy = vectors[3 * city + 1]! - y;
      const dz = vectors[3 * city + 2]! - z;
      const square = dx * dx + dy * dy + dz * dz;
      if (square < nearestSquare) {
        nearest = city;
        nearestSquare = square;
      }
    }
    return nearest;
  };
}
