/**
 * @module `npm run site`: builds the documentation site into `site/dist/`, static files that any
 * server can serve, and checks its links. The tools stand in `site/`, apart from those that the
 * library is built with, and are installed there when they are missing. `--only live` builds the
 * live page alone, into `site/live/dist/`.
 */

import { existsSync, statSync } from "node:fs";
import { parseArgs } from "node:util";
import { rootPath, runCommand } from "./testing/run-command.mjs";
import { missingFragments } from "./site/fragments.mjs";
import { apiEntries } from "./site/contents.mjs";
import { pagesPath, sitePath, writePages } from "./site/pages.mjs";

const stepTimeoutMs = 600_000;

/**
 * Runs one step, with its name on the screen, and ends the program if it fails.
 * @param {string} title
 * @param {string} command
 * @param {readonly string[]} args
 */
async function step(title, command, args) {
  process.stdout.write(`${title}\n`);
  const { ok, status, output } = await runCommand(command, args, { timeoutMs: stepTimeoutMs });
  if (ok) return;
  process.stderr.write(`${output}\nnpm run site: ${title}: ${status}\n`);
  process.exit(1);
}

/** @param {string} name */
function tool(name) {
  return `${sitePath}node_modules/.bin/${name}`;
}

async function buildLive() {
  const config = `${sitePath}live/vite.config.mts`;
  await step("build the live page", tool("vite"), ["build", "--config", config]);
  process.stdout.write(`The live page is in ${sitePath}live/dist.\n`);
}

async function buildSite() {
  process.stdout.write("write the pages\n");
  writePages();
  await step("write the reference", tool("typedoc"), [
    "--options",
    `${sitePath}typedoc.json`,
    "--out",
    `${pagesPath}api`,
    ...Object.values(apiEntries).map((entry) => rootPath + entry),
  ]);
  await step("build the site", tool("vitepress"), ["build", sitePath]);
  process.stdout.write("check the links\n");
  const missing = missingFragments(`${sitePath}dist`);
  for (const line of missing) process.stderr.write(`${line}\n`);
  if (missing.length > 0) process.exit(1);
  process.stdout.write(`The site is in ${sitePath}dist.\n`);
}

/** Whether what the lock file names is installed: npm writes a copy of it when it is done. */
function areToolsCurrent() {
  const installed = `${sitePath}node_modules/.package-lock.json`;
  if (!existsSync(installed)) return false;
  return statSync(installed).mtimeMs >= statSync(`${sitePath}package-lock.json`).mtimeMs;
}

/** @returns {string | undefined} */
function readOnlyOption() {
  try {
    return parseArgs({ options: { only: { type: "string" } } }).values.only;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const only = readOnlyOption();
if (only !== undefined && only !== "live") {
  process.stderr.write(`npm run site: only \`--only live\` is known, not: ${only}\n`);
  process.exit(2);
}
if (!areToolsCurrent()) {
  await step("install the site's tools", "npm", ["ci", "--prefix", sitePath]);
}
await step("build the library", "npm", ["run", "build"]);
await step("check the site's types", `${rootPath}node_modules/.bin/tsc`, ["-p", sitePath]);
await (only === "live" ? buildLive() : buildSite());
