/**
 * @module One file as the tidy rules see it: its path in the repository, its text, and its syntax
 * tree, parsed at most once and only if some rule asks. Rules never touch the disk, so a rule's
 * broken twin is just a file made up in memory.
 */

import { parseSync, type ParseResult } from "oxc-parser";

export interface ProjectFile {
  /** From the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lengthBytes: number;
  /** True when the content cannot be text; `text` is empty then. */
  readonly isBinary: boolean;
}

/** Makes a file in memory, for a rule's own examples. */
export function fileFromText(path: string, text: string): ProjectFile {
  return { path, text, lengthBytes: Buffer.byteLength(text), isBinary: false };
}

const parsed = new WeakMap<ProjectFile, ParseResult>();

/**
 * The syntax tree and the comments of a script. Throws when the file does not parse: then nothing
 * else can be judged.
 */
export function parseFile(file: ProjectFile): ParseResult {
  let result = parsed.get(file);
  if (result === undefined) {
    result = parseSync(file.path, file.text);
    const error = result.errors[0];
    if (error !== undefined) throw new SyntaxError(`${file.path}: ${error.message}`);
    parsed.set(file, result);
  }
  return result;
}

export function isScript(file: ProjectFile): boolean {
  return /\.(ts|mts|js|mjs)$/.test(file.path);
}

/** True for the library: the TypeScript under src/. */
export function isSource(file: ProjectFile): boolean {
  return file.path.startsWith("src/") && file.path.endsWith(".ts");
}

/** True for what is compiled into the two packages: src/ and command/. */
export function isPackaged(file: ProjectFile): boolean {
  return isSource(file) || (file.path.startsWith("command/") && file.path.endsWith(".ts"));
}

/** The line, counted from 1, that holds the character at `offset`. */
export function lineOf(file: ProjectFile, offset: number): number {
  let line = 1;
  for (
    let at = file.text.indexOf("\n");
    at !== -1 && at < offset;
    at = file.text.indexOf("\n", at + 1)
  )
    line++;
  return line;
}
