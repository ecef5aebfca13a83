/** `npm run demo`: a tour against the running platform; each act explains itself, and fails the tour when a promise does. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { allowed } from "./acts/allowed.ts";
import { blocked } from "./acts/blocked.ts";
import { forged } from "./acts/forged.ts";
import { held } from "./acts/held.ts";
import { paused } from "./acts/paused.ts";
import { proven } from "./acts/proven.ts";
import { repeated } from "./acts/repeated.ts";
import { openTour, type Tour } from "./tour.ts";

const acts = [allowed, blocked, held, repeated, paused, proven, forged] as const;

async function main(): Promise<number> {
  const home = resolve(process.env.SALLYPORT_HOME ?? fileURLToPath(new URL("../../.sallyport", import.meta.url)));
  if (!existsSync(join(home, "endpoints.json"))) {
    console.error(`No platform runs on ${home}. Start one first: npm start`);
    return 1;
  }
  using tour = openTour(home, JSON.parse(readFileSync(join(home, "endpoints.json"), "utf8")));
  for (const [index, act] of acts.entries()) await play(tour, index + 1, act);
  console.log("\nThat was the tour: every promise held.");
  return 0;
}

async function play(tour: Tour, number: number, act: (tour: Tour) => Promise<void>): Promise<void> {
  tour.act = number;
  await act(tour);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`\nThe tour stopped: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
