/**
 * @module The package installed in other ways than into the folder of package.mjs: the tarballs
 * under newer Nodes (and the oldest), each in an empty folder of its own; and the library from a
 * git URL, which npm clones and builds.
 */

import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { checkFromCommand } from "./check.mjs";
import { rootPath, runCommand } from "./run-command.mjs";

/** @typedef {import("./check.mjs").Check} Check */

/** Runs where the package is installed: an address space, a device, a kernel of a module. */
const program = `
import { AddressSpace, SoftwareDevice } from "hmm-ts";
import { serveDevice } from "hmm-ts/worker";
const space = await AddressSpace.create({ ramBytes: 1 << 20 });
const p = await space.mmap(4096);
const device = await SoftwareDevice.create(space, { memoryBytes: 4096, threads: 2 });
const text = "export const square = ({ u32 }, item, [p]) => u32.store(p + 4 * item, item * item);";
const module = new URL("data:text/javascript," + encodeURIComponent(text));
await device.kernel({ module, exportName: "square" }).dispatch(100, { args: [p] });
console.log(process.versions.node, space.u32.load(p + 4 * 99), typeof serveDevice);
await device[Symbol.asyncDispose]();
await space.dispose();
`;

/** What a failed installation says when it could not reach the registry. */
const noNetwork = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH/;

/** The Nodes of test/hosts that are installed, by the names of their folders. */
function otherNodes() {
  return ["node-20", "node-22", "node-24", "node-26"]
    .map((name) => ({ name, path: `${rootPath}test/hosts/node_modules/${name}/bin/node` }))
    .filter(({ path }) => existsSync(path));
}

/**
 * Installs `wanted` into an empty folder, and runs the program there. One check.
 * @param {string} name
 * @param {readonly string[]} wanted As for `npm install`.
 * @param {string} node The Node that npm runs on, and the program.
 * @returns {Promise<Check>}
 */
async function checkInstall(name, wanted, node) {
  const folder = mkdtempSync(join(tmpdir(), "hmm-ts-install-"));
  try {
    writeFileSync(join(folder, "package.json"), `{ "private": true, "type": "module" }`);
    writeFileSync(join(folder, "program.js"), program);
    const environment = {
      PATH: `${dirname(node)}${delimiter}${process.env["PATH"] ?? ""}`,
      npm_config_update_notifier: "false",
    };
    const options = { cwd: folder, environment, timeoutMs: 600_000 };
    const install = await runCommand("npm", ["install", "--prefer-offline", ...wanted], options);
    if (!install.ok && noNetwork.test(install.output))
      return { name, result: "skipped", detail: "no network: npm cannot reach its registry" };
    if (!install.ok) return checkFromCommand(name, install);
    const run = await runCommand(node, ["program.js"], options);
    const isRight = run.stdout.endsWith(" 9801 function\n");
    return checkFromCommand(name, { ...run, ok: run.ok && isRight });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {readonly string[]} tarballs Of the library and of the command.
 * @returns {Promise<Check[]>}
 */
export async function checkUnderNodes(tarballs) {
  const nodes = otherNodes();
  if (nodes.length === 0) {
    const detail = "test/hosts is not installed: npm ci --prefix test/hosts";
    return [{ name: "the tarballs install under other Nodes", result: "skipped", detail }];
  }
  /** @type {Check[]} */
  const checks = [];
  for (const { name, path } of nodes)
    checks.push(await checkInstall(`the tarballs install and run under ${name}`, tarballs, path));
  return checks;
}

/**
 * The files as they are here, whether committed or not, as a repository of their own.
 * @returns {Promise<Check>}
 */
export async function checkFromGit() {
  const name = "the library installs from a git URL";
  const listed = await runCommand("git", ["ls-files", "-co", "--exclude-standard", "-z"]);
  if (!listed.ok) return { name, result: "skipped", detail: "this is no git repository" };
  const repository = mkdtempSync(join(tmpdir(), "hmm-ts-git-"));
  try {
    for (const path of listed.stdout.split("\0")) {
      // A file that was deleted is listed until that is committed; node_modules may be a link.
      if (path === "" || path === "node_modules" || !existsSync(`${rootPath}${path}`)) continue;
      mkdirSync(dirname(join(repository, path)), { recursive: true });
      cpSync(`${rootPath}${path}`, join(repository, path));
    }
    const author = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    for (const args of [
      ["init", "--quiet"],
      ["add", "--all"],
      [...author, "commit", "--quiet", "--message", "test"],
    ]) {
      const done = await runCommand("git", args, { cwd: repository });
      if (!done.ok) return checkFromCommand(name, done);
    }
    const url = `git+${pathToFileURL(repository).href}`;
    return await checkInstall(name, [url], process.execPath);
  } finally {
    rmSync(repository, { recursive: true, force: true });
  }
}
