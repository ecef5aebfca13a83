import { expect, test } from "vitest";
import type { WindowText } from "../domain/window-cutter.ts";
import { WindowSender } from "./window-sender.ts";

/** One whose beginning is said, with a first window. */
async function begunSender({ sending, turn }: ReturnType<typeof slowBus>): Promise<WindowSender> {
  const sender = new WindowSender(sending());
  await sender.push({ text: "First. " });
  await turn();
  return sender;
}

/** A bus whose every acknowledgement is given by hand. */
function slowBus() {
  const sent: WindowText[] = [];
  const acks: PromiseWithResolvers<void>[] = [];
  const send = (window: WindowText) => {
    sent.push(window);
    acks.push(Promise.withResolvers<void>());
    return acks.at(-1)!.promise;
  };
  const sending = (begin = (_first: WindowText | undefined) => Promise.resolve()) => ({ begin, send, patienceMs: 5 });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { sent, acks, sending, turn };
}

test("a first window that is there in time goes with the start, and a start without one does not wait for long", async () => {
  const said: (string | undefined)[] = [];
  const begin = async (first: WindowText | undefined) => void said.push(first?.text);
  const send = async ({ text }: WindowText) => void said.push(text);
  const quick = new WindowSender({ begin, send, patienceMs: 60_000 });
  await quick.push({ text: "One. " });
  await quick.end();
  expect(said).toEqual(["One. "]);
  const slow = new WindowSender({ begin, send, patienceMs: 1 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(said).toEqual(["One. ", undefined]);
  await slow.push({ text: "Two. " });
  await slow.end();
  expect(said).toEqual(["One. ", undefined, "Two. "]);
});

test("what the engine brings in one piece goes out as one window, with the start or after it", async () => {
  const sent: (string | undefined)[] = [];
  const say = async (window: WindowText | undefined) => void sent.push(window?.text);
  const sender = new WindowSender({ begin: say, send: say, patienceMs: 60_000 });
  for (const text of ["One. ", "Two. "]) await sender.push({ text });
  await new Promise((resolve) => setTimeout(resolve, 5));
  for (const text of ["Three. ", "Four. "]) await sender.push({ text });
  await sender.end();
  expect(sent).toEqual(["One. Two. ", "Three. Four. "]);
});

test("windows that a slow bus keeps waiting go out together, whole, in order, the end last", async () => {
  const { sent, acks, sending, turn } = slowBus();
  const begun = Promise.withResolvers<void>();
  const beginning = Promise.withResolvers<WindowText | undefined>();
  const sender = new WindowSender(
    sending((first) => {
      beginning.resolve(first);
      return begun.promise;
    }),
  );
  expect(await beginning.promise).toBeUndefined();
  await sender.push({ text: "One. " });
  await sender.push({ text: "Two. " });
  expect(sent).toEqual([]);
  begun.resolve();
  await turn();
  expect(sent).toEqual([{ text: "One. Two. " }]);
  await sender.push({ text: "Three. " });
  await sender.push({ text: "", finishReason: "stop", usage: { promptTokens: 1, completionTokens: 6 } });
  acks[0]!.resolve();
  await turn();
  expect(sent[1]).toEqual({ text: "Three. ", finishReason: "stop", usage: { promptTokens: 1, completionTokens: 6 } });
  acks[1]!.resolve();
  await sender.end();
  expect(sent).toHaveLength(2);
});

test("a window that a quick bus takes at once goes out by itself", async () => {
  const sent: string[] = [];
  const say = async (window: WindowText | undefined) => void sent.push(window?.text ?? "");
  const sender = new WindowSender({ begin: say, send: say, patienceMs: 5 });
  for (const text of ["One. ", "Two. "]) {
    await sender.push({ text });
    await new Promise((resolve) => setImmediate(resolve));
  }
  await sender.end();
  expect(sent).toEqual(["One. ", "Two. "]);
});

test("the engine waits when more is waiting than may", async () => {
  const bus = slowBus();
  const { sent, acks, turn } = bus;
  const sender = await begunSender(bus);
  await sender.push({ text: "a" });
  await turn();
  let hasRoom = false;
  const pushed = sender.push({ text: "b".repeat(10_000) }).then(() => (hasRoom = true));
  await turn();
  expect(hasRoom).toBe(false);
  acks[0]!.resolve();
  await turn();
  expect(sent).toHaveLength(2);
  acks[1]!.resolve();
  await pushed;
});

test("after a failure nothing is sent any more, and the run hears of it", async () => {
  const bus = slowBus();
  const { sent, acks, sending, turn } = bus;
  const sender = await begunSender(bus);
  await sender.push({ text: "a" });
  await turn();
  await sender.push({ text: "b" });
  acks[0]!.reject(new Error("bus away"));
  await expect(sender.end()).rejects.toThrow("bus away");
  await expect(sender.push({ text: "c" })).rejects.toThrow("bus away");
  expect(sent).toHaveLength(1);

  const unbegun = new WindowSender(sending(() => Promise.reject(new Error("no start"))));
  await expect(unbegun.end()).rejects.toThrow("no start");
});

test("stopping waits for what is on its way, and drops the rest", async () => {
  const bus = slowBus();
  const { sent, acks, turn } = bus;
  const sender = await begunSender(bus);
  await sender.push({ text: "a" });
  await turn();
  await sender.push({ text: "b" });
  let stopped = false;
  const stopping = sender.stop().then(() => (stopped = true));
  await turn();
  expect(stopped).toBe(false);
  acks[0]!.resolve();
  await stopping;
  expect(sent).toHaveLength(1);
});
