/** @module The library as its users get it: packed by npm, and unpacked where a test wants it. */

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { rootPath } from "./installed-tools.ts";

const run = promisify(execFile);

/** Puts it into `folder`/node_modules/hmm-ts; what was there before is removed. */
export async function unpackPackage(folder: string): Promise<void> {
  const modules = join(folder, "node_modules");
  const target = join(modules, "hmm-ts");
  await rm(target, { recursive: true, force: true });
  await mkdir(modules, { recursive: true });
  const unpacked = await mkdtemp(join(modules, ".packed-"));
  const options = ["--silent", "--ignore-scripts", "--pack-destination", unpacked];
  const { stdout } = await run("npm", ["pack", ...options], { cwd: rootPath });
  await run("tar", ["-xzf", join(unpacked, stdout.trim()), "-C", unpacked]);
  await rename(join(unpacked, "package"), target);
  await rm(unpacked, { recursive: true });
}
