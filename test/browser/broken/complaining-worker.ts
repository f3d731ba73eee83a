/** @module A worker that prints an error, then says that it has. */

console.error("said by a worker");
self?.postMessage("done");
