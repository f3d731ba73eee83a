/**
 * @module Runs one page module in a real Chromium and hands back what its tests said and what its
 * console complained of.
 */

import { chromium, type Browser, type Page } from "playwright-core";
import type { PageResult } from "./page-cases.ts";

/** Without a sandbox, because containers have none; and with nothing that talks to anywhere. */
const flags: readonly string[] = [
  "--no-sandbox",
  "--disable-gpu",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface PageRun {
  readonly results: readonly PageResult[];
  /** Errors on the console of the page and its workers, and what nobody caught. */
  readonly complaints: readonly string[];
}

/** `isOwnCtrlC`: the caller closes it at SIGINT; else the process ends then, and leaves files. */
export function launchChromium(
  executablePath: string,
  isOwnCtrlC: boolean = false,
): Promise<Browser> {
  const how = { headless: true, args: [...flags], timeout: 60_000, handleSIGINT: !isOwnCtrlC };
  return chromium.launch({ executablePath, ...how });
}

/** What the page and its Workers complain of from now on; it grows. */
export function listenForComplaints(page: Page): string[] {
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.stack ?? error.message));
  page.on("console", (message) => {
    if (message.type() === "error")
      complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on("crash", () => complaints.push("the page crashed"));
  return complaints;
}

/**
 * Loads `origin`'s empty page, imports `modulePath` (from .build/, such as
 * "test/browser/smoke.page.js") into it and runs the tests that it registers. Throws when it does
 * not load or does not end within `timeoutMs`.
 */
export async function runPage(
  browser: Browser,
  origin: string,
  modulePath: string,
  timeoutMs: number,
): Promise<PageRun> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const complaints = listenForComplaints(page);
    await page.goto(`${origin}/`);
    const script = `import("/${modulePath}").then(() => import("/test/browser/page-cases.js")).then((m) => m.runPageTests())`;
    const results = await within(page.evaluate<PageResult[]>(script), timeoutMs, () =>
      complaints.join("\n"),
    );
    return { results, complaints };
  } finally {
    await context.close();
  }
}

async function within<T>(
  promise: Promise<T>,
  timeoutMs: number,
  describe: () => string,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const fail = (): void =>
      reject(new Error(`the page did not end within ${timeoutMs} ms\n${describe()}`));
    timer = setTimeout(fail, timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
