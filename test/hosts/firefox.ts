/** @module A Firefox of the system's, driven by puppeteer-core, which test/hosts installs. */

import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { rootPath } from "../installed-tools.ts";

/** What is used of puppeteer's browser. */
export interface FirefoxBrowser {
  version(): Promise<string>;
  newPage(): Promise<FirefoxPage>;
  close(): Promise<void>;
}

/** What is used of its page. */
export interface FirefoxPage {
  goto(url: string): Promise<unknown>;
  /** Evaluates an expression and awaits its promise. */
  evaluate(expression: string): Promise<unknown>;
}

interface Puppeteer {
  launch(options: {
    readonly browser: "firefox";
    readonly executablePath: string;
    readonly headless: boolean;
  }): Promise<FirefoxBrowser>;
}

/** $FIREFOX, or the first of the usual names on PATH; undefined if there is none. */
export function findFirefox(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const folders = (environment["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const paths = ["firefox-esr", "firefox"].flatMap((name) =>
    folders.map((folder) => join(folder, name)),
  );
  const chosen = environment["FIREFOX"];
  return (chosen === undefined || chosen === "" ? paths : [chosen]).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export async function launchFirefox(executablePath: string): Promise<FirefoxBrowser> {
  const require = createRequire(`${rootPath}test/hosts/package.json`);
  const module: unknown = await import(pathToFileURL(require.resolve("puppeteer-core")).href);
  const { default: puppeteer } = module as { readonly default: Puppeteer };
  return await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
}
