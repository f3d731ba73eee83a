/**
 * @module A lane: a copy of the build in a temporary folder with the layout of the project. A
 * mutant is one file that is written there, once more with its stepping forms, and nothing is
 * compiled again. What is not built (package.json, node_modules, scripts) is linked.
 */

import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { JOINED, SEPARATE } from "../join-worker.mjs";
import { SteppedGraph } from "../stepping/graph.mjs";
import { applyEdits } from "./find.mjs";

/** @typedef {import("./find.mjs").Mutant} Mutant */

/** The repository's root, with a slash at its end. */
export const rootPath = fileURLToPath(new URL("../../", import.meta.url));
/** The build that mutants are made of, with a slash at its end. */
export const buildPath = `${rootPath}.build/`;

const COPIED = ["src", "command", "test", "stepped"];

export class Lane {
  /** @readonly */
  root = `${mkdtempSync(join(tmpdir(), "hmm-mutants-"))}/`;
  /** @readonly */
  build = `${this.root}.build/`;

  /**
   * Files as they were built, once they have been changed here: the build itself may be made anew
   * meanwhile. @type {Map<string, string>}
   */
  #built = new Map();

  /** @type {SteppedGraph} */
  #graph;

  constructor() {
    mkdirSync(this.build);
    for (const name of COPIED) {
      const isCode = (/** @type {string} */ path) => !/\.(map|d\.ts)$/.test(path);
      cpSync(`${buildPath}${name}`, `${this.build}${name}`, { recursive: true, filter: isCode });
    }
    for (const name of readdirSync(rootPath)) {
      if (!name.startsWith(".")) symlinkSync(`${rootPath}${name}`, `${this.root}${name}`);
    }
    // A device's Worker runs the modules themselves, so that it runs the mutant.
    writeFileSync(`${this.build}${JOINED}`, SEPARATE);
    this.#graph = new SteppedGraph(this.build);
  }

  /** The address of the modules that are explored: those with stepping forms. */
  get url() {
    return pathToFileURL(`${this.build}stepped/`).href;
  }

  /**
   * Puts a mutant in.
   *
   * @param {Pick<Mutant, "path" | "edits">} mutant
   */
  mutate({ path, edits }) {
    this.write(path, applyEdits(this.builtText(path), edits));
  }

  /**
   * The file as it was built.
   *
   * @param {string} path
   */
  restore(path) {
    this.write(path, this.builtText(path));
  }

  /**
   * As it was built.
   *
   * @param {string} path
   */
  builtText(path) {
    const text = this.#built.get(path) ?? readFileSync(`${this.build}${path}`, "utf8");
    this.#built.set(path, text);
    return text;
  }

  /**
   * Writes a module of src/, and what is derived from it.
   *
   * @param {string} path
   * @param {string} text
   */
  write(path, text) {
    writeFileSync(`${this.build}${path}`, text);
    const pieces = this.#graph.piecesOf(path, text);
    const stepped = pieces === undefined ? text : pieces.map((piece) => piece.text).join("");
    writeFileSync(`${this.build}stepped/${path}`, stepped);
  }

  remove() {
    rmSync(this.root, { recursive: true, force: true });
  }
}
