/**
 * @module Tools that only tests need and whose commands would shadow ours (other hosts, compilers,
 * bundlers) are packages of a folder of their own, with a lock. `npm test` installs them when they
 * are missing. Where that cannot be done, their tests are skipped, and say why.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { rootPath, runCommand } from "./run-command.mjs";

/** Written when an installation is whole: which lock it is of. */
const MARK = "node_modules/.installed-lock";

/**
 * @param {string} folder From the root, such as `test/hosts`.
 * @returns {string} What the mark says when the installation is that of the lock.
 */
function lockOf(folder) {
  const lock = readFileSync(`${rootPath}${folder}/package-lock.json`);
  return createHash("sha256").update(lock).digest("hex");
}

/**
 * @param {string} folder
 * @returns {boolean}
 */
function isInstalled(folder) {
  const mark = `${rootPath}${folder}/${MARK}`;
  return existsSync(mark) && readFileSync(mark, "utf8") === lockOf(folder);
}

/**
 * Installs what is missing, with a line about it.
 * @param {string} folder
 */
export async function installTools(folder) {
  if (isInstalled(folder)) return;
  process.stdout.write(`${folder}: installs its packages, once (npm ci --prefix ${folder})\n`);
  const result = await runCommand("npm", ["ci", "--prefix", `${rootPath}${folder}`], {
    timeoutMs: 600_000,
    environment: { npm_config_update_notifier: "false" },
  });
  if (result.ok) writeFileSync(`${rootPath}${folder}/${MARK}`, lockOf(folder));
  else process.stdout.write(`${folder}: npm ci failed (${result.status})\n${result.output}\n`);
}
