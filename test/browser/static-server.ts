/**
 * @module Serves the built files to the browser tests, with the two headers that make a page
 * cross-origin isolated and so give it SharedArrayBuffer. It serves one folder and the list of its
 * modules, on the loopback interface, and nothing else.
 */

import { createReadStream, readdirSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** .build/, from .build/test/browser/. */
const servedPath = fileURLToPath(new URL("../../", import.meta.url));

const contentTypes: Readonly<Record<string, string>> = {
  ".js": "text/javascript; charset=utf-8",
  ".map": "application/json",
  ".json": "application/json",
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
};

/** Where every page module is loaded into. */
const emptyPage = `<!doctype html><meta charset="utf-8"><title>hmm-ts</title><link rel="icon" href="data:,">`;

export interface StaticServer {
  /** Without a slash at its end. */
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Starts on a free port, and serves .build/ or another folder; with `isIsolated` false it leaves
 * the two headers out. `policy`: the Content-Security-Policy of all that it serves.
 */
export function startStaticServer(
  isIsolated: boolean,
  folder: string = servedPath,
  policy?: string,
): Promise<StaticServer> {
  const server = createServer((request, response) => {
    if (policy !== undefined) response.setHeader("Content-Security-Policy", policy);
    answer(request, response, { isIsolated, folder });
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string")
        return reject(new Error("the server has no port"));
      const close = (): Promise<void> =>
        new Promise((closed) => {
          server.close(() => closed());
          server.closeAllConnections();
        });
      resolve({ origin: `http://127.0.0.1:${address.port}`, close });
    });
  });
}

/** Every module of the package, by its path from .build/. */
function sourceModules(): string[] {
  const paths = readdirSync(`${servedPath}src`, { recursive: true, encoding: "utf8" });
  return paths
    .filter((path) => path.endsWith(".js"))
    .map((path) => `src/${path.split(sep).join("/")}`);
}

interface Site {
  readonly isIsolated: boolean;
  readonly folder: string;
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { isIsolated, folder }: Site,
): void {
  const url = new URL(request.url ?? "/", "http://localhost");
  // A browser lives for one page: it sees nothing old, and its Workers need not load every module
  // anew.
  response.setHeader("Cache-Control", "max-age=600");
  if (isIsolated) {
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Cross-Origin-Resource-Policy", "same-origin");
  }
  if (url.pathname === "/") {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(emptyPage);
    return;
  }
  if (url.pathname === "/modules.json") {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(sourceModules()));
    return;
  }
  const root = folder.endsWith(sep) ? folder : folder + sep;
  const path = fileURLToPath(new URL(`.${url.pathname}`, pathToFileURL(root)));
  const type = contentTypes[extname(path)];
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  if (type === undefined || !isFile || !path.startsWith(root)) {
    response.writeHead(404).end("not here");
    return;
  }
  response.setHeader("Content-Type", type);
  createReadStream(path).pipe(response);
}
