import { EngineError } from "../engine.ts";

const maxLineBytes = 1024 * 1024;
const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * The `data` of each server-sent event (WHATWG HTML, section 9.2), for the subset that OpenAI-compatible servers speak:
 * one line of data an event. Lines are bounded and must be UTF-8; comments and other fields are passed over.
 */
export async function* readEvents(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, void> {
  for await (const line of readLines(bytes)) {
    if (line.startsWith("data:")) yield line.slice(line.startsWith("data: ") ? 6 : 5);
  }
}

async function* readLines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, void> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const piece of bytes) {
    let start = 0;
    for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, start)) {
      yield decodeLine([...pending, piece.subarray(start, end)]);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
    }
    pending.push(piece.subarray(start));
    pendingBytes += piece.length - start;
    if (pendingBytes > maxLineBytes) throw new EngineError("ENGINE_FAILED", "the model server sent an endless line");
  }
}

function decodeLine(parts: readonly Uint8Array[]): string {
  const line = Buffer.concat(parts);
  const end = line.at(-1) === carriageReturn ? line.length - 1 : line.length;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(line.subarray(0, end));
  } catch (cause) {
    throw new EngineError("ENGINE_FAILED", "the model server sent something that is not UTF-8", cause);
  }
}
