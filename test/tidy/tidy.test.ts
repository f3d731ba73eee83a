/**
 * @module Style as a test: the project obeys every rule, and every rule catches the fixtures that
 * break it.
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { readProject, rootPath } from "./read-project.ts";
import type { Finding } from "./rule.ts";
import { allRules } from "./rules/all-rules.ts";

const project = readProject();

function listed(findings: readonly Finding[]): string {
  return findings.map(({ path, line, message }) => `${path}:${line}: ${message}`).join("\n");
}

test("tidy reads the project", () => {
  assert.ok(project.some((file) => file.path === "package.json"));
  assert.ok(project.some((file) => file.path === "test/tidy/tidy.test.ts"));
});

test("tidy runs every rule that has a file", () => {
  const files = readdirSync(`${rootPath}test/tidy/rules`).filter((name) => name !== "all-rules.ts");
  assert.equal(allRules.length, files.length);
});

for (const rule of allRules) {
  test(`tidy: ${rule.name}`, () => {
    const findings = rule.check(project);
    if (findings.length > 0) assert.fail(`${findings.length} found\n${listed(findings)}`);
  });

  for (const [name, files] of Object.entries(rule.broken)) {
    test(`tidy catches: ${rule.name}: ${name}`, () => {
      assert.notEqual(rule.check(files).length, 0);
    });
  }

  for (const [name, files] of Object.entries(rule.sound)) {
    test(`tidy lets pass: ${rule.name}: ${name}`, () => {
      assert.equal(listed(rule.check(files)), "");
    });
  }

  test(`tidy has twins: ${rule.name}`, () => {
    assert.notEqual(Object.keys(rule.broken).length, 0);
    assert.notEqual(Object.keys(rule.sound).length, 0);
  });
}
