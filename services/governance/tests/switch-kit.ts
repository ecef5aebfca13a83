/** A governance with its audit log, and a reader of its switches as every door has one. One a test file. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { decodeEnvelopeJson, type Json, verifyState } from "@sallyport/attestation";
import type { PauseRequestSchema, SwitchTargetSchema } from "@sallyport/proto/sallyport/governance/v1/switches";
import { type Bus, systemClock, type WatchedSwitches, watchSwitches } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { auditRecords } from "./audit-records.ts";
import { type Platform, testPlatform } from "./platform.ts";

export let platform: Platform;
export let reader: Bus;
export let seen: WatchedSwitches;
let service: AsyncDisposable | undefined;

export async function openKit(): Promise<void> {
  platform = await testPlatform();
  await startGovernance();
  reader = await platform.nats.bus("gateway", platform.log);
  seen = watchSwitches({ bus: reader, trust: platform.keys.trust, clock: systemClock, log: platform.log });
  await platform.isReady();
  await platform.audit.start();
}

export async function closeKit(): Promise<void> {
  await seen?.[Symbol.asyncDispose]();
  await reader?.[Symbol.asyncDispose]();
  await stopGovernance();
  await platform?.close();
}

export async function startGovernance(): Promise<void> {
  service = await platform.start();
}

export async function stopGovernance(): Promise<void> {
  await service?.[Symbol.asyncDispose]();
  service = undefined;
}

/** Milliseconds are measured by test/e2e/switches.test.ts; here it is enough that nothing waits for a timeout. */
export const soonMs = 3_000;
export const justification = "Seen on the dashboard, stopping it.";
const staffGroups = ["sallyport-operators", "sallyport-platform"];
export const as = (subject: string, over: { groups?: string[]; tenant?: string } = {}) => ({
  bearer: platform.token({ subject, groups: over.groups ?? staffGroups, tenant: over.tenant ?? "acme" }),
  deadlineMs: 10_000,
});
export const inTenant = (tenant: string) => ({ tenant, groups: ["sallyport-operators"] });
export type Target = NonNullable<MessageInitShape<typeof SwitchTargetSchema>["target"]>;
export const ofTenant = (value: string): Target => ({ case: "tenant", value });
export const pause = (
  target: Target,
  who = as("ann"),
  more: Omit<MessageInitShape<typeof PauseRequestSchema>, "target" | "$typeName"> = {},
) => platform.switches.pause({ target: { target }, justification, ...more }, who);
export const resume = (switchId: string, who: string | ReturnType<typeof as>) =>
  platform.switches.resume({ switchId, justification }, typeof who === "string" ? as(who) : who);
export const lift = async (switchId: string) => {
  await resume(switchId, "ann");
  return await resume(switchId, "ben");
};
export const list = async (who = as("ann"), includeEnded = false) =>
  (await platform.switches.listSwitches({ includeEnded }, who)).switches;
export const holdsFor = (tenant: string) => seen.find({ tenant })?.kind;
export const until = (tenant: string, kind: string | undefined) =>
  waitFor(`${tenant}: ${kind ?? "nothing"}`, () => seen.fresh && holdsFor(tenant) === kind, { timeoutMs: 10_000 });

/** The signed value as it lies in the bucket. */
export async function stored(key = "active"): Promise<{ version: number; value: Json }> {
  const bytes = await reader.readValue("switches", key);
  const place = { bucket: "switches", key, minVersion: 1, now: new Date() };
  return verifyState(decodeEnvelopeJson(bytes!), platform.keys.trust, place);
}
export const events = (switchId: string) => auditRecords(platform, ({ detail }) => detail?.switch === switchId);

/** kill -9, its files gone, up again. */
export async function wipeBus(): Promise<void> {
  await platform.nats.kill();
  platform.nats.wipe();
  await platform.nats.start();
  await platform.nats.provision();
  await waitFor("the reader", () => reader.connected);
}
