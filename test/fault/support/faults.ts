/** Faults in the parts of a running platform, each with the proof that it happened, and how it is undone. */
import type { Platform, ProcessHandle } from "@sallyport/infra/platform";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { connectAs, freeze, isFrozen } from "../../kit/index.ts";

export const parts = [...services, "nats", "postgres"] as const;
export type Part = (typeof parts)[number];

/** stopped: asked to end, as by an operator. hung: it stands still. killed: gone without a word. */
export const modes = ["stopped", "hung", "killed"] as const;
export type Mode = (typeof modes)[number];

/** Not on the way of an allowed request: without them it is answered all the same. */
export const offPath: readonly string[] = [
  "watermarker",
  "audit",
  "governance",
  "watermarker is off the bus",
  "log fails",
  "governance fails",
];

export interface Fault {
  /** Resolves once the part is seen to be down; rejects when it is not. */
  fired(): Promise<void>;
  /** Ends the fault. A killed part comes back by itself. */
  undo(): Promise<void>;
}

export function handleOf(platform: Platform, part: Part): ProcessHandle {
  if (part === "nats" || part === "postgres") return platform[part];
  return platform.service(part);
}

/** Takes effect at once: it has begun when this returns. */
export function inject(platform: Platform, part: Part, mode: Mode): Fault {
  const handle = handleOf(platform, part);
  const { pid, restarts } = handle;
  if (pid === undefined) throw new Error(`${part} is down already`);
  if (mode === "hung") {
    const thaw = freeze(pid);
    return {
      fired: () => waitFor(`${part} to stand still`, () => isFrozen(pid)).then(() => {}),
      undo: async () => thaw(),
    };
  }
  if (mode === "killed") {
    handle.kill("SIGKILL");
    return {
      fired: () => waitFor(`${part} to be gone`, () => handle.pid !== pid).then(() => {}),
      undo: async () => {
        await waitFor(`${part} to be started again`, () => handle.restarts > restarts, { timeoutMs: 40_000 });
      },
    };
  }
  const stopped = handle.stop();
  return {
    fired: () => waitFor(`${part} to end`, () => handle.pid !== pid, { timeoutMs: 20_000 }).then(() => {}),
    undo: async () => {
      await stopped;
      await handle.start();
    },
  };
}

/** Everything is up and ready for work, without anybody's help. */
export async function allReady(platform: Platform, timeoutMs = 60_000): Promise<void> {
  const handles = [platform.nats, platform.postgres, ...services.map((name: ServiceName) => platform.service(name))];
  await Promise.all(handles.map((handle) => handle.whenReady(timeoutMs)));
}

/** Policy and models lie on the bus again, as governance puts them after a wipe. */
export async function stateStored(platform: Platform): Promise<void> {
  await using reader = await connectAs(platform, "governance");
  for (const [bucket, key] of [
    ["policy", "active"],
    ["models", "manifest"],
  ] as const) {
    const found = async () => (await reader.ask(`$JS.API.DIRECT.GET.KV_${bucket}.$KV.${bucket}.${key}`)) as object;
    await waitFor(`${bucket} on the bus`, async () => Object.keys(await found()).length > 0, { everyMs: 100 });
  }
}
