/**
 * @module Which borders the map page draws: those that come with the site, coarse and finer, or a
 * file of the reader's, such as that of the package `@geo-maps/countries-land-1m`.
 */

import coarseUrl from "@geo-maps/countries-land-10km/map.geo.json?url";
import fineUrl from "@geo-maps/countries-land-1km/map.geo.json?url";

export interface MapSource {
  /** A GeoJSON file with a FeatureCollection of polygons. */
  readonly url: string;
  /** What a list calls it. */
  readonly label: string;
  /** Behind "Borders". */
  readonly origin: "OpenStreetMap" | "yours";
  readonly detail: string;
}

/** With the site; the first one is drawn at first. */
export const SITE_MAPS: readonly MapSource[] = [
  { url: coarseUrl, label: "to 10 km", origin: "OpenStreetMap", detail: "to 10 km" },
  { url: fineUrl, label: "to 1 km (22 MB)", origin: "OpenStreetMap", detail: "to 1 km" },
];

/** A file that the reader has chosen. `forget` when it is read. */
export function mapOf(file: File): { readonly source: MapSource; readonly forget: () => void } {
  const url = URL.createObjectURL(file);
  const source: MapSource = { url, label: file.name, origin: "yours", detail: file.name };
  return { source, forget: () => URL.revokeObjectURL(url) };
}
