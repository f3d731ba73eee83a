/**
 * @module Shared memory in a page that a plain static server delivers. The page must be
 * cross-origin isolated, by two headers. Where the server does not send them, a service worker
 * (site/pages/public/isolation-worker.js) adds them to what it fetches, from the next load of the
 * page on. So the page is loaded once more; whether that has been tried is noted in the session.
 */

/** A service worker of a few lines is ready long before. */
const READY_MS = 10_000;

const TRIED = "hmm-ts: loaded again for isolation";

/** "ready"; "reloading"; or why there is no shared memory, in words. */
export type Isolation = "ready" | "reloading" | { readonly missing: string };

/** `base`: the address of the site, with a slash at its end. */
export async function requestIsolation(base: string): Promise<Isolation> {
  if (crossOriginIsolated) {
    sessionStorage.removeItem(TRIED);
    return "ready";
  }
  if (!isSecureContext) {
    return { missing: "The page was not loaded over HTTPS or from localhost." };
  }
  if (!("serviceWorker" in navigator)) {
    return { missing: "This browser lets the page have no service worker, which could add them." };
  }
  if (sessionStorage.getItem(TRIED) !== null) {
    return { missing: "A service worker was to add them, and the browser did not accept that." };
  }
  try {
    await navigator.serviceWorker.register(`${base}isolation-worker.js`, { scope: base });
    await waitForWorker();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { missing: `A service worker was to add them, and could not be started: ${why}` };
  }
  sessionStorage.setItem(TRIED, "yes");
  location.reload();
  return "reloading";
}

/** `ready` alone does not settle where the browser has a worker registered and never starts it. */
async function waitForWorker(): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const fail = (): void => reject(new Error("the browser did not start it"));
    timer = setTimeout(fail, READY_MS);
  });
  try {
    await Promise.race([navigator.serviceWorker.ready, late]);
  } finally {
    clearTimeout(timer);
  }
}
