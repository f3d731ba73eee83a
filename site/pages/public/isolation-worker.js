/**
 * @module A service worker that adds the two headers which make a page cross-origin isolated, for
 * servers that cannot send them. It changes nothing else, and keeps nothing. The live page starts
 * it (site/live/isolation.ts).
 */

addEventListener("install", () => self.skipWaiting());
addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/** @param {Request} request */
async function fetchIsolated(request) {
  const response = await fetch(request);
  // An opaque response has no headers to add to, and a redirect is followed by the browser.
  if (response.status === 0 || response.type === "opaqueredirect") return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  const { status, statusText } = response;
  const body = status === 204 || status === 304 ? null : response.body;
  return new Response(body, { status, statusText, headers });
}

addEventListener("fetch", (event) => {
  const { request } = event;
  if (new URL(request.url).origin === location.origin) event.respondWith(fetchIsolated(request));
});
