import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { AppError } from "@sallyport/runtime";
import {
  formatVkey,
  frontierAt,
  leafHash,
  newHashTiles,
  openCheckpoint,
  parseEntryBundle,
  rootOf,
  type Tile,
  tileHashReader,
  tilePath,
  tileWidthAt,
} from "@sallyport/tlog";
import { buildGoVerifier, type GoVerifier } from "@sallyport/tlog/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getReceipt } from "../src/handlers/records.ts";
import { serveTiles } from "../src/handlers/tiles.ts";
import { gatewayEvent } from "./events.ts";
import { type ServiceParts, serviceParts } from "./service-parts.ts";

const auditor = { headers: { authorization: "Bearer auditor" } };
const verifier = buildGoVerifier();
if (typeof verifier === "string") console.warn(`skipped: the cross-check with Go's sumdb tools: ${verifier}`);
let parts: ServiceParts;
let server: Server;
let prefix: string;

beforeAll(async () => {
  parts = await serviceParts();
  await Promise.all(Array.from({ length: 400 }, (_, i) => parts.deliver(gatewayEvent({ sequence: i + 1 }))));
  await parts.deliver(gatewayEvent({ sequence: 401, requestId: "r-last", terminal: true }));
  const authorise = async (bearer: string | undefined) => {
    if (bearer !== "auditor") throw new AppError("UNAUTHENTICATED", "a token is needed");
  };
  server = createServer((request, response) => void serveTiles({ ...parts, authorise }, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  prefix = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await parts.close();
  if (typeof verifier !== "string") verifier[Symbol.dispose]();
});

describe("the log over HTTP", () => {
  it("is enough to rebuild the signed root, from tiles alone and from entries alone", async () => {
    const head = openCheckpoint(await (await fetch(`${prefix}/checkpoint`)).text(), parts.trust);
    const tiles = new Map<string, Uint8Array>();
    for (const tile of newHashTiles(0, head.size)) tiles.set(tilePath(tile), await bytesAt(tilePath(tile)));
    const read = tileHashReader(head.size, (tile) => tiles.get(tilePath(tile))!);
    expect(rootOf(frontierAt(head.size, read))).toEqual(head.root);
    for (let index = 0; index * 256 < head.size; index++) {
      const width = tileWidthAt("entries", index, head.size);
      const bundle = await bytesAt(tilePath({ level: "entries", index, width }), auditor);
      const leaves = parseEntryBundle(bundle, width).map(leafHash);
      expect(leaves).toEqual(Array.from({ length: width }, (_, i) => read(0, index * 256 + i)));
    }
  });

  it.skipIf(typeof verifier === "string")(
    "satisfies tools that we did not write, records and receipt too",
    async () => {
      const dir = mkdtempSync(join(tmpdir(), "audit-log-"));
      const save = (path: string, data: string | Uint8Array) => {
        mkdirSync(dirname(join(dir, path)), { recursive: true });
        writeFileSync(join(dir, path), data);
      };
      const checkpoint = await (await fetch(`${prefix}/checkpoint`)).text();
      const { size } = openCheckpoint(checkpoint, parts.trust);
      save("vkey", formatVkey(parts.trust.keys[0]!));
      save("checkpoint", checkpoint);
      const bundles = newHashTiles(0, size).filter(({ level }) => level === 0);
      const tiles = [...newHashTiles(0, size), ...bundles.map((tile): Tile => ({ ...tile, level: "entries" }))];
      for (const path of tiles.map(tilePath)) save(path, await bytesAt(path, auditor));
      const { record, proof } = await getReceipt(parts, "r-last");
      save("proof.tlog-proof", proof);
      save("proof.entry", record);
      const verdict = (verifier as GoVerifier).run("verify", dir);
      rmSync(dir, { recursive: true });
      expect(verdict).toEqual({ status: 0, stdout: `inclusion=${size} consistency=${size}\n` });
    },
  );

  it("serves tiles of every earlier size too, as clients with an older checkpoint need", async () => {
    const full = await bytesAt("tile/0/000");
    expect(await bytesAt("tile/0/000.p/17")).toEqual(full.slice(0, 17 * 32));
  });

  it("says what may be cached", async () => {
    const checkpoint = await fetch(`${prefix}/checkpoint`);
    expect(checkpoint.headers.get("cache-control")).toBe("no-cache");
    expect(checkpoint.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    const tile = await fetch(`${prefix}/tile/0/000`, { method: "HEAD" });
    expect(tile.headers.get("cache-control")).toContain("immutable");
    expect(await tile.text()).toBe("");
  });

  it("keeps entries from those who do not show an auditor's token", async () => {
    for (const headers of [{}, { authorization: "Bearer other" }, { authorization: "Basic auditor" }]) {
      const answer = await fetch(`${prefix}/tile/entries/000`, { headers });
      expect(answer.status).toBe(401);
      expect((await answer.bytes()).length).toBeLessThan(100);
    }
    expect((await fetch(`${prefix}/tile/entries/000`, auditor)).status).toBe(200);
  });

  it.each([
    "",
    "tile/0/001",
    "tile/0/001.p/256",
    "tile/0/002.p/1",
    "tile/2/000",
    "tile/0/x000/000",
    "tile/entries/001",
    "tile/entries/005.p/1",
    "tile/0/000%2f",
    "checkpoint?x=1",
    `tile/0/${"x000/".repeat(40)}000`,
  ])("%j is not there", async (path) => {
    expect((await fetch(`${prefix}/${path}`, auditor)).status).toBe(404);
  });

  it("takes no other method", async () => {
    for (const method of ["POST", "DELETE", "PUT"]) {
      expect((await fetch(`${prefix}/checkpoint`, { method })).status).toBe(400);
    }
  });
});

async function bytesAt(path: string, init: RequestInit = {}): Promise<Uint8Array> {
  const answer = await fetch(`${prefix}/${path}`, init);
  expect(answer.status).toBe(200);
  return answer.bytes();
}
