/**
 * @module A map for tests, made from a seed: countries of several polygons, some with a hole, whose
 * corners lie on a coarse grid. So places of a raster on the same grid meet corners and edges, and
 * countries overlap and touch.
 */

import { Random } from "../../command/src/geocode/random.ts";

type Ring = (readonly [number, number])[];

/**
 * GeoJSON of `countries` features, with corners at multiples of `step` degrees, some `radius`
 * degrees wide.
 */
export function makeMap(
  seed: number,
  countries: number,
  step: number,
  radius: number = 30,
): string {
  const random = new Random(seed);
  const features = Array.from({ length: countries }, (_, country) => {
    const polygons = Array.from({ length: 1 + random.nextBelow(3) }, () =>
      makePolygon(random, step, radius),
    );
    const isMulti = polygons.length > 1 || random.nextBelow(2) === 0;
    const geometry = {
      type: isMulti ? "MultiPolygon" : "Polygon",
      coordinates: isMulti ? polygons : polygons[0],
    };
    const properties = { id: country, A3: `C${country}` };
    return random.nextBelow(2) === 0
      ? { type: "Feature", properties, geometry }
      : { type: "Feature", geometry, properties };
  });
  return JSON.stringify({ type: "FeatureCollection", features });
}

/** A star around some middle, and perhaps a smaller one inside it, as a hole. */
function makePolygon(random: Random, step: number, radiusMax: number): Ring[] {
  const corners = 3 + random.nextBelow(40);
  const radius = 2 + random.nextBelow(radiusMax);
  const x = random.nextBelow(300) - 150;
  const y = random.nextBelow(120) - 60;
  const outer = makeStar(random, corners, x, y, radius, step);
  if (random.nextBelow(3) > 0) return [outer];
  return [outer, makeStar(random, 5, x, y, radius / 4, step)];
}

function makeStar(
  random: Random,
  corners: number,
  x: number,
  y: number,
  radius: number,
  step: number,
): Ring {
  const onGrid = (value: number): number => Number((Math.round(value / step) * step).toFixed(7));
  const ring: Ring = Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners;
    const far = radius * (0.5 + random.nextUnit());
    const longitude = Math.max(-180, Math.min(180, x + far * Math.cos(angle)));
    const latitude = Math.max(-90, Math.min(90, y + far * Math.sin(angle)));
    return [onGrid(longitude), onGrid(latitude)];
  });
  ring.push(ring[0] ?? [0, 0]);
  return ring;
}
