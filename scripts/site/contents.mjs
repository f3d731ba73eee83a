/**
 * @module What the documentation site has, in the order in which a newcomer reads it: each page,
 * the document that it is made of, and its place in the sidebar. The site's configuration and the
 * steps that write the pages read this one table.
 */

/**
 * @typedef {object} Page
 * @property {string} title In the sidebar.
 * @property {string} source From the repository's root.
 * @property {string} path From the site's root, without an ending.
 */

/**
 * @typedef {object} Chapter
 * @property {string} title
 * @property {readonly Page[]} pages
 */

/**
 * @param {string} title
 * @param {string} source
 * @param {string} path
 * @returns {Page}
 */
function page(title, source, path) {
  return { title, source, path };
}

/** @type {readonly Chapter[]} */
export const chapters = [
  {
    title: "Getting started",
    pages: [
      page("In Node", "docs/guides/NODE.md", "guides/node"),
      page("In the browser", "docs/guides/BROWSER.md", "guides/browser"),
      page("With WebAssembly", "docs/guides/WASM.md", "guides/wasm"),
      page("Devices", "docs/guides/DEVICES.md", "guides/devices"),
      page("Bundlers", "docs/BUNDLERS.md", "guides/bundlers"),
      page("WebGPU", "docs/WEBGPU.md", "webgpu"),
    ],
  },
  {
    title: "Further",
    pages: [
      page("Errors", "docs/ERRORS.md", "errors"),
      page("Writing a driver", "docs/DRIVERS.md", "drivers"),
      page("The checker", "docs/CHECKER.md", "checker"),
      page("The command", "docs/COMMAND.md", "command"),
      page("Speed", "docs/BENCHMARKS.md", "benchmarks"),
      page("Limits", "docs/LIMITS.md", "limits"),
      page("Security", "docs/SECURITY.md", "security"),
    ],
  },
  {
    title: "How it works",
    pages: [
      page("Architecture", "docs/ARCHITECTURE.md", "architecture"),
      page("Against Linux", "docs/LINUX.md", "linux"),
      page("Locks", "docs/LOCKING.md", "locking"),
      page("Invariants", "docs/INVARIANTS.md", "invariants"),
      page("What is explored", "docs/EXPLORED.md", "explored"),
      page("Missing lines", "docs/MUTANTS.md", "mutants"),
      page("Working on it", "docs/WORKING.md", "working"),
      page("What changed", "CHANGELOG.md", "changelog"),
    ],
  },
];

/** The document that becomes a page for each bug, and where those pages are. */
export const EXHIBITS = { source: "docs/EXHIBITS.md", folder: "exhibits" };

/** The entries of the library that the reference describes, by the name of their import. */
export const apiEntries = {
  "hmm-ts": "src/index.ts",
  "hmm-ts/worker": "src/worker.ts",
  "hmm-ts/webgpu": "src/webgpu.ts",
  "hmm-ts/driver": "src/driver.ts",
  "hmm-ts/checker": "src/checker/index.ts",
};

/** @returns {Map<string, string>} From a document's path to its page's. */
export function pageOfDocument() {
  const pages = chapters.flatMap((chapter) => chapter.pages);
  const map = new Map(pages.map(({ source, path }) => [source, path]));
  return map.set(EXHIBITS.source, `${EXHIBITS.folder}/index`).set("README.md", "index");
}
