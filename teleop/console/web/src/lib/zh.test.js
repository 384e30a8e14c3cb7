import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ZH } from "./zh.js";
import { WORDS } from "./words.js";

const src = join(dirname(fileURLToPath(import.meta.url)), "..");
const files = ["console.js", "bedside.js", ...["views", "image", "scene", "lib", "net", "input", "media"].flatMap((d) => readdirSync(join(src, d)).filter((f) => f.endsWith(".js") && !/test|zh|words/.test(f)).map((f) => join(d, f)))];

test("every text of the pages exists in Chinese", () => {
  const missing = new Set();
  for (const file of files) {
    const source = readFileSync(join(src, file), "utf8");
    // t("..."), {t: "..."}, {label: "..."}, the labels of actions, and the tables of names and texts
    for (const pattern of [/\bt\("((?:[^"\\]|\\.)+)"/g, /\bt: "((?:[^"\\]|\\.)+)"/g, /label: "((?:[^"\\]|\\.)+)"/g, /order\("[\w.]+", "([^"]+)"/g, /chip\("[a-z]+", "([^"]+)"/g, /(?:button\("[a-z]+"|\["[\w-]*"), "([A-Z][^"]+)"/g, /\["([A-Z][a-z][^"]+)", /g]) for (const [, words] of source.matchAll(pattern)) {
      const english = WORDS[words] ?? words;
      if (!ZH[english] && !/^(CT|3D Slicer|plan\.json|Dr\. …|label|webgl|English)/.test(english) && !/^[a-z_]+$/.test(words)) missing.add(`${file}: ${english}`);
    }
  }
  assert.deepEqual([...missing], []);
  for (const english of Object.values(WORDS)) assert.ok(ZH[english] || english === "images", english);
});
