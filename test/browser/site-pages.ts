/**
 * @module The two live pages of the site, alone, as Vite builds them, in Chromium. They need the
 * site's tools, which `npm run site` installs; without them their tests are skipped.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launchChromium, listenForComplaints } from "./chromium-page.ts";
import { findChromium } from "./find-chromium.ts";
import { startStaticServer, type StaticServer } from "./static-server.ts";

export const sitePath: string = fileURLToPath(new URL("../../../site/", import.meta.url));
const vite = `${sitePath}node_modules/vite/bin/vite.js`;
const BUILD_MS = 300_000;

type PageUse = (page: Page) => Promise<void>;

export interface PageConditions {
  /** Before the page loads. */
  readonly prepare?: PageUse;
  /** False: from a server that does not send the two headers that isolate a page. */
  readonly isIsolated?: boolean;
}

export interface SitePages {
  /** For `test`: why there are no pages, or false. */
  readonly skip: string | false;
  /** Uses a page in a context of its own. Resolves to what the page complained of. */
  readonly inPage: (
    options: BrowserContextOptions,
    use: PageUse,
    conditions?: PageConditions,
  ) => Promise<string[]>;
}

/**
 * Builds and serves the pages before the tests of the calling file, and closes all after them.
 * `name` is the page's, such as "world.html"; `needed` are files that it cannot do without.
 */
export function servePages(name: string, waitMs: number, needed: readonly string[]): SitePages {
  const chromium = findChromium();
  const missing = [vite, ...needed].every((path) => existsSync(path))
    ? chromium.missing
    : "the site's tools are not installed: npm ci --prefix site";
  let browser: Browser | undefined;
  const servers: StaticServer[] = [];

  const serve = async (isIsolated: boolean): Promise<StaticServer> => {
    const server = await startStaticServer(isIsolated, `${sitePath}live/dist/`);
    servers.push(server);
    return server;
  };
  let isolated: StaticServer | undefined;

  before(async () => {
    if (missing !== undefined || chromium.path === undefined) return;
    const args = [vite, "build", "--config", `${sitePath}live/vite.config.mts`];
    await promisify(execFile)(process.execPath, args, { timeout: BUILD_MS });
    browser = await launchChromium(chromium.path);
    isolated = await serve(true);
  });

  after(async () => {
    await browser?.close();
    for (const server of servers) await server.close();
  });

  async function inPage(
    options: BrowserContextOptions,
    use: PageUse,
    { prepare, isIsolated = true }: PageConditions = {},
  ): Promise<string[]> {
    assert.ok(browser !== undefined && isolated !== undefined);
    const server = isIsolated ? isolated : await serve(false);
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      page.setDefaultTimeout(waitMs);
      const complaints = listenForComplaints(page);
      await prepare?.(page);
      await page.goto(`${server.origin}/${name}`);
      await use(page);
      return complaints;
    } finally {
      await context.close();
    }
  }

  return { skip: missing ?? false, inPage };
}
