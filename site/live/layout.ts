/** @module What the program and the map of the live page have in common: places and sizes. */

export const PAGE = 4096;
/** Where the map begins; the program maps nothing outside of it. */
export const BASE = 0x10_0000;
/** Pages of the map. */
export const MAP_PAGES = 32;
/** Frames of the device: fewer than the pages that it works on. */
export const DEVICE_FRAMES = 8;
