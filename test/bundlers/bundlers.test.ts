/**
 * @module The same small program (app/) built by each bundler as docs/BUNDLERS.md says, for
 * development and for production, and run in Chromium: threads on one address space, a device whose
 * Workers are the program's, a kernel in JavaScript and one in TypeScript. Beside that, Vite's dev
 * server, and plain files without a bundler. The package is the packed one.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import { launchChromium } from "../browser/chromium-page.ts";
import { findChromium } from "../browser/find-chromium.ts";
import { startStaticServer } from "../browser/static-server.ts";
import { missingTools, rootPath } from "../installed-tools.ts";
import { unpackPackage } from "../packed-package.ts";

const run = promisify(execFile);
const tests = `${rootPath}test/bundlers/`;
const work = `${tests}.work/`;
const chromium = findChromium();
const skip = missingTools("test/bundlers") ?? chromium.missing ?? false;
const PAGE_MS = 120_000;
const BUILD_MS = 300_000;
let browser: Browser | undefined;

/** What the page must come to. */
const wanted = {
  counted: 3000,
  squares: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81],
  cubes: [0, 1, 8, 27, 64, 125, 216, 343, 512, 729],
};

before(async () => {
  if (skip !== false || chromium.path === undefined) return;
  mkdirSync(work, { recursive: true });
  await unpackPackage(work);
  browser = await launchChromium(chromium.path);
});

after(async () => {
  await browser?.close();
});

/** A fresh copy of the app. */
function copyApp(name: string): string {
  const folder = `${work}${name}`;
  rmSync(folder, { recursive: true, force: true });
  cpSync(`${tests}app`, folder, { recursive: true });
  return folder;
}

/** Runs a command as a user would write it; what it printed, without colours. */
async function runCommand(folder: string, command: string, mode: string): Promise<string> {
  const [name = "", ...args] = command.split(" ");
  const env = { ...process.env, NODE_ENV: mode, NO_COLOR: "1", FORCE_COLOR: "0" };
  const options = { cwd: folder, env, timeout: BUILD_MS };
  const { stdout, stderr } = await run(`${tests}node_modules/.bin/${name}`, args, options);
  return stdout + stderr;
}

/** What the page at `url` comes to, when its console has complained of no more than `complaint`. */
async function outcomeOf(url: string, complaint?: RegExp): Promise<unknown> {
  assert.ok(browser !== undefined);
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error")
        complaints.push(`${message.text()} (${message.location().url})`);
    });
    await page.goto(url);
    const isOver = page.waitForFunction("globalThis.outcome !== undefined", undefined, {
      timeout: PAGE_MS,
    });
    await isOver.catch(() => assert.fail(`no outcome; the console: ${complaints.join("; ")}`));
    const outcome: unknown = await page.evaluate("globalThis.outcome");
    assert.deepEqual(
      complaints.filter((one) => complaint?.test(one) !== true),
      [],
    );
    return outcome;
  } finally {
    await context.close();
  }
}

async function outcomeOfFile(folder: string, page: string, complaint?: RegExp): Promise<unknown> {
  const server = await startStaticServer(true, folder);
  try {
    return await outcomeOf(`${server.origin}/${page}`, complaint);
  } finally {
    await server.close();
  }
}

interface Build {
  readonly name: string;
  readonly command: string;
  readonly mode: "development" | "production";
}

const esbuild =
  "esbuild main.ts thread.ts device.ts --bundle --splitting --format=esm --outdir=dist";

const builds: readonly Build[] = [
  { name: "vite", command: "vite build", mode: "production" },
  { name: "vite", command: "vite build --mode development --minify false", mode: "development" },
  { name: "webpack", command: "webpack --mode production", mode: "production" },
  { name: "webpack", command: "webpack --mode development", mode: "development" },
  { name: "esbuild", command: `${esbuild} --minify`, mode: "production" },
  { name: "esbuild", command: esbuild, mode: "development" },
  { name: "rollup", command: "rollup -c", mode: "production" },
  { name: "rollup", command: "rollup -c", mode: "development" },
];

/** Of webpack and Vite: the files are larger than they like a page's to be. */
const sizeAdvice =
  /asset size limit|entrypoint size limit|performance recommendations|chunks are larger|chunkSize/;

/** Warnings of the package's modules. */
function warningsIn(printed: string): string[] {
  return printed
    .split("\n")
    .filter((line) => /\bwarn(?:ing)?\b|^\(!\)/i.test(line))
    .filter((line) => !sizeAdvice.test(line) && !/compiled with \d+ warnings?/.test(line));
}

for (const { name, command, mode } of builds) {
  test(`${name}, ${mode}`, { skip }, async () => {
    const folder = copyApp(`${name}-${mode}`);
    assert.deepEqual(warningsIn(await runCommand(folder, command, mode)), []);
    // Vite writes the page itself.
    if (name !== "vite") cpSync(join(folder, "page.html"), join(folder, "dist/index.html"));
    assert.deepEqual(await outcomeOfFile(join(folder, "dist"), "index.html"), wanted);
  });
}

interface DevServer {
  readonly resolvedUrls: { readonly local: readonly string[] } | null;
  listen(): Promise<unknown>;
  close(): Promise<void>;
}

/** Vite's dev server over a folder. */
async function startVite(
  root: string,
  configFile: string,
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const module: unknown = await import(
    pathToFileURL(`${tests}node_modules/vite/dist/node/index.js`).href
  );
  const vite = module as { createServer(options: object): Promise<DevServer> };
  const server = await vite.createServer({ root, configFile, logLevel: "silent" });
  await server.listen();
  const [url] = server.resolvedUrls?.local ?? [];
  assert.ok(url !== undefined);
  return { url, close: async () => await server.close() };
}

test("vite's dev server", { skip }, async () => {
  const root = copyApp("vite-server");
  const server = await startVite(root, join(root, "vite.config.js"));
  try {
    assert.deepEqual(await outcomeOf(server.url), wanted);
  } finally {
    await server.close();
  }
});

/** What the page with a GPU must come to: it has memory for a part of what it works on. */
const wantedOfGpu = { wrong: 0, hasEvicted: true };

test("vite, production and dev server: a program with hmm-ts/webgpu", { skip }, async () => {
  const folder = copyApp("vite-webgpu");
  const command = "vite build webgpu --config vite.config.js";
  assert.deepEqual(warningsIn(await runCommand(folder, command, "production")), []);
  const built = await outcomeOfFile(join(folder, "webgpu/dist"), "index.html");
  assert.deepEqual(built, wantedOfGpu);
  const server = await startVite(join(folder, "webgpu"), join(folder, "vite.config.js"));
  try {
    assert.deepEqual(await outcomeOf(server.url), wantedOfGpu);
  } finally {
    await server.close();
  }
});

test("plain files, with an import map", { skip }, async () => {
  const folder = copyApp("plain");
  await runCommand(folder, "esbuild main.ts cube-kernel.ts --format=esm --outdir=plain", "");
  cpSync(join(folder, "square-kernel.js"), join(folder, "plain/square-kernel.js"));
  symlinkSync(`${work}node_modules`, join(folder, "plain/node_modules"));
  assert.deepEqual(await outcomeOfFile(join(folder, "plain"), "index.html"), wanted);
  assert.deepEqual(await outcomeOfFile(join(folder, "plain"), "modules.html"), { last: 81 });
});

test("a bundled program that hands over no Worker is told what to do", { skip }, async () => {
  const folder = copyApp("unserved");
  await runCommand(folder, "esbuild unserved.ts --bundle --format=esm --outdir=dist", "");
  cpSync(join(folder, "unserved.html"), join(folder, "dist/index.html"));
  const outcome = await outcomeOfFile(join(folder, "dist"), "index.html", /status of 404/);
  assert.match(
    String(outcome),
    /Worker http\S+\/device-worker\.joined\.js did not start: .* with status 404; .* give the option `worker`/,
  );
});

test("a bundler's warning would be noticed", () => {
  const printed =
    "WARNING in ./a.js\nWARNING in asset size limit: ...\n(!) this has been rewritten\n";
  assert.deepEqual(warningsIn(printed), ["WARNING in ./a.js", "(!) this has been rewritten"]);
});

test("the program is well typed", { skip }, async () => {
  assert.equal(await runCommand(copyApp("types"), "tsc -p . --skipLibCheck false", ""), "");
});

interface Block {
  readonly file: string;
  readonly text: string;
}

/** The blocks of the page that belong to a file of the app. */
function blocksIn(document: string): Block[] {
  return Array.from(
    document.matchAll(/^```\S+ .*?\bfile=(\S+)[^\n]*\n([^]*?)^```$/gm),
    ([, file = "", text = ""]) => ({ file, text }),
  );
}

/** Lines of code, wherever they stand in a file. */
function squeezed(text: string): string {
  return text.replace(/^\s+/gm, "").trim();
}

test("what docs/BUNDLERS.md shows is what was built here", () => {
  const document = readFileSync(`${rootPath}docs/BUNDLERS.md`, "utf8");
  const blocks = blocksIn(document);
  assert.ok(blocks.length >= 6);
  for (const { file, text } of blocks) {
    const shown = squeezed(readFileSync(`${tests}app/${file}`, "utf8"));
    assert.ok(shown.includes(squeezed(text)), `${file} does not have\n${text}`);
  }
  for (const { command } of builds.filter(({ mode }) => mode === "production"))
    assert.ok(document.includes(`npx ${command}`), `the page does not show: npx ${command}`);
});
