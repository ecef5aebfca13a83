import { connect, createServer, type Socket } from "node:net";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startProxy, type TcpProxy } from "./proxy.ts";

const echo = createServer((socket) => socket.on("error", () => {}).pipe(socket));
let proxy: TcpProxy;
beforeAll(async () => {
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  proxy = await startProxy((echo.address() as { port: number }).port);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  echo.close();
});

interface Caller {
  readonly socket: Socket;
  heard: string;
  closed: boolean;
}

function call(): Caller {
  const caller: Caller = { socket: connect(proxy.port, "127.0.0.1"), heard: "", closed: false };
  caller.socket
    .on("error", () => {})
    .on("close", () => {
      caller.closed = true;
    });
  caller.socket.on("data", (data) => {
    caller.heard += data;
  });
  return caller;
}

test("passes everything on, in order, also while it is slow", async () => {
  const caller = call();
  caller.socket.write("a");
  await waitFor("an answer", () => caller.heard === "a");
  const faster = proxy.slow(60);
  const startedAt = performance.now();
  caller.socket.write("b");
  await waitFor("a slow answer", () => caller.heard === "ab");
  expect(performance.now() - startedAt).toBeGreaterThan(110);
  caller.socket.write("c");
  faster();
  caller.socket.write("d");
  await waitFor("the rest", () => caller.heard === "abcd");
  caller.socket.destroy();
});

test("cuts what is connected and refuses what comes, until it is healed", async () => {
  const caller = call();
  caller.socket.write("a");
  await waitFor("an answer", () => caller.heard === "a");
  const heal = proxy.cut();
  await waitFor("the connection to end", () => caller.closed);
  const refused = call();
  await waitFor("the next to be refused", () => refused.closed);
  heal();
  const again = call();
  again.socket.write("b");
  await waitFor("an answer after it", () => again.heard === "b");
  again.socket.destroy();
});

test.each(["up", "down"] as const)(
  "loses what goes %s without a word, and cuts what has holes when it is over",
  async (direction) => {
    const caller = call();
    caller.socket.write("a");
    await waitFor("an answer", () => caller.heard === "a");
    const untouched = call();
    await waitFor("both to be connected", () => proxy.connections === 2);
    const heal = proxy.deafen(direction);
    caller.socket.write("b");
    const other = call();
    await waitFor("a third to be connected", () => proxy.connections === 3);
    expect([caller.heard, caller.closed]).toEqual(["a", false]);
    other.socket.write("c");
    // Loopback: had it come, it would have come before this is done.
    await waitFor("what was sent to be on its way", () => other.socket.writableLength === 0);
    heal();
    await waitFor("the one with a hole to end", () => caller.closed);
    expect(caller.heard).toBe("a");
    untouched.socket.write("d");
    await waitFor("the untouched one to work", () => untouched.heard === "d");
    untouched.socket.destroy();
    other.socket.destroy();
  },
);
