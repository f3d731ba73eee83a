/**
 * The few browser globals that this project uses, because TypeScript's DOM library would also
 * declare hundreds that Node has not. Each may be missing, so each is typed so: code must ask
 * before it uses one.
 */

interface WebMessageEvent {
  readonly data: unknown;
}

interface WebErrorEvent {
  readonly message: string;
  readonly filename: string;
  readonly lineno: number;
  preventDefault(): void;
}

interface WebRejectionEvent {
  readonly reason: unknown;
  preventDefault(): void;
}

/** A dedicated worker as its owner sees it. Exits are silent: the web has no "exit" event. */
interface WebWorker {
  postMessage(message: unknown, transfer?: readonly object[]): void;
  terminate(): void;
  addEventListener(type: "message", listener: (event: WebMessageEvent) => void): void;
  addEventListener(type: "error" | "messageerror", listener: (event: WebErrorEvent) => void): void;
}

interface WebWorkerConstructor {
  new (
    url: URL | string,
    options?: { readonly type?: "module" | "classic"; readonly name?: string },
  ): WebWorker;
}

/** The global scope inside a dedicated worker. */
interface WebWorkerScope {
  readonly name: string;
  postMessage(message: unknown, transfer?: readonly object[]): void;
  addEventListener(type: "message", listener: (event: WebMessageEvent) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: WebRejectionEvent) => void): void;
  close(): void;
}

interface WebNavigator {
  readonly hardwareConcurrency: number;
  readonly userAgent: string;
}

declare var Worker: WebWorkerConstructor | undefined;
declare var navigator: WebNavigator | undefined;
/** In a window, the window; in a dedicated worker, its scope; in Node 20, undefined. */
declare var self: WebWorkerScope | undefined;
/** Present in windows only, so its presence tells a page from a worker. */
declare var document: object | undefined;
/** True where SharedArrayBuffer may be shared: the page was served with COOP and COEP headers. */
declare var crossOriginIsolated: boolean | undefined;
/** In a browser's window or Worker, where it is. */
declare var location: { readonly href: string } | undefined;
/** In a dedicated Worker of the web's kind, its scope's class. */
declare var DedicatedWorkerGlobalScope: object | undefined;

/** Calls back before the browser draws its next frame; in windows. */
declare var requestAnimationFrame: ((callback: (timeMs: number) => void) => number) | undefined;
