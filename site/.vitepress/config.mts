/** The documentation site: its navigation, from the one table of pages, and how it is built. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type DefaultTheme } from "vitepress";
import { apiEntries, chapters, EXHIBITS } from "../../scripts/site/contents.mjs";
import { fragmentOf } from "../../scripts/site/links.mjs";
import { libraryAlias } from "../vite-library.mts";

interface ExhibitEntry {
  readonly title: string;
  readonly group: string;
  readonly name: string;
}

const exhibits = JSON.parse(
  readFileSync(new URL("../.pages/exhibits.json", import.meta.url), "utf8"),
) as readonly ExhibitEntry[];

function exhibitItems(): DefaultTheme.SidebarItem[] {
  const groups = [...new Set(exhibits.map(({ group }) => group))];
  const groupItems = groups.map((group) => ({
    text: group,
    collapsed: true,
    items: exhibits
      .filter((one) => one.group === group)
      .map(({ title, name }) => ({ text: title, link: `/${EXHIBITS.folder}/${name}` })),
  }));
  return [{ text: "What they are", link: `/${EXHIBITS.folder}/` }, ...groupItems];
}

/** The folders of one entry's reference, as they are named, and their titles here. */
const kinds = [
  ["classes", "Classes"],
  ["functions", "Functions"],
  ["interfaces", "Interfaces"],
  ["type-aliases", "Types"],
  ["variables", "Constants"],
] as const;

function apiItem(entry: string): DefaultTheme.SidebarItem {
  const folders = kinds.map(([folder, text]) => {
    const path = fileURLToPath(new URL(`../.pages/api/${entry}/${folder}`, import.meta.url));
    const names = existsSync(path)
      ? readdirSync(path).map((name) => name.replace(/\.md$/, ""))
      : [];
    const items = names.map((name) => ({ text: name, link: `/api/${entry}/${folder}/${name}` }));
    return { text, collapsed: true, items };
  });
  return {
    text: entry,
    link: `/api/${entry}/`,
    collapsed: true,
    items: folders.filter(({ items }) => items.length > 0),
  };
}

const sidebar: DefaultTheme.SidebarItem[] = [
  ...chapters.map(({ title, pages }) => ({
    text: title,
    items: pages.map((page) => ({ text: page.title, link: `/${page.path}` })),
  })),
  { text: "Exhibits", collapsed: true, items: exhibitItems() },
  { text: "Reference", collapsed: false, items: Object.keys(apiEntries).map(apiItem) },
];

/** A page that starts Workers on shared memory must be served so. */
const isolated = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  title: "hmm-ts",
  description:
    "One virtual address space for JavaScript threads and compute devices: Linux HMM for the web.",
  lang: "en",
  srcDir: ".pages",
  outDir: "dist",
  cleanUrls: true,
  lastUpdated: false,
  markdown: { html: false, anchor: { slugify: fragmentOf } },
  vite: {
    resolve: { alias: libraryAlias },
    server: { headers: isolated },
    preview: { headers: isolated },
    worker: { format: "es" },
    build: { target: "es2022", chunkSizeWarningLimit: 2048 },
  },
  themeConfig: {
    nav: [
      { text: "Start", link: "/guides/node" },
      { text: "Live", link: "/live" },
      { text: "The world", link: "/world" },
      { text: "Reference", link: "/api/hmm-ts/" },
    ],
    sidebar,
    search: { provider: "local" },
    outline: [2, 3],
    docFooter: { prev: "Before", next: "Next" },
  },
});
