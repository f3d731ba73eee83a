/**
 * @module Makes the package of the command: copies dist/stepped/command/ to command/dist/ and names
 * the library's package in each import. The command explores, so it imports the modules of the
 * library with stepping forms (`hmm-ts/internal/`). Its workloads import `hmm-ts`, as users do.
 */

import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const from = `${root}dist/stepped/`;
const to = `${root}command/dist/`;

/** The entries of the library that have a name. */
const ENTRIES = new Map([
  ["src/index.js", "hmm-ts"],
  ["src/webgpu.js", "hmm-ts/webgpu"],
  ["src/checker/index.js", "hmm-ts/checker"],
]);

/** Specifiers of imports and re-exports, dynamic ones with a literal name too. */
const specifier =
  /((?:^|[;\n])\s*(?:import|export)\b[^"';]*?\bfrom\s*|(?:^|[;\n])\s*import\s*|\bimport\()"(\.[^"]+)"/g;

/**
 * @param {string} path Of the module, from dist/stepped/.
 * @param {string} text
 */
function named(path, text) {
  return text.replace(specifier, (whole, before, /** @type {string} */ relative) => {
    const target = posix.join(posix.dirname(path), relative);
    if (!target.startsWith("src/")) return whole;
    return `${before}"${ENTRIES.get(target) ?? target.replace(/^src\//, "hmm-ts/internal/")}"`;
  });
}

rmSync(to, { recursive: true, force: true });
for (const entry of readdirSync(`${from}command/`, { recursive: true, encoding: "utf8" })) {
  const name = entry.replaceAll("\\", "/");
  const path = `${to}${name}`;
  if (!/\.js(?:\.map)?$/.test(name)) continue;
  mkdirSync(posix.dirname(path), { recursive: true });
  if (name.endsWith(".map")) copyFileSync(`${from}command/${name}`, path);
  else
    writeFileSync(path, named(`command/${name}`, readFileSync(`${from}command/${name}`, "utf8")));
}
// npm makes it executable where it installs it; in this repository its link was made before the
// build.
chmodSync(`${to}src/main.js`, 0o755);
