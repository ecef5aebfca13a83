import { create, toBinary } from "@bufbuild/protobuf";
import {
  OutcomeSchema,
  RequestState,
  WindowContentSchema,
  WindowSchema,
} from "@sallyport/proto/sallyport/generation/v1/generation";
import { expect, test } from "vitest";
import { runChat } from "../src/chat.ts";
import { toContent } from "../src/content.ts";
import type { ChatEvent, Transport } from "../src/transport/transport.ts";
import type { TrustSource } from "../src/verify/trust.ts";

const request = { model: "m", messages: [{ role: "user" as const, content: "hello" }] };
const accepted = (id: string): ChatEvent => ({ accepted: id });
const window = (text: string): ChatEvent => ({
  window: create(WindowSchema, { content: toBinary(WindowContentSchema, create(WindowContentSchema, { text })) }),
});
const released: ChatEvent = { outcome: create(OutcomeSchema, { state: RequestState.RELEASED }) };

/** What a caller gets from a gateway that sends just this. */
async function heard(events: readonly ChatEvent[], trust?: TrustSource): Promise<string> {
  const transport = {
    async *chat() {
      yield* events;
    },
  } as unknown as Transport;
  const chat = { request, content: toContent(request), idempotencyKey: "" };
  const call = { bearer: "t", signal: new AbortController().signal, deadlineAt: Date.now() + 1_000 };
  const windows = runChat({ transport, trust, onAccepted: () => {} }, chat, call);
  for (;;) {
    const { done, value } = await windows.next();
    if (done) return value.text;
  }
}

test("a text is one request's: windows of two are not put together", async () => {
  expect(await heard([accepted("a"), window("one "), window("text"), released])).toBe("one text");
  const spliced = [accepted("a"), window("one "), accepted("b"), window("text"), released];
  await expect(heard(spliced)).rejects.toMatchObject({ reason: "MESSAGE_MALFORMED" });
});

test("whoever verifies is told of no release that nothing was accepted for", async () => {
  const trust = () => expect.unreachable();
  await expect(heard([released], trust)).rejects.toMatchObject({ reason: "MESSAGE_MALFORMED" });
});
