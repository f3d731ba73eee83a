/**
 * @module Which scenarios the arguments of a command select: names, beginnings of names up to a
 * `/`, paths of modules.
 */

import { existsSync } from "node:fs";

import { UsageError } from "../exit-status.ts";
import { quote } from "../option-values.ts";
import { nearNames } from "../../../src/sync/near-names.ts";
import { isModulePath, scenariosOfPath, shippedScenarios } from "./scenario-modules.ts";
import type { LocatedScenario } from "./scenario-modules.ts";

/**
 * The scenarios that `args` select, each once, in the order of the arguments. Without arguments:
 * all that ship.
 */
export async function chosenScenarios(
  args: readonly string[],
  loadSeconds: number,
): Promise<LocatedScenario[]> {
  if (args.length === 0) return await shippedScenarios();
  const chosen = new Map<string, LocatedScenario>();
  for (const arg of args) {
    const located = isModulePath(arg)
      ? await scenariosOfPath(arg, loadSeconds)
      : withPrefix(await shippedScenarios(), arg);
    for (const one of located) chosen.set(one.address.name, one);
  }
  return Array.from(chosen.values());
}

/** The scenario with exactly this name: `patches/01/before`, `mine.js`, `mine.js#name`. */
export async function namedScenario(name: string, loadSeconds: number): Promise<LocatedScenario> {
  const path = pathIn(name);
  const located = isModulePath(path)
    ? await scenariosOfPath(path, loadSeconds)
    : await shippedScenarios();
  const found = located.find(({ address }) => address.name === name);
  if (found !== undefined) return found;
  throw unknownScenario(name, located);
}

/** Before a `#`: the longest that is a file's. Both a path and a name behind it may have one. */
function pathIn(name: string): string {
  const parts = name.split("#");
  const paths = parts.map((_, i) => parts.slice(0, i + 1).join("#"));
  const isFile = (path: string): boolean => isModulePath(path) && existsSync(path);
  return paths.findLast(isFile) ?? parts[0]!; // one at least
}

function withPrefix(located: readonly LocatedScenario[], prefix: string): LocatedScenario[] {
  const start = prefix.endsWith("/") ? prefix : `${prefix}/`;
  const found = located.filter(
    ({ address }) => address.name === prefix || address.name.startsWith(start),
  );
  if (found.length > 0) return found;
  throw unknownScenario(prefix, located);
}

function unknownScenario(wanted: string, located: readonly LocatedScenario[]): UsageError {
  const names = located.map(({ address }) => address.name);
  const groups = names.flatMap((name) => {
    const parts = name.split("/");
    return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("/"));
  });
  const known = Array.from(new Set([...groups, ...names]));
  const near = nearNames(wanted, known);
  const group = known.findLast((name) => wanted.startsWith(`${name}/`));
  if (near.length === 0 && group !== undefined) near.push(group);
  const meant = near.length === 0 ? "" : ` (did you mean ${near.join(" or ")}?)`;
  return new UsageError(
    `Unknown scenario ${quote(wanted)}${meant}; \`hmm check --list\` names them all`,
  );
}
