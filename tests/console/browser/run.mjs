// Runs the scenarios (all, or those whose name contains an argument); one JSON line per scenario: {name, ok, error, ms}.
import { launch, server } from "./kit.mjs";
import { bedsideScenarios, bedsideServer } from "./bedside_scenarios.mjs";
import { consultScenarios, consultServer } from "./consult_scenarios.mjs";
import { handScenarios } from "./hand_scenarios.mjs";
import { scenarios } from "./scenarios.mjs";

const wanted = process.argv.slice(2);
const browser = await launch();
let failed = 0;
try {
  for (const [name, run] of Object.entries({ ...scenarios, ...handScenarios, ...bedsideScenarios, ...consultScenarios })) {
    if (wanted.length && !wanted.some((w) => name.includes(w))) continue;
    const start = Date.now();
    let srv = null, error = "";
    try {
      srv = await server([], name in consultScenarios ? consultServer : name in bedsideScenarios ? bedsideServer : undefined);
      await run({ browser, srv, launch });
    } catch (e) { error = `${e.message}`; failed++; } finally {
      for (const context of browser.contexts()) await context.close().catch(() => {});
      await srv?.close().catch(() => {});
    }
    console.log(JSON.stringify({ name, ok: !error, error, ms: Date.now() - start }));
  }
} finally { await browser.close(); }
process.exit(failed ? 1 : 0);
