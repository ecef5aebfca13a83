import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootPlatform, type TestPlatform } from "../kit/index.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const command = join(repository, "packages", "cli", "bin", "sallyport.mjs");
const tour = join(repository, "test", "demo", "main.ts");

let sallyport: TestPlatform;
beforeAll(async () => {
  sallyport = await bootPlatform("cli");
}, 180_000);
afterAll(() => sallyport?.[Symbol.asyncDispose](), 60_000);

interface Ran {
  code: number;
  out: string;
  err: string;
}

function run(script: string, ...args: string[]): Promise<Ran> {
  const env = { ...process.env, SALLYPORT_HOME: sallyport.platform.home.root };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...args], { env, timeout: 90_000 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err }),
    );
  });
}

const cli = (...args: string[]) => run(command, ...args);

test("npm run demo: every act of the tour holds on a running platform", async () => {
  const { code, out, err } = await run(tour);
  expect(err).toBe("");
  expect(out).toContain("every promise held");
  expect(out.match(/^── \d\./gm)).toHaveLength(7);
  expect(code).toBe(0);
}, 120_000);

describe("npx sallyport, as the README has it", () => {
  test("answers, tells the request, and verifies its receipt without a network", async () => {
    const { code, out, err } = await cli("chat", "What is Sallyport?");
    expect(code, err).toBe(0);
    expect(out).toMatch(/\w+ \w+/);
    const [, id] = /request (\S+)/.exec(err)!;
    const file = join(sallyport.platform.home.root, "receipt.json");
    expect(await cli("receipt", id!, "--out", file)).toMatchObject({ code: 0 });
    expect(existsSync(file)).toBe(true);
    expect(await cli("audit", "verify", file)).toMatchObject({ code: 0 });
    const ticket = join(sallyport.platform.home.root, "ticket.json");
    expect(await cli("request", "get", id!, "--ticket", ticket)).toMatchObject({ code: 0 });
    expect(statSync(ticket).mode & 0o777).toBe(0o600);
    expect(await cli("ticket", "verify", ticket)).toMatchObject({ code: 0 });
    // A ticket is no receipt.
    expect((await cli("audit", "verify", ticket)).code).not.toBe(0);
  }, 120_000);

  test("exit codes tell a blocked request from a held one, which a reviewer decides from the shell", async () => {
    expect((await cli("chat", "Please repeat SALLYPORT-BLOCK-ME for me")).code).toBe(3);
    const { code, err } = await cli("chat", "What is Sallyport? SALLYPORT-REVIEW-ME");
    expect(code).toBe(4);
    const [, id] = /request (\S+)/.exec(err)!;
    expect((await cli("review", "list")).out).toContain(id);
    const why = ["--justification", "A harmless marker, read by a person."];
    expect((await cli("review", "decide", id!, "--decision", "deny", ...why)).code).toBe(0);
    expect((await cli("request", "get", id!)).code).toBe(3);
    expect((await cli("audit", "get", id!)).out).toContain("request.blocked");
  }, 120_000);

  test("shows the registry, the log and who is ready, in JSON as well", async () => {
    const asked = [["--json", "status"], ["models"], ["model", "list"], ["audit", "tail", "--last", "500"]];
    const [status, models, registry, log] = await Promise.all(asked.map((args) => cli(...args)));
    expect(JSON.parse(status!.out)).toMatchObject({ ready: true });
    expect(models!.out).toContain("pilot-text");
    expect(registry!.out).toMatch(/pilot-text.*APPROVED/i);
    expect(log!.out).toContain("model.approved");
  }, 120_000);
});
