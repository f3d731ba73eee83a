/** @module The kernel of dispatch.ts. */

export function nothing(): void {}
