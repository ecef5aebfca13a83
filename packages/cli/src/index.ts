export { type ExitCode, exitCodes } from "./exit-codes.ts";
export type { Io } from "./io.ts";
export { run } from "./program.ts";
export { encodeReceipt, parseReceipt } from "./receipt-file.ts";
