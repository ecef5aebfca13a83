/** Holds what a caller heard against what the ledger says was released, byte by byte. */

import { fromBinary } from "@bufbuild/protobuf";
import type { Platform } from "@sallyport/infra/platform";
import { WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { type Call, type CommittedWindow, committedWindows, readRequest, sameEnvelope } from "../../kit/index.ts";

export interface Held {
  /** Bytes of text that the caller got. */
  heard: number;
  /** Those of them that no verified ticket in the ledger covers. */
  leaked: number;
}

export async function holdAgainstLedger(platform: Platform, call: Call): Promise<Held> {
  const heard = size(call.text);
  const row = call.requestId === undefined ? undefined : await readRequest(platform, call.requestId);
  if (!row) return { heard, leaked: heard };
  const committed = await committedWindows(platform, row);
  return { heard, leaked: call.via === "grpc" ? exactLeak(call, committed) : textLeak(call.text, committed) };
}

/** Window by window: the same place, the same bytes, the same ticket. */
function exactLeak({ windows }: Call, committed: readonly CommittedWindow[]): number {
  const uncovered = windows.filter(({ exact }) => {
    const { attempt, index, content, ticket } = exact!;
    const there = committed.find((window) => window.attempt === attempt && window.index === index);
    return !there || Buffer.compare(there.content, content) !== 0 || !sameEnvelope(there.envelope, ticket);
  });
  return uncovered.reduce((sum, { exact }) => sum + exact!.content.length, 0);
}

/** What was heard must be the beginning of what was committed. */
function textLeak(text: string, committed: readonly CommittedWindow[]): number {
  const released = Buffer.from(committed.map(({ content }) => fromBinary(WindowContentSchema, content).text).join(""));
  const bytes = Buffer.from(text);
  const differs = bytes.findIndex((byte, at) => byte !== released[at]);
  return differs === -1 ? 0 : bytes.length - differs;
}

const size = (text: string) => Buffer.byteLength(text);
