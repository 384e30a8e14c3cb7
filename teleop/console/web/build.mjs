// Bundles the pages into ../static. `--check` fails when the committed bundle is not what these sources give.
import { build } from "esbuild";
import { mkdtempSync, readFileSync, readdirSync, copyFileSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes("--check");
const target = join(here, "..", "static");
const out = check ? mkdtempSync(join(tmpdir(), "longhand-web-")) : target;
mkdirSync(out, { recursive: true });
await build({
  entryPoints: {
    console: join(here, "src/console.js"),
    bedside: join(here, "src/bedside.js"),
    "net.worker": join(here, "src/net/net.worker.js"),
    "slice.worker": join(here, "src/image/slice.worker.js"),
    "scene.worker": join(here, "src/scene/scene.worker.js"),
    style: join(here, "src/style.css"),
    cockpit: join(here, "src/cockpit.js"),
    cockpit_style: join(here, "src/cockpit.css"),
  },
  external: ["/static/*"], bundle: true, minify: true, format: "esm", target: ["chrome110", "firefox115", "safari16"],
  outdir: out, legalComments: "eof", logLevel: "warning", charset: "utf8",
});
for (const name of ["console.html", "bedside.html", "cockpit.html", "icon.svg"]) copyFileSync(join(here, "src", name), join(out, name));
if (check) {
  const stale = readdirSync(out).filter((name) => {
    try { return !readFileSync(join(out, name)).equals(readFileSync(join(target, name))); } catch { return true; }
  });
  rmSync(out, { recursive: true });
  if (stale.length) {
    console.error(`the committed bundle is not current: ${stale.join(", ")}. Run: npm ci && npm run build, in teleop/console/web`);
    process.exit(1);
  }
  console.log("the committed bundle is current");
}
