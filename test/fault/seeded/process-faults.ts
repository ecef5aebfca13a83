/** Processes that die, stand still, or are started again. */
import { services } from "@sallyport/proto/subjects";
import { waitFor } from "@sallyport/runtime/testing";
import { freeze, processesNamed, processTree } from "../../kit/index.ts";
import { asOwner } from "../support/as-owner.ts";
import { type ErrorName, prepare } from "../support/errors.ts";
import { handleOf, inject, type Mode, type Part, parts } from "../support/faults.ts";
import { begun, type FaultKind } from "./kind.ts";

const itself = (target: string) => target;

const byMode = (mode: Mode, name: string): FaultKind => ({
  name,
  targets: parts,
  lasts: mode === "hung" ? [300, 2_500] : [100, 400],
  touches: itself,
  begin: ({ sallyport }, target) => inject(sallyport.platform, target as Part, mode),
});

const ofEngine = (error: ErrorName, name: string): FaultKind => ({
  name,
  targets: ["inference-worker"],
  lasts: [500, 4_000],
  touches: itself,
  begin: async ({ sallyport }) => (await prepare(sallyport.platform, error))(),
});

/** Orderly, as an operator does it. */
const restart: FaultKind = {
  name: "restarted",
  targets: [...services, "nats", "postgres"],
  lasts: [0, 0],
  touches: itself,
  begin({ sallyport }, target) {
    const handle = handleOf(sallyport.platform, target as Part);
    const { pid } = handle;
    const again = handle.restart();
    const fired = async () => void (await waitFor(`${target} to end`, () => handle.pid !== pid, { timeoutMs: 20_000 }));
    return begun(() => again, fired);
  },
};

/** SIGQUIT: Postgres' immediate shutdown, no checkpoint; what was committed comes back from the write-ahead log. */
const immediate: FaultKind = {
  name: "immediate shutdown",
  targets: ["postgres"],
  lasts: [0, 0],
  touches: itself,
  begin({ sallyport }) {
    const { postgres } = sallyport.platform;
    const { restarts } = postgres;
    postgres.kill("SIGQUIT");
    const again = () =>
      waitFor("Postgres to be started again", () => postgres.restarts > restarts, { timeoutMs: 40_000 });
    return begun(
      () => {},
      async () => void (await again()),
    );
  },
};

const sessionsEnd: FaultKind = {
  name: "every session terminated",
  targets: ["postgres"],
  lasts: [0, 0],
  touches: itself,
  async begin({ sallyport }) {
    const ended = await asOwner(
      sallyport.platform,
      "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    );
    return begun(
      () => {},
      () => {
        if (ended === 0) throw new Error("there were no sessions");
      },
    );
  },
};

/** The processes that write back and sync for the others stand still: commits must do their own flushing. */
const writersHang: FaultKind = {
  name: "background writers stand still",
  targets: ["postgres"],
  lasts: [500, 3_000],
  touches: itself,
  begin({ sallyport }) {
    const writers = processesNamed(
      processTree(sallyport.platform.postgres.pid!),
      /walwriter|checkpointer|background writer/,
    );
    const thaws = writers.map((pid) => freeze(pid));
    return begun(
      () => {
        for (const thaw of thaws) thaw();
      },
      () => {
        if (writers.length === 0) throw new Error("Postgres has no such processes");
      },
    );
  },
};

export const processFaults: readonly FaultKind[] = [
  byMode("killed", "killed"),
  byMode("hung", "hung"),
  restart,
  ofEngine("engine crashes", "engine killed"),
  ofEngine("engine stands still", "engine hung"),
  immediate,
  sessionsEnd,
  writersHang,
];
