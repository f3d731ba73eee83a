/**
 * @module The package's declarations, read by the compilers that consumers have: TypeScript 5.4 to
 * 7, strict, with the declarations themselves checked (`skipLibCheck` off). Of the library's parts
 * and the ways to resolve modules, each pair occurs with each compiler.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { missingTools, rootPath } from "../installed-tools.ts";
import { unpackPackage } from "../packed-package.ts";

interface Settings {
  readonly lib: readonly string[];
  readonly resolution: "nodenext" | "bundler";
}

const versions: readonly string[] = ["5.4", "5.5", "5.9", "6", "7"];

const settings: readonly Settings[] = [
  { lib: ["ES2022"], resolution: "nodenext" },
  { lib: ["ES2022", "ESNext.Disposable"], resolution: "bundler" },
  { lib: ["ES2022", "DOM"], resolution: "bundler" },
  { lib: ["ES2022", "DOM", "ESNext.Disposable"], resolution: "nodenext" },
];

const missing = missingTools("test/compilers");
let folder = "";

before(async () => {
  if (missing !== undefined) return;
  // Outside of the repository: no declarations of Node's are found from there.
  folder = await mkdtemp(join(tmpdir(), "hmm-ts-compilers-"));
  await writeFile(join(folder, "package.json"), `{ "type": "module" }`);
  await copyFile(`${rootPath}test/compilers/consumer/program.ts`, join(folder, "program.ts"));
  await unpackPackage(folder);
});

after(async () => {
  if (folder !== "") await rm(folder, { recursive: true });
});

/** What the compiler says of the files; empty when it accepts them. */
async function compile(
  version: string,
  { lib, resolution }: Settings,
  files: readonly string[],
): Promise<string> {
  const compilerOptions = {
    noEmit: true,
    strict: true,
    skipLibCheck: false,
    target: "ES2022",
    lib,
    types: [],
    module: resolution === "bundler" ? "ESNext" : "NodeNext",
    moduleResolution: resolution,
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const tsc = `${rootPath}test/compilers/node_modules/typescript-${version}/bin/tsc`;
  return await new Promise((resolve) => {
    const args = [tsc, "-p", folder, "--pretty", "false"];
    execFile(process.execPath, args, { timeout: 300_000 }, (error, stdout, stderr) => {
      const said = stdout + stderr;
      resolve(error !== null && said === "" ? error.message : said);
    });
  });
}

for (const version of versions) {
  for (const setting of settings) {
    const name = `TypeScript ${version}, ${setting.lib.join(" and ")}, ${setting.resolution}`;
    test(name, { skip: missing ?? false }, async () => {
      assert.equal(await compile(version, setting, ["program.ts"]), "");
    });
  }
}

test("what a compiler does not accept is noticed", { skip: missing ?? false }, async () => {
  const lines = [
    `import { AddressSpace } from "hmm-ts";`,
    `const space = AddressSpace.createSync();`,
    `space.u32.store("4096", 1);`,
    `space.mmapSync(4096, { protection: "write-only" });`,
  ];
  await writeFile(join(folder, "broken.ts"), lines.join("\n"));
  const [plain] = settings;
  assert.ok(plain !== undefined);
  for (const version of ["5.4", "7"])
    assert.match(await compile(version, plain, ["broken.ts"]), /\(3,17\): error [^]*\(4,24\): err/);
});
