/**
 * @module Makes dist/one-file/: entries of the package as one ES module file each, minified, for
 * pages that no bundler builds. A program must have one copy of the library only, so the files are
 * made for whole programs: each has all that its entry and the entries below it export. The Workers
 * that the library starts by itself stand beside them.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));

/**
 * By file: the built modules, from dist/, whose exports it has, and what it is for. Of `src/` and
 * `stepped/src/` one file has only modules of one.
 * @type {Readonly<Record<string, { modules: readonly string[], use: string }>>}
 */
export const oneFiles = {
  "hmm-ts.js": { modules: ["src/index"], use: "`hmm-ts`" },
  "worker.js": { modules: ["src/worker"], use: "`hmm-ts/worker`, in a Worker" },
  "driver.js": {
    modules: ["src/index", "src/driver", "src/worker"],
    use: "`hmm-ts`, `hmm-ts/driver`, `hmm-ts/worker`",
  },
  "conformance.js": {
    modules: ["src/index", "src/driver", "src/worker", "src/conformance/index"],
    use: "`hmm-ts`, `hmm-ts/driver`, `hmm-ts/worker`, `hmm-ts/driver/conformance`",
  },
  "webgpu.js": {
    modules: ["src/index", "src/webgpu", "src/worker"],
    use: "`hmm-ts`, `hmm-ts/webgpu`, `hmm-ts/worker`",
  },
  "checker.js": {
    modules: ["stepped/src/index", "stepped/src/driver", "stepped/src/checker/index"],
    use: "`hmm-ts`, `hmm-ts/driver`, `hmm-ts/checker`, to explore",
  },
  "device-worker.joined.js": {
    modules: ["src/devices/software/device-worker"],
    use: "the Workers of a software device",
  },
  "webgpu-worker.js": {
    modules: ["src/devices/webgpu/webgpu-worker"],
    use: "the Worker of a WebGPU device",
  },
};

/**
 * The sizes of the files in bytes.
 * @returns {{ file: string, use: string, rawBytes: number, gzipBytes: number }[]}
 */
export function oneFileSizes() {
  return Object.entries(oneFiles).map(([file, { use }]) => {
    const bytes = readFileSync(`${dist}one-file/${file}`);
    return { file, use, rawBytes: bytes.length, gzipBytes: gzipSync(bytes).length };
  });
}

async function make() {
  rmSync(`${dist}one-file`, { recursive: true, force: true });
  mkdirSync(`${dist}one-file`);
  for (const [file, { modules }] of Object.entries(oneFiles)) {
    const contents = modules.map((module) => `export * from "./${module}.js";`).join("\n");
    await build({
      stdin: { contents, resolveDir: dist },
      outfile: `${dist}one-file/${file}`,
      bundle: true,
      format: "esm",
      target: "es2023",
      minify: true,
      logLevel: "warning",
    });
    const types = modules.map((module) => module.replace("stepped/", ""));
    const declarations = types.map((module) => `export * from "../${module}.js";\n`).join("");
    writeFileSync(`${dist}one-file/${file.replace(/\.js$/, ".d.ts")}`, declarations);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await make();
