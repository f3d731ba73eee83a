/**
 * @module Reads the repository's own files for the tidy test: what git tracks, and what it would
 * track if it were added, so that a new file is judged before its first commit.
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ProjectFile } from "./project-file.ts";

/** The repository's root: this file runs from .build/test/tidy/. */
export const rootPath: string = fileURLToPath(new URL("../../../", import.meta.url));

export function readProject(): readonly ProjectFile[] {
  const listed = execFileSync(
    "git",
    ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    {
      cwd: rootPath,
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  const paths = [...new Set(listed.split("\0"))].filter(
    (path) => path !== "" && existsSync(rootPath + path),
  );
  return paths.toSorted().map(readProjectFile);
}

function readProjectFile(path: string): ProjectFile {
  const bytes = readFileSync(rootPath + path);
  const isBinary = bytes.includes(0);
  return {
    path,
    text: isBinary ? "" : bytes.toString("utf8"),
    lengthBytes: bytes.length,
    isBinary,
  };
}
