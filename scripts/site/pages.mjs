/**
 * @module The documents of the repository, as the pages that the site is built from
 * (`site/.pages/`). They are made anew each time: nobody edits them.
 */

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { rootPath } from "../testing/run-command.mjs";
import { chapters, EXHIBITS, pageOfDocument } from "./contents.mjs";
import { splitExhibits } from "./exhibits.mjs";
import { relink } from "./links.mjs";

export const sitePath = `${rootPath}site/`;
export const pagesPath = `${sitePath}.pages/`;

/**
 * @param {string} path From the site's root.
 * @param {string} text
 */
function writePage(path, text) {
  const file = `${pagesPath}${path}.md`;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** @param {string} path From the repository's root. */
function readDocument(path) {
  return readFileSync(rootPath + path, "utf8");
}

/** Writes all pages but those of the reference. */
export function writePages() {
  rmSync(pagesPath, { recursive: true, force: true });
  cpSync(`${sitePath}pages`, pagesPath, { recursive: true });
  const documents = pageOfDocument();
  const { introduction, exhibits } = splitExhibits(readDocument(EXHIBITS.source));
  const nameOf = new Set(exhibits.map(({ name }) => name));
  /**
   * @param {string} document
   * @param {string} fragment
   */
  const pageOf = (document, fragment) => {
    if (document === EXHIBITS.source && nameOf.has(fragment)) {
      return `${EXHIBITS.folder}/${fragment}`;
    }
    const page = documents.get(document);
    return page === undefined || fragment === "" ? page : `${page}#${fragment}`;
  };
  for (const { source, path } of chapters.flatMap((chapter) => chapter.pages)) {
    writePage(path, relink(readDocument(source), { source, path }, pageOf));
  }
  const first = { source: EXHIBITS.source, path: `${EXHIBITS.folder}/index` };
  writePage(first.path, relink(introduction, first, pageOf));
  for (const { name, text } of exhibits) {
    const path = `${EXHIBITS.folder}/${name}`;
    writePage(path, relink(text, { source: EXHIBITS.source, path }, pageOf));
  }
  const groups = exhibits.map(({ title, group, name }) => ({ title, group, name }));
  writeFileSync(`${pagesPath}exhibits.json`, JSON.stringify(groups));
}
