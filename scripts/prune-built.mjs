/**
 * @module Removes files from dist/ and .build/ whose source file no longer exists. tsc never does.
 * Otherwise a renamed test would run twice, and a removed module would be packed.
 */

import { existsSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const rootPath = fileURLToPath(new URL("../", import.meta.url));

/** Each built folder, and where its sources are. */
const builtFolders = [
  ...["src", "command"].map((folder) => [`dist/${folder}`, folder]),
  ...["src", "command", "test", "bench", "examples"].map((folder) => [`.build/${folder}`, folder]),
];

for (const [built, source] of builtFolders) {
  if (!existsSync(`${rootPath}${built}`)) continue;
  for (const entry of readdirSync(`${rootPath}${built}`, { recursive: true, encoding: "utf8" })) {
    // A joined file (scripts/join-worker.mjs) is of its entry's source.
    const match = /^(.*?)(?:\.joined)?(\.d\.ts|\.js)(\.map)?$/.exec(entry);
    if (match === null || existsSync(`${rootPath}${source}/${match[1]}.ts`)) continue;
    rmSync(`${rootPath}${built}/${entry}`);
  }
}
