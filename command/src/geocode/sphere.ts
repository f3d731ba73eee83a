/**
 * @module The geometry of the job: unit vectors, in which chords order as great circles do, and the
 * haversine formula.
 */

const RADIANS_PER_DEGREE = Math.PI / 180;

/** Mean radius of the Earth (IUGG), for messages. */
export const EARTH_RADIUS_KM = 6371.0088;

/** Writes x, y, z of a place on the unit sphere to `into[at..at+2]`. Degrees. */
export function writeUnitVector(
  longitude: number,
  latitude: number,
  into: Float64Array,
  at: number,
): void {
  const cosLatitude = Math.cos(latitude * RADIANS_PER_DEGREE);
  into[at] = cosLatitude * Math.cos(longitude * RADIANS_PER_DEGREE);
  into[at + 1] = cosLatitude * Math.sin(longitude * RADIANS_PER_DEGREE);
  into[at + 2] = Math.sin(latitude * RADIANS_PER_DEGREE);
}

/** Great-circle distance in radians between two places in degrees, by the haversine formula. */
export function greatCircle(
  longitudeA: number,
  latitudeA: number,
  longitudeB: number,
  latitudeB: number,
): number {
  const sinLatitude = Math.sin(((latitudeA - latitudeB) * RADIANS_PER_DEGREE) / 2);
  const sinLongitude = Math.sin(((longitudeA - longitudeB) * RADIANS_PER_DEGREE) / 2);
  const cosines =
    Math.cos(latitudeA * RADIANS_PER_DEGREE) * Math.cos(latitudeB * RADIANS_PER_DEGREE);
  return (
    2 *
    Math.asin(
      Math.min(1, Math.sqrt(sinLatitude * sinLatitude + cosines * sinLongitude * sinLongitude)),
    )
  );
}
