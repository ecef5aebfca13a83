/** A wall clock for each service that can be set wrong, by a file that a preload in the service's process reads. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ServiceName, services } from "@sallyport/proto/subjects";

export interface Clocks {
  /** Sets the service's clock wrong until the result is called. It takes effect within 100 ms. */
  shift(service: ServiceName, byMs: number): () => void;
  /** What its clock is wrong by, as the process will read it. */
  shiftOf(service: ServiceName): number;
  readonly extraEnv: Readonly<Record<ServiceName, { NODE_OPTIONS: string }>>;
}

export function prepareClocks(dir: string): Clocks {
  mkdirSync(dir, { recursive: true });
  const fileOf = (service: ServiceName) => join(dir, service);
  const set = (service: ServiceName, byMs: number) => {
    writeFileSync(`${fileOf(service)}.next`, String(byMs));
    renameSync(`${fileOf(service)}.next`, fileOf(service));
  };
  const optionsOf = (service: ServiceName) => {
    set(service, 0);
    const preload = new URL("./clock-preload.mjs", import.meta.url);
    preload.searchParams.set("file", fileOf(service));
    return [service, { NODE_OPTIONS: `--import=${preload.href}` }] as const;
  };
  return {
    shift(service, byMs) {
      set(service, byMs);
      return () => set(service, 0);
    },
    shiftOf: (service) => Number(readFileSync(fileOf(service), "utf8")),
    extraEnv: Object.fromEntries(services.map(optionsOf)) as Clocks["extraEnv"],
  };
}
