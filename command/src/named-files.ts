/**
 * @module Files that the command's arguments name: read whole, and looked at before the work when
 * they are to be written after it. What is wrong with them is a UsageError.
 */

import { W_OK } from "node:constants";
import { accessSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { UsageError } from "./exit-status.ts";
import { quote } from "./option-values.ts";

/** Larger than any that the command writes. */
const BYTES_MAX = 2 ** 28;

/** Whether there is anything at the path. */
export function exists(path: string): boolean {
  return statOf(path) !== undefined;
}

function statOf(path: string): ReturnType<typeof statSync> | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined; // such as a path through a file
  }
}

/** The JSON in a file; undefined if it is none. Throws UsageError for what cannot be read whole. */
export function readJsonFile(path: string): unknown {
  const found = statOf(path);
  if (found === undefined)
    throw new UsageError(`Cannot read ${quote(path)}: there is no such file`);
  if (!found.isFile())
    throw new UsageError(`Cannot read ${quote(path)}: it is no regular file; name one`);
  if (Number(found.size) > BYTES_MAX)
    throw new UsageError(`Cannot read ${quote(path)}: it is larger than ${BYTES_MAX} bytes`);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read ${quote(path)}: ${reasonOf(error)}; name another file`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Throws UsageError unless a file can be written at the path of the option. */
export function requireWritableFile(option: string, path: string | undefined): void {
  if (path === undefined) return;
  if (path === "") throw cannotWrite(option, path, "it is no name; name a file");
  const folder = dirname(resolve(path));
  if (statOf(folder)?.isDirectory() !== true)
    throw cannotWrite(option, path, `there is no folder ${quote(folder)}; make it first`);
  const found = statOf(path);
  if (found?.isDirectory() === true)
    throw cannotWrite(option, path, "it is a folder; name a file in it");
  requireRight(option, path, found === undefined ? folder : path);
}

/** Makes the folder of the option, and throws UsageError where it cannot be written to. */
export function requireWritableFolder(option: string, path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw cannotWrite(option, path, `${reasonOf(error)}; name another folder`);
  }
  requireRight(option, path, path);
}

function requireRight(option: string, path: string, place: string): void {
  try {
    accessSync(place, W_OK);
  } catch (error) {
    throw cannotWrite(option, path, `${reasonOf(error)}; name another place`);
  }
}

function cannotWrite(option: string, path: string, state: string): UsageError {
  return new UsageError(`Cannot write ${quote(path)} for ${option}: ${state}`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split(", ")[0] ?? "") : String(error);
}
