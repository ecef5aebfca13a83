/** Switches of the operator's own key, put past governance, and what governance makes of them. */
import { encodeEnvelopeJson, type Json, signState } from "@sallyport/attestation";
import { SwitchState } from "@sallyport/proto/sallyport/governance/v1/switches";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  as,
  closeKit,
  events,
  holdsFor,
  inTenant,
  lift,
  list,
  openKit,
  platform,
  reader,
  resume,
  seen,
  soonMs,
  startGovernance,
  stopGovernance,
  stored,
  until,
  wipeBus,
} from "./switch-kit.ts";

beforeAll(openKit);
afterAll(closeKit);

describe("break-glass", () => {
  const target = (tenant: string) => ({ scope: "tenant", tenant });
  const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
  /** As the command does: the next version, with all that was there. */
  async function breakGlass(switches: Json[], version: number, signer = platform.keys.signer("switch")): Promise<void> {
    await using bus = await platform.operatorBus();
    const value = { bucket: "switches", key: "break-glass", version, value: { switches } };
    const envelope = signState(signer, { ...value, issuedAt: new Date().toISOString() });
    await bus.put(Buffer.from(encodeEnvelopeJson(envelope)), await bus.read());
  }
  const one = { id: id(1), kind: "pause", target: target("glass") };
  const two = { id: id(2), kind: "pause", target: target("glass-two") };

  it("stops with governance and the log away; governance makes it its own when it is back", async () => {
    await stopGovernance();
    await platform.audit.signal("SIGKILL");
    const begun = performance.now();
    await breakGlass([one], 1);
    await until("glass", "pause");
    expect(performance.now() - begun).toBeLessThan(soonMs);

    await platform.audit.start();
    await startGovernance();
    const row = await waitFor("the adoption", async () => (await list()).find((found) => found.id === one.id));
    expect(row).toMatchObject({ breakGlass: true, state: SwitchState.ACTIVE, setBy: "break-glass" });
    await waitFor("the log", async () => (await events(one.id))[0]?.event === "switch.break-glass");
    expect((await events(one.id))[0]?.detail).toMatchObject({
      breakGlass: true,
      target: one.target,
      keyid: platform.keys.signer("switch").keyid,
    });
  });

  it("is adopted within about a second while governance is there, and only once", async () => {
    const begun = performance.now();
    await breakGlass([one, two], 2);
    await waitFor("the adoption", async () => (await list()).some((found) => found.id === two.id));
    expect(performance.now() - begun).toBeLessThan(soonMs);
    await waitFor("the log", async () => (await events(two.id)).length === 1);
    expect(await events(one.id)).toHaveLength(1);
  });

  it("is lifted by two persons of the platform's staff, though the operator's value still has it", async () => {
    const ofIts = as("tom", inTenant("glass-two"));
    await expect(resume(two.id, ofIts)).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "STAFF_ONLY" });
    expect((await list(ofIts)).map((found) => found.id)).toContain(two.id);
    await lift(two.id);
    await until("glass-two", undefined);
    expect(JSON.stringify((await stored("break-glass")).value)).toContain(two.id);
    expect((await stored()).value).toMatchObject({ lifted: [two.id] });
    expect(holdsFor("glass")).toBe("pause");
  });

  it("lives on when the bus is wiped: the operator's value and what was lifted of it", async () => {
    const before = [await stored(), await stored("break-glass")];
    await wipeBus();
    await until("glass", "pause");
    await waitFor("the operator's value", () => reader.readValue("switches", "break-glass"));
    expect([await stored(), await stored("break-glass")]).toEqual(before);
    expect(holdsFor("glass-two")).toBeUndefined();
  });

  it("under another key than the operator's is not adopted, and gives way to the operator's own value", async () => {
    const forged = { id: id(3), kind: "pause" as const, target: target("forged") };
    const raw = async () => Buffer.from((await reader.readValue("switches", "break-glass"))!).toString();
    const [before, own] = [await stored(), await raw()];
    await breakGlass([forged], 3, { ...platform.keys.signer("state"), stage: "switch" });
    expect(await raw()).not.toBe(own);
    await waitFor("the operator's own value again", async () => (await raw()) === own, { timeoutMs: 8_000 });
    await waitFor("the readers", () => seen.fresh, { timeoutMs: 8_000 });
    expect(await stored()).toEqual(before);
    expect(holdsFor("forged")).toBeUndefined();
    expect((await list(as("ann"), true)).some((found) => found.id === forged.id)).toBe(false);
    await lift(one.id);
    await until("glass", undefined);
  });

  it("that could not be lifted stops everything, is adopted by nobody, and gives way to the operator's next", async () => {
    const endless = { id: "i".repeat(129), kind: "pause" as const, target: target("endless") };
    await breakGlass([endless], 4);
    await waitFor("the readers to refuse", () => !seen.fresh, { timeoutMs: 8_000 });
    const next = { id: id(5), kind: "pause" as const, target: target("next") };
    await breakGlass([next], 5);
    await until("next", "pause");
    await waitFor("the adoption", async () => (await list()).some((found) => found.id === next.id));
    expect((await list()).some((found) => found.id === endless.id)).toBe(false);
    await lift(next.id);
    await until("next", undefined);
  });
});
