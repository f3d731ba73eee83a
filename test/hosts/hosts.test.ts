/**
 * @module The same test on every host (host-cases.ts): Node 20 to 26, Bun and Deno, which
 * scripts/testing/install-tools.mjs installs from npm, and the system's Chromium and Firefox.
 * README.md has a table of what was tried; `npm run hosts` writes it.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { type TestContext, after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { launchChromium } from "../browser/chromium-page.ts";
import { findChromium } from "../browser/find-chromium.ts";
import { startStaticServer } from "../browser/static-server.ts";
import { missingTools, rootPath } from "../installed-tools.ts";
import { findFirefox, launchFirefox } from "./firefox.ts";
import type { CaseReport } from "./host-cases.ts";
import { type HostRow, readHostRows, writeHostRows } from "./host-table.ts";

interface HostReport {
  readonly version: string;
  readonly reports: readonly CaseReport[];
}

const HOST_MS = 300_000;
const missing = missingTools("test/hosts");
const modules = `${rootPath}test/hosts/node_modules`;
const program = fileURLToPath(new URL("./host-main.js", import.meta.url));
const tried: HostRow[] = [];

/** Each case becomes a test; the host, a row. */
async function judge(
  t: TestContext,
  host: string,
  { version, reports }: HostReport,
): Promise<void> {
  for (const { name, error } of reports) await t.test(name, () => assert.equal(error, undefined));
  const cases = reports.filter(({ error }) => error === undefined).length;
  assert.ok(cases > 0, "no case ran");
  tried.push({ host, version, cases });
}

/** Programs that run one, with the arguments before it. */
const programs: readonly (readonly [string, string, readonly string[]])[] = [
  ...[20, 22, 24, 26].map((n) => [`Node ${n}`, `${modules}/node-${n}/bin/node`, []] as const),
  ["Bun", `${modules}/bun/bin/bun.exe`, ["run"]],
  ["Deno", `${modules}/deno/deno`, ["run", "--allow-all", "--no-config"]],
];

for (const [host, path, args] of programs) {
  test(host, { skip: missing ?? false }, async (t) => {
    const { stdout } = await promisify(execFile)(path, [...args, program], { timeout: HOST_MS });
    await judge(t, host, JSON.parse(stdout) as HostReport);
  });
}

const runInPage = `import("/test/hosts/host-cases.js").then((cases) => cases.runHostCases())`;

const chromium = findChromium();

test("Chromium", { skip: chromium.missing ?? false }, async (t) => {
  assert.ok(chromium.path !== undefined);
  const server = await startStaticServer(true);
  const browser = await launchChromium(chromium.path);
  try {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/`);
    const reports = await page.evaluate<CaseReport[]>(runInPage);
    await judge(t, "Chromium", { version: browser.version(), reports });
  } finally {
    await browser.close();
    await server.close();
  }
});

const firefox = findFirefox();
const noFirefox = "no Firefox here: install Debian's firefox-esr, or name one in $FIREFOX";

test("Firefox", { skip: missing ?? (firefox === undefined && noFirefox) }, async (t) => {
  assert.ok(firefox !== undefined);
  const server = await startStaticServer(true);
  const browser = await launchFirefox(firefox);
  try {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/`);
    const reports = (await page.evaluate(runInPage)) as CaseReport[];
    const version = (await browser.version()).replace(/^\D*/, "");
    await judge(t, "Firefox", { version, reports });
  } finally {
    await browser.close();
    await server.close();
  }
});

/** The system's browsers have whatever version they have. */
function isBrowser({ host }: HostRow): boolean {
  return host === "Chromium" || host === "Firefox";
}

if (process.env["HMM_WRITE_HOSTS"] === "1") after(() => writeHostRows(tried));
else {
  test("README's table says what was tried: if not, npm run hosts", () => {
    const rows = readHostRows();
    assert.equal(rows.length, programs.length + 2);
    for (const row of tried) {
      const written = rows.find(({ host }) => host === row.host);
      assert.deepEqual(isBrowser(row) ? { ...row, version: written?.version } : row, written);
    }
  });
}
