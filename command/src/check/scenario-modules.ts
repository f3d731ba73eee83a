/**
 * @module Scenarios by name: those that ship, and those that a module of the user exports.
 * Functions cannot be sent to a Worker, so a Worker gets the address of a module and imports the
 * scenario itself.
 *
 * The name of a scenario of a module is the path of the module, with `#name` if there are several.
 * So the tokens of its findings say where it is.
 */

import { type Stats, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { importExploredForm } from "../../../src/checker/parallel/explored-form.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { isFuzzFile, readFuzzFile } from "../fuzz/fuzz-program.ts";
import { fileScenario } from "../fuzz/program-scenario.ts";
import { UsageError } from "../exit-status.ts";
import { quote } from "../option-values.ts";
import { whileLoading } from "../supervision/loading.ts";

/** The module of the scenarios that ship. */
export const shippedModule: string = new URL("../../scenarios/all.js", import.meta.url).href;

/** The address of a scenario, for any thread. */
export interface ScenarioAddress {
  /** The URL of a module. */
  readonly module: string;
  /** What the module calls it. */
  readonly own: string;
  /** What the user calls it; unique in a run. */
  readonly name: string;
}

export interface LocatedScenario {
  readonly address: ScenarioAddress;
  /** Under the name of its address. */
  readonly scenario: AnyScenario;
}

/** Whether an argument is a file, not a scenario that ships. */
export function isModulePath(text: string): boolean {
  return /\.[cm]?[jt]s$/.test(text) || /^\.{0,2}\//.test(text) || text.startsWith("file:");
}

/** Every scenario that ships. */
export async function shippedScenarios(): Promise<LocatedScenario[]> {
  return await scenariosOfModule(shippedModule);
}

/**
 * Every scenario that the user's module at `path` exports. Throws UsageError if there is none, or
 * no module.
 */
export async function scenariosOfPath(
  path: string,
  loadSeconds: number,
): Promise<LocatedScenario[]> {
  const url = pathToFileURL(filePathOf(path)).href;
  const load = (): Promise<LocatedScenario[]> => scenariosOfModule(url);
  const located = await whileLoading(path, loadSeconds, load).catch((error: unknown) => {
    throw importFailure(path, error);
  });
  const isAlone = located.length === 1;
  return located.map(({ address, scenario }) => {
    const name = isAlone ? path : `${path}#${address.own}`;
    return { address: { ...address, name }, scenario: { ...scenario, name } };
  });
}

/** Throws UsageError unless it is a regular file: the import of a device would never end. */
function filePathOf(path: string): string {
  const refused = (state: string): UsageError =>
    new UsageError(`Cannot read ${quote(path)}: ${state}`);
  let file: string;
  let found: Stats | undefined;
  try {
    file = path.startsWith("file:") ? fileURLToPath(path) : resolve(path);
    found = statSync(file, { throwIfNoEntry: false });
  } catch {
    throw refused("it is no path of a file");
  }
  if (found === undefined) throw refused("there is no such file");
  if (!found.isFile()) throw refused("it is no regular file");
  return file;
}

/** The scenario at an address, under the name that the user knows. */
export async function scenarioAt(address: ScenarioAddress): Promise<AnyScenario> {
  const located = await scenariosOfModule(address.module);
  const found = located.find((one) => one.address.own === address.own);
  if (found === undefined)
    throw new Error(`Cannot find the scenario "${address.own}" in ${address.module}`);
  return { ...found.scenario, name: address.name };
}

/** Names are printed as they are. */
const PRINTABLE = /^\P{C}{1,200}$/u;

async function scenariosOfModule(module: string): Promise<LocatedScenario[]> {
  if (module !== shippedModule) importExploredForm();
  const exported: unknown = await import(module);
  if (typeof exported !== "object" || exported === null)
    throw new UsageError(`Cannot use ${module}: its export \`then\` makes it no module; rename it`);
  const values = "default" in exported ? [exported.default] : Object.values(exported);
  const made = values
    .flat()
    .map((value) => (isFuzzFile(value) ? fileScenario(readFuzzFile(value)) : value));
  const scenarios = Array.from(new Set(made.filter(isScenario)));
  // Of a module without a default export the other exports may be anything.
  const other = made.findIndex((value) => !isScenario(value));
  if ("default" in exported && other >= 0 && scenarios.length > 0)
    throw new UsageError(
      `Cannot use ${module}: element ${other} of its default export is no scenario (it needs name, setup and tasks); mend it, or take it out`,
    );
  const twice = scenarios.find((one, i) => scenarios.findIndex((it) => it.name === one.name) < i);
  if (twice !== undefined)
    throw new UsageError(
      `Cannot use ${module}: two of its scenarios are called ${quote(twice.name)}; give each a name of its own`,
    );
  const odd = scenarios.find(({ name }) => !PRINTABLE.test(name));
  if (odd !== undefined) {
    throw new UsageError(
      `Cannot use ${module}: the name of a scenario, ${quote(odd.name)}, is empty, too long or has control characters`,
    );
  }
  if (scenarios.length === 0) {
    throw new UsageError(
      `Cannot use ${module}: it exports no scenario; export one, or an array of them, as its default`,
    );
  }
  return scenarios.map((scenario) => ({
    address: { module, own: scenario.name, name: scenario.name },
    scenario,
  }));
}

function isScenario(value: unknown): value is AnyScenario {
  if (typeof value !== "object" || value === null) return false;
  const { name, setup, tasks } = value as Readonly<Record<string, unknown>>;
  return (
    typeof name === "string" &&
    typeof setup === "function" &&
    typeof tasks === "object" &&
    tasks !== null
  );
}

function importFailure(path: string, error: unknown): unknown {
  if (error instanceof UsageError) return error;
  if (error instanceof Error && "code" in error && error.code === "ERR_UNKNOWN_FILE_EXTENSION") {
    return new UsageError(
      `Cannot import ${quote(path)}: Node ${process.versions.node} reads no TypeScript; compile it first, or use Node 22.18 or later`,
    );
  }
  const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
  return new UsageError(`Cannot import ${quote(path)}: ${reason}`);
}
