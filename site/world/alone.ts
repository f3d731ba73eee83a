/** @module The map page without the rest of the site: what world.html loads, for its test. */

import { mountWorld } from "./world-page.ts";

const root = document.querySelector<HTMLElement>("#world");
if (root === null) throw new Error("The page has no element for the map");
await mountWorld(root, "/");
