/**
 * @module What is tracked is text that people wrote, of a size that people read; and the lock file
 * names no registry.
 */

import { fileFromText, lineOf, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const lengthBytesMax = 512 * 1024;
const builtFolders = /^(node_modules|dist|\.build|coverage)\//;
const leftovers =
  /\.(tgz|zip|gz|log|orig|rej|swp|bak|node|wasm|tsbuildinfo)$|(^|\/)(\.DS_Store|core)$/;
const packageAddress = /"resolved": "(?!https:\/\/registry\.npmjs\.org\/)[^"]*:\/\/[^"]*"/g;

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  const blame = (message: string, line = 1): void =>
    void findings.push({ path: file.path, line, message });
  if (file.lengthBytes > lengthBytesMax)
    blame(`has ${file.lengthBytes} bytes, more than ${lengthBytesMax}`);
  if (file.isBinary) blame("is binary; track what it is made from");
  if (builtFolders.test(file.path)) blame("is built; ignore it in .gitignore");
  if (leftovers.test(file.path)) blame("looks like a leftover");
  if (file.path === "package-lock.json") {
    for (const match of file.text.matchAll(packageAddress)) {
      blame(
        "names a registry of its own; install with omit-lockfile-registry-resolved",
        lineOf(file, match.index),
      );
    }
  }
  return findings;
}

const tooLong: ProjectFile = { ...fileFromText("docs/a.md", ""), lengthBytes: lengthBytesMax + 1 };
const binary: ProjectFile = { ...fileFromText("docs/a.png", ""), isBinary: true };

export const trackedFiles: Rule = {
  name: "tracked files are text of at most 512 KiB, and no leftovers",
  check: (files) => files.flatMap(checkFile),
  broken: {
    "a large file": [tooLong],
    "a binary": [binary],
    "a built file": [fileFromText("dist/index.js", "")],
    "an archive": [fileFromText("hmm-ts-0.1.0.tgz", "")],
    "another registry": [
      fileFromText("package-lock.json", `"resolved": "https://registry.example/x.tgz"`),
    ],
  },
  sound: {
    "plain text": [fileFromText("docs/a.md", "text")],
    "a package of this repository": [fileFromText("package-lock.json", `"resolved": "command"`)],
    "the public registry": [
      fileFromText("package-lock.json", `"resolved": "https://registry.npmjs.org/x.tgz"`),
    ],
  },
};
