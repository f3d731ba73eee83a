/** @module The live page without the rest of the site: what index.html loads, for its test. */

import { mountLive } from "./live-page.ts";

const root = document.querySelector<HTMLElement>("#live");
if (root === null) throw new Error("The page has no element for the live page");
const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.classList.toggle("dark", isDark);
if (isDark) document.body.style.background = "#1b1b1f";
await mountLive(root, "/");
