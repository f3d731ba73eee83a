/**
 * The live page and the map alone, without the site: built in seconds into `site/live/dist/`, for
 * their tests.
 */

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { libraryAlias } from "../vite-library.mts";

const here = fileURLToPath(new URL("./", import.meta.url));

export default defineConfig({
  root: here,
  publicDir: fileURLToPath(new URL("../pages/public", import.meta.url)),
  resolve: { alias: libraryAlias },
  worker: { format: "es" },
  build: {
    outDir: `${here}dist`,
    emptyOutDir: true,
    target: "es2022",
    rollupOptions: { input: [`${here}index.html`, `${here}world.html`] },
  },
});
