/**
 * @module Where the borders come from: one of the packages @geo-maps/countries-land-*, which the
 * user installs, or a GeoJSON file of his own.
 */

import { createRequire } from "node:module";
import { statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { UsageError } from "../exit-status.ts";
import { quote } from "../option-values.ts";

/** How far a border may be off; each a package. */
export const DETAILS = ["1m", "10m", "50m", "100m", "250m", "500m", "1km", "5km", "10km"] as const;

/** For whose data it is, where they are shown. */
export const CREDIT =
  "borders (c) OpenStreetMap contributors (https://www.openstreetmap.org/copyright), under the ODbL 1.0";

export interface MapSource {
  readonly path: string;
  readonly lengthBytes: number;
  /** The package that it is of, if it is of one. */
  readonly packageName: string | undefined;
}

/**
 * Finds the map that `--map` names: a detail, or a path. Packages are looked for from the working
 * directory, then from the command. Throws UsageError, with what to install.
 */
export function findMap(name: string): MapSource {
  const isDetail = DETAILS.some((detail) => detail === name);
  return isDetail ? findPackage(`@geo-maps/countries-land-${name}`) : findFile(name, undefined);
}

function findPackage(packageName: string): MapSource {
  for (const from of [join(process.cwd(), "package.json"), import.meta.url]) {
    try {
      const manifest = createRequire(from).resolve(`${packageName}/package.json`);
      return findFile(join(dirname(manifest), "map.geo.json"), packageName);
    } catch (error) {
      if (error instanceof UsageError) throw error;
    }
  }
  throw new UsageError(
    `Cannot find the borders: the package ${packageName} is not installed; ` +
      `run npm install --no-save ${packageName}`,
  );
}

function findFile(path: string, packageName: string | undefined): MapSource {
  const found = statSync(path, { throwIfNoEntry: false });
  const details = DETAILS.join(", ");
  if (found === undefined)
    throw new UsageError(
      `Cannot read the map ${quote(path)}: there is no such file; --map takes a file or ${details}`,
    );
  if (!found.isFile() || found.size === 0)
    throw new UsageError(
      `Cannot read the map ${quote(path)}: it is no file with GeoJSON; name one`,
    );
  return { path: resolve(path), lengthBytes: found.size, packageName };
}
