/**
 * scripts/site/: links of the documents as the site has them, the exhibits as pages, and links to
 * parts of a page that are not there.
 */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

interface Page {
  readonly title: string;
  readonly source: string;
  readonly path: string;
}

type PageOf = (document: string, fragment: string) => string | undefined;

const root = new URL("../../../", import.meta.url);

async function load<T>(name: string): Promise<T> {
  return (await import(new URL(`scripts/site/${name}.mjs`, root).href)) as T;
}

const { relink, fragmentOf } = await load<{
  relink: (text: string, from: { source: string; path: string }, pageOf: PageOf) => string;
  fragmentOf: (heading: string) => string;
}>("links");
const { splitExhibits } = await load<{
  splitExhibits: (text: string) => {
    introduction: string;
    exhibits: readonly { title: string; group: string; name: string; text: string }[];
  };
}>("exhibits");
const { missingFragments } = await load<{ missingFragments: (folder: string) => string[] }>(
  "fragments",
);
const { chapters, pageOfDocument } = await load<{
  chapters: readonly { pages: readonly Page[] }[];
  pageOfDocument: () => Map<string, string>;
}>("contents");

describe("links of a document", () => {
  const from = { source: "docs/A.md", path: "guides/a" };
  const pageOf: PageOf = (document, fragment) => {
    if (document === "docs/B.md") return fragment === "" ? "b" : `b#${fragment}`;
    return document === "docs/A.md" ? `guides/a#${fragment}` : undefined;
  };

  test("to another document, and to a part of it", () => {
    assert.equal(relink("[b](B.md) [c](B.md#c)", from, pageOf), "[b](../b.md) [c](../b.md#c)");
  });

  test("to a part of itself", () => {
    assert.equal(relink("[here](#limits)", from, pageOf), "[here](#limits)");
  });

  test("to what is no page becomes text, elsewhere stays", () => {
    const text = "[the code](../src/a.ts), [`b.ts`](../src/b.ts), [x](https://example.org/#y)";
    const expected = "`the code`, `b.ts`, [x](https://example.org/#y)";
    assert.equal(relink(text, from, pageOf), expected);
  });

  test("parts are named as where the document is read", () => {
    assert.equal(
      fragmentOf("What a caller may rely on: `EBUSY`"),
      "what-a-caller-may-rely-on-ebusy",
    );
  });
});

describe("exhibits", () => {
  const text = [
    "# Exhibits",
    "",
    "## Group",
    "Of all.",
    "### The bug",
    "Text.",
    "```",
    "### not a heading",
    "```",
    "## Next",
    "### Another bug",
  ].join("\n");

  test("a page for each bug, the rest is the first page", () => {
    const { introduction, exhibits } = splitExhibits(text);
    assert.equal(introduction, "# Exhibits\n\n## Group\nOf all.\n## Next");
    assert.deepEqual(
      exhibits.map(({ name, group }) => [name, group]),
      [
        ["the-bug", "Group"],
        ["another-bug", "Next"],
      ],
    );
    assert.equal(exhibits[0]?.text, "# The bug\nText.\n```\n### not a heading\n```");
  });

  test("those of this repository all become pages", () => {
    const whole = readFileSync(new URL("docs/EXHIBITS.md", root), "utf8");
    const { introduction, exhibits } = splitExhibits(whole);
    const linked = [...introduction.matchAll(/\]\(#([^)]+)\)/g)].map((match) => match[1] ?? "");
    const names = new Set(exhibits.map(({ name }) => name));
    assert.ok(names.size > 10);
    assert.deepEqual(
      linked.filter((name) => !names.has(name)),
      [],
    );
  });
});

test("every page is made of a document, and every document is a page", () => {
  const pages = chapters.flatMap((chapter) => chapter.pages);
  for (const { source } of pages) assert.ok(existsSync(new URL(source, root)), source);
  const readme = readFileSync(new URL("README.md", root), "utf8");
  const documents = [...readme.matchAll(/\]\((docs\/[\w/-]+\.md)/g)].map((match) => match[1] ?? "");
  const ofSite = pageOfDocument();
  assert.ok(documents.length > 10);
  assert.deepEqual(
    documents.filter((document) => !ofSite.has(document)),
    [],
  );
});

describe("parts of pages", () => {
  const folder = mkdtempSync(join(tmpdir(), "site-"));
  after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "guides"));
  const links = `<a href="../b#there">1</a><a class="x" href="/b#gone">2</a><a href="#own">3</a>`;
  writeFileSync(join(folder, "guides/a.html"), `<h2 id="own">own</h2>${links}`);
  writeFileSync(join(folder, "b.html"), `<h2 id="there">b</h2><a href="/guides/a">a</a>`);

  test("those that are not there are told, with the page that links to them", () => {
    assert.deepEqual(missingFragments(folder), ["guides/a.html links to /b#gone"]);
  });
});
