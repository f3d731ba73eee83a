/**
 * @module `npm run sizes`: builds the package and writes the table of the one-file entries' sizes
 * into docs/BUNDLERS.md. `npm test` compares it, with room for small changes.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { oneFileSizes } from "./one-file.mjs";

const path = fileURLToPath(new URL("../docs/BUNDLERS.md", import.meta.url));
const table = /(<!-- sizes: npm run sizes -->\n)([^]*?)(<!-- \/sizes -->)/;
/** How far a size may be from what the table says. */
const ROOM = 0.05;

/** @param {number} bytes */
const kilobytes = (bytes) => Math.round(bytes / 1000);

/**
 * What is wrong with the table; empty when it is right.
 * @returns {string}
 */
export function sizesDifference() {
  const rows = table.exec(readFileSync(path, "utf8"))?.[2] ?? "";
  const wrong = oneFileSizes().filter(({ file, rawBytes, gzipBytes }) => {
    const row = rows.split("\n").find((line) => line.startsWith(`| \`${file}\` |`)) ?? "";
    const [raw = 0, gzip = 0] = [...row.matchAll(/ (\d+) kB/g)].map((match) => Number(match[1]));
    const isNear = (/** @type {number} */ said, /** @type {number} */ bytes) =>
      Math.abs(said - kilobytes(bytes)) <= Math.max(1, ROOM * kilobytes(bytes));
    return !isNear(raw, rawBytes) || !isNear(gzip, gzipBytes);
  });
  return wrong
    .map(({ file, rawBytes, gzipBytes }) => {
      const sizes = `${kilobytes(rawBytes)} kB, ${kilobytes(gzipBytes)} kB gzipped`;
      return `${file} has ${sizes}; docs/BUNDLERS.md says something else: npm run sizes`;
    })
    .join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rows = oneFileSizes().map(
    ({ file, use, rawBytes, gzipBytes }) =>
      `| \`${file}\` | ${use} | ${kilobytes(rawBytes)} kB | ${kilobytes(gzipBytes)} kB |\n`,
  );
  const head = "| file | for | size | gzipped |\n| --- | --- | --- | --- |\n";
  const text = readFileSync(path, "utf8");
  if (!table.test(text)) throw new Error("docs/BUNDLERS.md has no table of sizes");
  writeFileSync(
    path,
    text.replace(table, (_, start, __, end) => `${start}${head}${rows.join("")}${end}`),
  );
}
