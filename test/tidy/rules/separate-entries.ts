/**
 * @module The entry for drivers and the entry of the checker have no name in common: what a driver
 * is written with comes from one place, in the form in which the program runs.
 */

import { fileFromText, type ProjectFile } from "../project-file.ts";
import { publicNames } from "../public-names.ts";
import type { Finding, Rule } from "../rule.ts";

const checker = "src/checker/index.ts";
const driver = "src/driver.ts";

function check(files: readonly ProjectFile[]): Finding[] {
  const drivers = new Set(publicNames(files, driver).map(({ name }) => name));
  return publicNames(files, checker)
    .filter(({ name }) => drivers.has(name))
    .map(({ name, line }) => ({
      path: checker,
      line,
      message: `exports ${name}, which ${driver} has; leave it to that entry`,
    }));
}

const driverFile: ProjectFile = fileFromText(driver, `export * from "./driver-interface.ts";`);
const interfaceFile: ProjectFile = fileFromText(
  "src/driver-interface.ts",
  `export { Mutex } from "./sync/mutex.ts"; export type { Task } from "./sync/task.ts";`,
);
const mutexFile: ProjectFile = fileFromText("src/sync/mutex.ts", `export class Mutex {}`);
const taskFile: ProjectFile = fileFromText("src/sync/task.ts", `export interface Task {}`);
const drivers: readonly ProjectFile[] = [driverFile, interfaceFile, mutexFile, taskFile];

export const separateEntries: Rule = {
  name: "hmm-ts/checker exports nothing of hmm-ts/driver",
  check,
  broken: {
    "a class": [...drivers, fileFromText(checker, `export { Mutex } from "../sync/mutex.ts";`)],
    "a type": [...drivers, fileFromText(checker, `export type { Task } from "../sync/task.ts";`)],
    "another thing by the same name": [...drivers, fileFromText(checker, `export class Mutex {}`)],
  },
  sound: {
    "what is for exploring": [...drivers, fileFromText(checker, `export class Gate {}`)],
  },
};
