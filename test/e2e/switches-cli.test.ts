/** `sallyport` pause, resume, switches, break-glass, token and certificate, as an operator types them. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { run } from "@sallyport/cli";
import { parseApiToken } from "@sallyport/runtime";
import { waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, type TestPlatform } from "../kit/index.ts";

const why = ["--justification", "Seen on the dashboard, stopping it."];

let sallyport: TestPlatform;
beforeAll(async () => {
  sallyport = await bootPlatform("switches", { services: ["governance", "audit"], pilotModel: false });
}, 120_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

interface Ran {
  code: number;
  out: string;
  err: string;
}

/** In this process: a Node for each of so many commands would take most of the time. */
async function cli(...args: string[]): Promise<Ran> {
  let [out, err] = ["", ""];
  const code = await run(["--home", sallyport.platform.home.root, ...args], {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    readIn: async () => "",
    env: {},
    signal: new AbortController().signal,
  });
  return { code, out, err };
}

/** What a command prints with --json; fails the test unless it ends well. */
async function json(...args: string[]) {
  const { code, out, err } = await cli("--json", ...args);
  expect(code, err).toBe(0);
  expect(err).toBe("");
  return JSON.parse(out);
}
const listed = async (id: string): Promise<{ id: string; state: string; breakGlass?: boolean } | undefined> =>
  (await json("switches", "--all")).switches?.find((found: { id: string }) => found.id === id);
/** All that the services and the bus have written down of what they did. */
const logs = () =>
  ["governance", "audit", "nats"].map((name) =>
    readFileSync(join(sallyport.platform.home.logsDir, `${name}.jsonl`), "utf8"),
  );

describe("the kill switch", () => {
  test("one person pauses, two resume, everybody reads it in the list", async () => {
    const paused = await cli("pause", "--tenant", "demo", "--for", "1h", ...why);
    expect(paused.code, paused.err).toBe(0);
    const [, id] = /^switch (\S+): pause tenant demo$/m.exec(paused.out)!;
    expect((await cli("switches")).out).toMatch(new RegExp(`^${id}\\s+pause tenant demo\\s+active\\s+operator`, "m"));
    expect((await cli("resume", id!, ...why)).out).toContain("until a second person lifts it");
    const alone = await cli("--json", "resume", id!, ...why);
    expect({ code: alone.code, reason: JSON.parse(alone.err).error.reason }).toEqual({
      code: 5,
      reason: "SAME_PERSON",
    });
    expect((await cli("--as", "approver", "resume", id!, ...why)).out).toContain("is lifted");
    expect((await cli("switches")).out).toBe("nothing is switched off\n");
    expect(await listed(id!)).toMatchObject({ state: "SWITCH_STATE_LIFTED" });
  }, 60_000);

  test("is not for users, and wrong usage is told apart", async () => {
    expect((await cli("--as", "user", "pause", "--everything", ...why)).code).toBe(5);
    expect((await cli("pause", "--everything", "--tenant", "demo", ...why)).code).toBe(2);
    expect((await cli("pause", "--everything")).code).toBe(2);
    expect((await cli("pause", "--model", "no-such-model", ...why)).code).toBe(1);
  }, 60_000);

  test("works by the break-glass key with governance, Postgres and the log down, and governance takes it over", async () => {
    const { platform } = sallyport;
    for (const part of [platform.service("governance"), platform.service("audit"), platform.postgres])
      await part.stop();
    expect((await cli("--timeout", "5", "pause", "--everything", ...why)).code).toBe(6);
    const { switch: made, version } = await json("break-glass", "pause", "--everything");
    expect(made).toMatchObject({ kind: "pause", target: { scope: "all" } });
    const second = await json("break-glass", "pause", "--identity", "demo:mallory", "--kind", "ban");
    expect(second.version).toBeGreaterThan(version);
    expect(await json("break-glass", "list")).toEqual({ version: second.version, switches: [made, second.switch] });

    await platform.postgres.start();
    for (const name of ["audit", "governance"] as const) await platform.service(name).start();
    await platform.service("governance").whenReady();
    const row = await waitFor("the adoption", async () => await listed(made.id).catch(() => undefined));
    expect(row).toMatchObject({ breakGlass: true, state: "SWITCH_STATE_ACTIVE" });
    for (const { id } of [made, second.switch]) {
      expect((await cli("resume", id, ...why)).code).toBe(0);
      expect((await cli("--as", "approver", "resume", id, ...why)).out).toContain("is lifted");
    }
    expect((await cli("switches")).out).toBe("nothing is switched off\n");
    await waitFor("the log", async () => {
      const { code, out } = await cli("--json", "audit", "tail", "--last", "50");
      return code === 0 && out.includes("switch.break-glass") && out.includes(made.id);
    });
  }, 120_000);
});

describe("API tokens", () => {
  test("are shown once on stdout, listed without their secret, and revoked", async () => {
    const made = await cli("token", "create", "--name", "laptop");
    expect(made.code, made.err).toBe(0);
    const secret = made.out.trim();
    const { id } = parseApiToken(secret)!;
    expect(made.err).toContain(id);
    expect(made.err).not.toContain(secret);
    const list = await cli("token", "list");
    expect(list.out).toMatch(new RegExp(`^${id}\\s+laptop\\s+demo:user\\s+sallyport-users`, "m"));
    expect((await cli("--as", "outsider", "token", "revoke", id)).code).toBe(1);
    expect((await cli("token", "revoke", id)).out).toMatch(`token ${id} is revoked`);
    expect((await cli("token", "list")).out).not.toContain(id);
    const ended = (await json("token", "list", "--all")).tokens.find((token: { id: string }) => token.id === id);
    expect(ended.revokedAt).toMatch(/^20/);
    for (const text of [list.out, JSON.stringify(ended), ...logs()]) expect(text).not.toContain(secret.slice(20, 63));
  }, 60_000);

  test("are written to a new file of their owner alone when asked, and nowhere else", async () => {
    const file = join(sallyport.platform.home.root, "mail.token");
    const service = ["--service", "mail", "--group", "sallyport-users", "--for", "30d"];
    const made = await json("token", "create", "--name", "mail server", ...service, "--out", file);
    expect(made).toMatchObject({
      file,
      token: { subject: "service/mail", issuer: "sallyport", createdBy: "operator" },
    });
    expect(JSON.stringify(made)).not.toContain("sp_");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(parseApiToken(readFileSync(file, "utf8").trim())?.id).toBe(made.token.id);
    const before = readFileSync(file, "utf8");
    expect((await cli("token", "create", "--name", "again", "--out", file)).code).toBe(2);
    expect(readFileSync(file, "utf8")).toBe(before);
    const refused = join(sallyport.platform.home.root, "refused.token");
    expect((await cli("--as", "user", "token", "create", "--name", "x", ...service, "--out", refused)).code).toBe(5);
    expect(existsSync(refused)).toBe(false);
  }, 60_000);
});

test("client certificates are bound to an identity, listed and unbound", async () => {
  const spiffeId = "spiffe://example.org/ns/apps/sa/mail";
  const { certificate } = await json(
    ...["certificate", "bind", "--spiffe-id", spiffeId, "--subject", "mail", "--group", "sallyport-users"],
  );
  expect((await cli("certificate", "list")).out).toMatch(
    new RegExp(`^${certificate.id}\\s+${spiffeId}\\s+demo:mail`, "m"),
  );
  expect((await cli("certificate", "unbind", certificate.id, ...why)).code).toBe(0);
  expect((await cli("certificate", "list")).out).toBe("no certificates are bound\n");
  expect((await cli("certificate", "bind", "--subject", "mail", "--group", "sallyport-users")).code).toBe(2);
  expect((await cli("--as", "user", "certificate", "list")).code).toBe(5);
}, 60_000);
