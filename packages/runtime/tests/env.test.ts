import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { AppError, readEnv, redacted } from "../src/index.ts";

const dir = mkdtempSync(join(tmpdir(), "sallyport-env-"));
const secretPath = join(dir, "secret");
writeFileSync(secretPath, "hunter2\n");
writeFileSync(join(dir, "empty"), "\n");

function faultsOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).reason).toBe("CONFIG_INVALID");
    return (error as AppError).message;
  }
  return "";
}

test("every kind of value is read, and the result is frozen throughout", () => {
  const source = {
    A: "[::1]:7080",
    N: "5",
    D: "250ms",
    U: "tls://127.0.0.1:7090",
    J: '[{"a":1}]',
    S: secretPath,
    L: "warn",
  };
  const config = readEnv(source, (env) => ({
    address: env.address("A"),
    count: env.int("N", { min: 1, max: 9 }),
    wait: env.duration("D", { minMs: 1, maxMs: 1_000 }),
    url: env.url("U", { schemes: ["tls"] }),
    list: env.json("J", (value) => value as { a: number }[]),
    password: env.secretFile("S"),
    file: env.file("S"),
    level: env.oneOf("L", ["info", "warn"]),
    none: env.optional("NONE"),
    fallback: env.int("NONE", { min: 1, max: 9, default: 3 }),
  }));
  expect(config).toEqual({
    address: { host: "::1", port: 7080 },
    count: 5,
    wait: 250,
    url: "tls://127.0.0.1:7090",
    list: [{ a: 1 }],
    password: "hunter2",
    file: secretPath,
    level: "warn",
    none: undefined,
    fallback: 3,
  });
  expect(Object.isFrozen(config) && Object.isFrozen(config.address) && Object.isFrozen(config.list[0])).toBe(true);
});

test("a value that is set but wrong is a fault, although there is a default", () => {
  for (const bad of ["", " 5", "5.5", "0x5", "10", "1e0", "five"]) {
    const faults = faultsOf(() => readEnv({ N: bad }, (env) => ({ n: env.int("N", { min: 1, max: 9, default: 3 }) })));
    expect(faults).toContain("N ");
  }
});

test.each(["", "7080", ":7080", "host:", "host:99999", "ho st:1", "[zz]:1", "a:b:1", "http://h:1"])(
  "address %j is a fault",
  (bad) => {
    expect(faultsOf(() => readEnv({ A: bad }, (env) => ({ a: env.address("A") })))).toContain("A ");
  },
);

test("all faults are told at once, also when the builder stumbles over the first", () => {
  const faults = faultsOf(() =>
    readEnv({ B: "x", C: "7", J: "{secret", S: join(dir, "empty"), F: dir }, (env) => ({
      a: env.address("A"),
      b: env.duration("B", { minMs: 1, maxMs: 2 }),
      c: env.oneOf("C", ["8", "9"]),
      j: env.json("J", (value) => value),
      s: env.secretFile("S"),
      f: env.file("F"),
      port: env.address("A2").port,
      never: env.string("NEVER"),
    })),
  );
  for (const name of ["A is not set", "B must be", "C must be", "J is not", "S names", "F names", "A2 is not set"]) {
    expect(faults).toContain(name);
  }
  expect(faults).not.toContain("{secret");
});

test("an error of the builder itself is no fault of the configuration", () => {
  expect(() =>
    readEnv({}, () => {
      throw new RangeError("bug");
    }),
  ).toThrow(RangeError);
});

test("the redacted configuration shows no secret", () => {
  const source = { S: secretPath, U: "postgres://role:pw@host/db" };
  const config = readEnv(source, (env) => ({
    harmlessName: env.secretFile("S"),
    nested: { url: env.url("U", { schemes: ["postgres"] }), nkeySeed: "SUABC", list: [env.secretFile("S")] },
    key: new Uint8Array([1, 2, 3]),
    port: 5,
  }));
  const shown = JSON.stringify(redacted(config));
  for (const secret of ["hunter2", "pw", "SUABC", "1,2,3"]) expect(shown).not.toContain(secret);
  expect(shown).toContain("postgres://[redacted]@host/db");
  expect(shown).toContain('"port":5');
});
