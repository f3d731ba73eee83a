/** @module Which part of the world is seen: a middle and a width, within bounds. */

import type { Box } from "../../command/src/countries/raster.ts";

/** 11 metres at the equator. */
const WIDTH_MIN_DEGREES = 1e-4;
const WORLD_DEGREES = 360;
const KILOMETRES_PER_DEGREE = 111.2;

/** Degrees. */
export interface View {
  readonly longitude: number;
  readonly latitude: number;
  readonly width: number;
}

export const WHOLE_WORLD: View = { longitude: 0, latitude: 0, width: WORLD_DEGREES };

/** The box of a view that is twice as wide as high. */
export function boxOf({ longitude, latitude, width }: View): Box {
  return {
    west: longitude - width / 2,
    east: longitude + width / 2,
    south: latitude - width / 4,
    north: latitude + width / 4,
  };
}

/** Moved by parts of its width and height, to the east and north. */
export function moved(view: View, east: number, north: number): View {
  const { longitude, latitude, width } = view;
  return within({
    longitude: longitude + east * width,
    latitude: latitude + (north * width) / 2,
    width,
  });
}

/** `factor` times as wide; the place at these parts of the box, from the north-west, stays. */
export function zoomed(view: View, factor: number, x: number = 0.5, y: number = 0.5): View {
  const width = Math.max(WIDTH_MIN_DEGREES, Math.min(WORLD_DEGREES, view.width * factor));
  const longitude = view.longitude + (x - 0.5) * (view.width - width);
  const latitude = view.latitude - ((y - 0.5) * (view.width - width)) / 2;
  return within({ longitude, latitude, width });
}

/** In words: `46.95° N, 7.45° E, 12 km wide`. */
export function describe({ longitude, latitude, width }: View): string {
  const digits = Math.max(0, Math.min(6, Math.ceil(2 - Math.log10(width))));
  const north = `${Math.abs(latitude).toFixed(digits)}\u00b0 ${latitude < 0 ? "S" : "N"}`;
  const east = `${Math.abs(longitude).toFixed(digits)}\u00b0 ${longitude < 0 ? "W" : "E"}`;
  const kilometres = width * KILOMETRES_PER_DEGREE * Math.cos((latitude * Math.PI) / 180);
  const wide =
    kilometres < 1
      ? `${Math.round(kilometres * 1000)} m`
      : `${Math.round(kilometres).toLocaleString("en")} km`;
  return `${north}, ${east}, ${wide} wide`;
}

function within({ longitude, latitude, width }: View): View {
  const eastMost = (WORLD_DEGREES - width) / 2;
  const northMost = (WORLD_DEGREES - width) / 4;
  return {
    longitude: Math.max(-eastMost, Math.min(eastMost, longitude)),
    latitude: Math.max(-northMost, Math.min(northMost, latitude)),
    width,
  };
}
