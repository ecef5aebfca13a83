// The test step of the gate: all tests of the repository in one run.
import { runTests } from "./gate.ts";

process.exitCode = await runTests(process.argv.slice(2));
