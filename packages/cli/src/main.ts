import { processIo } from "./io.ts";
import { run } from "./program.ts";

const abort = new AbortController();
process.once("SIGINT", () => abort.abort());
process.once("SIGTERM", () => abort.abort());
// Whoever reads us (head, less) may stop reading: no reason to crash.
process.stdout.on("error", () => process.exit(0));

process.exitCode = await run(process.argv.slice(2), processIo(abort.signal));
