/** What happens around the processes: networks, disks and clocks. */
import { statfsSync } from "node:fs";
import { type ServiceName, services } from "@sallyport/proto/subjects";
import type { Direction, Disk } from "../../kit/index.ts";
import { asOwner } from "../support/as-owner.ts";
import { between, pick, type Random } from "../support/random.ts";
import { begun, type FaultKind } from "./kind.ts";
import type { World } from "./world.ts";

/** As seeded/links.ts names them. */
const linkNames: readonly string[] = [
  ...services.map((service) => `${service}>nats`),
  "gateway>postgres",
  "audit>postgres",
  "governance>postgres",
  "gateway>pre-moderator",
  "gateway>audit",
  "governance>post-moderator",
  "governance>audit",
  "callers>gateway-http",
  "callers>gateway-grpc",
];

/** Forty files of the write-ahead log: more than fit on its disk. */
const useWriteAheadLog = `DO $$ BEGIN FOR n IN 1..40 LOOP
  PERFORM pg_logical_emit_message(false, 'fault', 'full'); PERFORM pg_switch_wal(); END LOOP; END $$`;

type Link = ReturnType<World["links"]["link"]>;
const ofLink = (
  name: string,
  lasts: FaultKind["lasts"],
  spoil: (link: Link, random: Random) => () => void,
): FaultKind => ({
  name,
  targets: linkNames,
  lasts,
  touches: (target) => target,
  begin: ({ links }, target, random) => begun(spoil(links.link(target), random)),
});

const network: readonly FaultKind[] = [
  ofLink("connection cut", [50, 1_500], (link) => link.cut()),
  ofLink("latency", [1_000, 4_000], (link, random) => link.slow(between(random, 30, 500))),
  // One-way loss: of what goes out, requests and acknowledgements; of what comes in, answers and deliveries.
  ofLink("one-way loss", [300, 3_000], (link, random) => link.deafen(pick<Direction>(random, ["up", "down"]))),
];

const ofDisk = (
  name: string,
  lasts: FaultKind["lasts"],
  spoil: (disk: Disk, random: Random) => () => void,
): FaultKind => ({
  name,
  targets: ["nats", "postgres"],
  lasts,
  touches: (target) => target,
  impossible: ({ disks }) => (typeof disks === "string" ? disks : undefined),
  begin({ disks }, target, random) {
    const disk = (disks as Record<string, Disk>)[target]!;
    return begun(spoil(disk, random));
  },
});

const disk: readonly FaultKind[] = [
  ofDisk("disk stands still", [300, 3_000], (disk) => disk.stall()),
  ofDisk("disk slow", [1_000, 4_000], (disk, random) => disk.brake(between(random, 60, 240))),
  {
    ...ofDisk("disk full", [1_000, 4_000], () => () => {}),
    async begin({ disks, sallyport }, target) {
      const disk = (disks as Record<string, Disk>)[target]!;
      const free = disk.fill();
      const room = statfsSync(disk.dir).bavail;
      // What Postgres wrote ahead lies in files that are there already: it is full when it needs a new one.
      const needed = target === "postgres" ? asOwner(sallyport.platform, useWriteAheadLog).catch(() => {}) : undefined;
      return begun(free, async () => {
        await needed;
        if (room > 16) throw new Error("the disk is not full");
      });
    },
  },
];

const secondMs = 1_000;
const jumps = [2, -2, 30, -30, 300, -300, 7_200, -7_200];

const clock: FaultKind = {
  name: "clock jump",
  targets: services,
  lasts: [500, 4_000],
  touches: (target) => `clock of ${target}`,
  begin: ({ clocks }, target, random) => begun(clocks.shift(target as ServiceName, pick(random, jumps) * secondMs)),
};

export const worldFaults: readonly FaultKind[] = [...network, ...disk, clock];
