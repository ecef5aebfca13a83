/** The kill switch on a whole governance, seen through the eyes of a gateway. */
import { generateKeyPairSync } from "node:crypto";
import { createSigner, encodeEnvelopeJson, signState } from "@sallyport/attestation";
import { SwitchKind, SwitchState } from "@sallyport/proto/sallyport/governance/v1/switches";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  as,
  closeKit,
  events,
  holdsFor,
  inTenant,
  justification,
  lift,
  list,
  ofTenant,
  openKit,
  pause,
  platform,
  reader,
  resume,
  seen,
  soonMs,
  startGovernance,
  stopGovernance,
  stored,
  type Target,
  until,
  wipeBus,
} from "./switch-kit.ts";

beforeAll(openKit);
afterAll(closeKit);

describe("a pause", () => {
  it("holds at every reader in well under a second, until two persons lift it; each step is in the log", async () => {
    const begun = performance.now();
    const { switch: made, version } = await pause(ofTenant("acme"));
    await until("acme", "pause");
    expect(performance.now() - begun).toBeLessThan(soonMs);
    expect(seen.find({ tenant: "other" })).toBeUndefined();
    expect((await stored()).version).toBe(Number(version));
    expect(made).toMatchObject({ kind: SwitchKind.PAUSE, state: SwitchState.ACTIVE, setBy: "ann", breakGlass: false });

    const asked = await resume(made!.id, "ann");
    expect(asked.switch).toMatchObject({ state: SwitchState.RESUME_ASKED, resumeAskedBy: "ann" });
    expect(holdsFor("acme")).toBe("pause");
    await expect(resume(made!.id, "ann")).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "SAME_PERSON" });
    const lifted = await resume(made!.id, "ben");
    expect(lifted.switch).toMatchObject({ state: SwitchState.LIFTED, liftedBy: "ben", resumeAskedBy: "ann" });
    await until("acme", undefined);
    await expect(resume(made!.id, "cem")).rejects.toMatchObject({ reason: "SWITCH_ENDED" });

    const steps = await waitFor("the log", async () => {
      const found = await events(made!.id);
      return found.length === 3 && found;
    });
    expect(steps.map(({ event, actor }) => `${event} ${actor?.subject}`)).toEqual([
      "switch.paused ann",
      "switch.resume-asked ann",
      "switch.resumed ben",
    ]);
    const { detail } = steps[0]!;
    expect(detail).toMatchObject({
      kind: "pause",
      target: { scope: "tenant", tenant: "acme" },
      version: Number(version),
    });
    expect(detail?.justificationDigest).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(steps)).not.toContain(justification);
  });

  it("of the same target again is another switch, lifted by itself", async () => {
    const [one, two] = [await pause(ofTenant("twice")), await pause(ofTenant("twice"), as("ben"))];
    await lift(one.switch!.id);
    await until("twice", "pause");
    await lift(two.switch!.id);
    await until("twice", undefined);
  });

  it("may be about everything, a model, an identity or a credential, and a ban or a revocation where that makes sense", async () => {
    await expect(pause({ case: "model", value: "no-such-model" })).rejects.toMatchObject({ reason: "MODEL_NOT_FOUND" });
    const everything = await pause({ case: "everything", value: true });
    await until("anybody", "pause");
    await lift(everything.switch!.id);
    const mallory = { tenant: "acme", issuer: "https://issuer.example", subject: "mallory" };
    const ban = await pause({ case: "identity", value: mallory }, as("ann"), { kind: SwitchKind.BAN });
    await waitFor("the ban", () => seen.find(mallory)?.kind === "ban");
    expect(seen.find({ ...mallory, issuer: "https://other.example" })).toBeUndefined();
    await lift(ban.switch!.id);
    const stolen = { case: "credential" as const, value: "jti-of-a-stolen-token" };
    const revoked = await pause(stolen, as("ann"), { kind: SwitchKind.REVOCATION });
    await waitFor("the revocation", () => seen.find({ credential: stolen.value })?.kind === "revocation");
    await expect(resume(revoked.switch!.id, "ann")).rejects.toMatchObject({ reason: "NEVER_LIFTED" });
  });

  it("that expires is lifted by time, and the log says so", async () => {
    const { switch: made } = await pause(ofTenant("short"), as("ann"), { expiresInSeconds: 3n });
    await until("short", "pause");
    await until("short", undefined);
    const row = await waitFor("the end", async () => {
      const found = (await list(as("ann"), true)).find(({ id }) => id === made!.id);
      return found?.state === SwitchState.EXPIRED && found;
    });
    expect(row.endedAt).toBeDefined();
    // The put follows the commit.
    await waitFor("the value", async () => !JSON.stringify((await stored()).value).includes(made!.id));
    await waitFor("the log", async () => (await events(made!.id)).at(-1)?.event === "switch.expired");
    await expect(resume(made!.id, "ben")).rejects.toMatchObject({ reason: "SWITCH_ENDED" });
  });

  it.each<[string, Target | undefined, object, string]>([
    ["without a target", undefined, {}, "INVALID_FIELD"],
    ["of everything that is false", { case: "everything", value: false }, {}, "INVALID_FIELD"],
    ["of a tenant that cannot be one", { case: "tenant", value: "A B" }, {}, "INVALID_FIELD"],
    [
      "of half an identity",
      { case: "identity", value: { tenant: "acme", issuer: "i", subject: "" } },
      {},
      "INVALID_FIELD",
    ],
    ["of a name in disguise", { case: "credential", value: "a\u202eb" }, {}, "INVALID_FIELD"],
    ["banning a tenant", { case: "tenant", value: "acme" }, { kind: SwitchKind.BAN }, "INVALID_FIELD"],
    ["revoking a tenant", { case: "tenant", value: "acme" }, { kind: SwitchKind.REVOCATION }, "INVALID_FIELD"],
    ["of an unknown kind", { case: "tenant", value: "acme" }, { kind: 99 as SwitchKind }, "INVALID_FIELD"],
    ["for longer than a year", { case: "tenant", value: "acme" }, { expiresInSeconds: 10n ** 9n }, "INVALID_FIELD"],
    ["without a reason", { case: "tenant", value: "acme" }, { justification: " " }, "JUSTIFICATION_LENGTH"],
  ])("%s is refused, and changes nothing", async (_, target, more, reason) => {
    const { version } = await stored();
    const asked = target ? pause(target, as("ann"), more) : platform.switches.pause({ justification }, as("ann"));
    await expect(asked).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason });
    expect((await stored()).version).toBe(version);
  });
});

describe("two persons", () => {
  it("are two, however many ask at the same time", async () => {
    const { switch: made } = await pause(ofTenant("race"));
    const people = ["p1", "p2", "p3", "p4", "p5", "p6"].flatMap((name) => [name, name, name]);
    const answers = await Promise.allSettled(people.map((who) => resume(made!.id, who)));
    const states = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value.switch!.state] : []));
    expect(states.sort()).toEqual([SwitchState.RESUME_ASKED, SwitchState.LIFTED].sort());
    const row = (await list(as("ann"), true)).find(({ id }) => id === made!.id)!;
    expect(row.liftedBy).not.toBe(row.resumeAskedBy);
  });

  it("are neither of them the one whom it is about", async () => {
    const me = platform.identity("olga");
    const { switch: made } = await pause({ case: "identity", value: { ...me, tenant: "acme" } });
    await expect(resume(made!.id, "olga")).rejects.toMatchObject({ reason: "PAUSED" });
    await resume(made!.id, "ann");
    await expect(resume(made!.id, "olga")).rejects.toMatchObject({ reason: "PAUSED" });
    expect((await resume(made!.id, "ben")).switch?.state).toBe(SwitchState.LIFTED);
  });

  it("are neither of them banned: whom a switch names is not heard here, and no revoked token makes another", async () => {
    const thief = as("theo", { groups: ["sallyport-users"] });
    const credential = platform.credentialOf(thief.bearer);
    const make = () => platform.credentials.createToken({ name: "spare key" }, thief);
    await make();
    await pause({ case: "credential", value: credential }, as("ann"), { kind: SwitchKind.REVOCATION });
    await expect(make()).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" });
    const { switch: ban } = await pause(
      { case: "identity", value: { ...platform.identity("olga"), tenant: "acme" } },
      as("ann"),
      { kind: SwitchKind.BAN },
    );
    await expect(list(as("olga"))).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "BANNED" });
    expect(await list(as("olga", { tenant: "other" }))).toBeDefined();
    await lift(ban!.id);
    expect(await list(as("olga"))).toBeDefined();
  });

  it("are asked for by the table too: no update makes one person enough", async () => {
    const { switch: made } = await pause(ofTenant("table"));
    await resume(made!.id, "ann");
    const admin = await platform.postgres.admin();
    const schema = new URL(platform.env.DATABASE_URL).username;
    const lone = `UPDATE ${schema}.switches SET state = 'lifted', lifter = asker WHERE id = $1`;
    await expect(admin.query(lone, [made!.id])).rejects.toThrow(/check constraint/);
    await expect(admin.query(`DELETE FROM ${schema}.switch_history WHERE switch_id = $1`, [made!.id])).rejects.toThrow(
      /append-only/,
    );
    await admin.end();
    await resume(made!.id, "ben");
  });
});

describe("who may", () => {
  it("pause and lift: operators in their tenant, staff of the platform anywhere, nobody else", async () => {
    const denied = { code: "PERMISSION_DENIED", reason: "NOT_AUTHORISED" };
    const ours = as("tom", inTenant("acme"));
    for (const groups of [["sallyport-users"], ["sallyport-reviewers"], ["sallyport-auditors"], ["sallyport-platform"]])
      await expect(pause(ofTenant("acme"), as("uma", { groups }))).rejects.toMatchObject(denied);
    for (const target of [
      ofTenant("other"),
      { case: "everything", value: true },
      { case: "credential", value: "x" },
    ] as const)
      await expect(pause(target, ours)).rejects.toMatchObject(denied);
    const theirs = await pause(ofTenant("other"));
    await expect(resume(theirs.switch!.id, ours)).rejects.toMatchObject(denied);
    await lift(theirs.switch!.id);
    const mine = await pause(ofTenant("acme"), ours);
    expect(mine.switch).toMatchObject({ ofPlatform: false });
    await resume(mine.switch!.id, ours);
    await resume(mine.switch!.id, as("tess", inTenant("acme")));
    await expect(platform.switches.listSwitches({}, { deadlineMs: 5_000 })).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    await expect(resume("no-such-switch", "ann")).rejects.toMatchObject({ reason: "SWITCH_NOT_FOUND" });
  });

  it.each([
    ["their tenant", ofTenant("acme"), SwitchKind.PAUSE],
    ["one of their tenant", { case: "identity", value: { tenant: "acme", issuer: "i", subject: "s" } }, SwitchKind.BAN],
  ] as const)(
    "lift what the platform's staff set on %s: two of the staff, and no operators of it",
    async (_, target, kind) => {
      const { switch: made } = await pause(target as Target, as("ann"), { kind });
      expect(made).toMatchObject({ ofPlatform: true, setBy: "ann" });
      const refused = { code: "PERMISSION_DENIED", reason: "STAFF_ONLY", message: expect.stringContaining("staff") };
      const theirs = [as("tom", inTenant("acme")), as("tess", inTenant("acme"))];
      for (const operator of theirs) await expect(resume(made!.id, operator)).rejects.toMatchObject(refused);
      expect((await resume(made!.id, "ann")).switch?.state).toBe(SwitchState.RESUME_ASKED);
      // What staff have asked for is not theirs to finish either.
      for (const operator of theirs) await expect(resume(made!.id, operator)).rejects.toMatchObject(refused);
      expect((await resume(made!.id, "ben")).switch?.state).toBe(SwitchState.LIFTED);
      await waitFor("the record", async () => (await events(made!.id))[0]?.detail?.ofPlatform === true);
    },
  );

  it("see: those of their tenant and those about everybody", async () => {
    const made = [
      await pause(ofTenant("acme")),
      await pause(ofTenant("other")),
      await pause({ case: "credential", value: "somebodys" }),
      await pause({ case: "everything", value: true }, as("ann"), { expiresInSeconds: 60n }),
    ].map((answer) => answer.switch!.id);
    const visible = async (who: ReturnType<typeof as>) => {
      const ids = (await list(who)).map(({ id }) => id);
      return made.map((id) => ids.includes(id));
    };
    expect(await visible(as("ann"))).toEqual([true, true, true, true]);
    expect(await visible(as("tom", inTenant("acme")))).toEqual([true, false, false, true]);
    expect(await visible(as("rae", { tenant: "other", groups: ["sallyport-reviewers"] }))).toEqual([
      false,
      true,
      false,
      true,
    ]);
    await expect(list(as("uma", { groups: ["sallyport-users"] }))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    for (const id of made) await lift(id);
  });
});

describe("without a neighbour", () => {
  it("the log: a switch holds at once, and its record follows", async () => {
    await platform.audit.signal("SIGKILL");
    const begun = performance.now();
    const { switch: made } = await pause(ofTenant("unlogged"));
    await until("unlogged", "pause");
    expect(performance.now() - begun).toBeLessThan(soonMs);
    await platform.audit.start();
    await waitFor("the record", async () => (await events(made!.id)).length === 1, { timeoutMs: 20_000 });
    await lift(made!.id);
  });

  it("the bus with its files: every value comes back by itself, the same version", async () => {
    const { switch: made } = await pause(ofTenant("wiped"));
    const before = await stored();
    await wipeBus();
    await waitFor("the value", () => reader.readValue("switches", "active"), { timeoutMs: 8_000 });
    await until("wiped", "pause");
    expect(await stored()).toEqual(before);
    await lift(made!.id);
    await until("wiped", undefined);
  });

  it("the trust in the key that signed it: a value that nobody believes any more is signed anew", async () => {
    const { switch: made } = await pause(ofTenant("resigned"));
    const before = await stored();
    await stopGovernance();
    const { privateKey } = generateKeyPairSync("ed25519");
    const state = { bucket: "switches", key: "active", ...before, issuedAt: new Date().toISOString() };
    const disowned = encodeEnvelopeJson(signState(createSigner(privateKey, "state"), state));
    const admin = await platform.postgres.admin();
    const schema = new URL(platform.env.DATABASE_URL).username;
    const sql = `UPDATE ${schema}.signed_state SET envelope = $1 WHERE bucket = 'switches' AND key = 'active'`;
    await admin.query(sql, [disowned]);
    await admin.end();
    await startGovernance();
    await platform.isReady();
    await waitFor("the next version", async () => (await stored()).version === before.version + 1);
    expect((await stored()).value).toEqual(before.value);
    await until("resigned", "pause");
    await lift(made!.id);
  });

  it("room: more are refused by name, and the switch for everything still fits", async () => {
    const admin = await platform.postgres.admin();
    const schema = new URL(platform.env.DATABASE_URL).username;
    const target = { scope: "credential", credential: "x".repeat(1_000) };
    const bytesOfOne = JSON.stringify({ id: "filler-100", kind: "pause", target }).length + 1;
    const count = Math.ceil(510_000 / bytesOfOne);
    await admin.query(
      `INSERT INTO ${schema}.switches (id, kind, target, tenant, setter, set_by, set_at)
        SELECT 'filler-' || n, 'pause', $1, '', 'test', 'test', now() FROM generate_series(100, 99 + $2) AS n`,
      [JSON.stringify(target), count],
    );
    await expect(pause(ofTenant("late"))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "STATE_FULL" });
    const { switch: everything } = await pause({ case: "everything", value: true });
    await until("late", "pause");
    await admin.query(`UPDATE ${schema}.switches SET state = 'expired' WHERE set_by = 'test'`);
    await admin.end();
    await lift(everything!.id);
    await until("late", undefined);
  });
});
