/**
 * @module host/consumer-types
 * Types of the language and of hosts that the package's declarations name, for programs that have
 * not asked their compiler for them. Every entry of the package imports this file. It has no code.
 */

/// <reference lib="esnext.disposable" preserve="true" />

// An empty interface adds nothing to the one that a host's declarations have, and stands for it
// where there are none.
declare global {
  interface URL {}
  interface AbortSignal {}
}
