import { X509Certificate } from "node:crypto";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { examineCertificates } from "../doctor/certificates.ts";
import { type Home, openHome } from "../home.ts";
import { certificateFiles, certificateHolders, ensureCertificates } from "../pki.ts";
import { portsFrom } from "../ports.ts";
import { rotate } from "../rotate/index.ts";

let home: Home;
beforeEach(async () => {
  home = openHome(mkdtempSync(join(tmpdir(), "sallyport-rotation-")));
  await ensureCertificates(home, new Date());
});
afterEach(() => rmSync(home.root, { recursive: true, force: true }));

const quietly = () => ({ home: home.root, report: () => {} });

/** As if the command had been killed when it said so. */
function rotateUntil(name: "authority" | "vault", line: string): Promise<void> {
  const report = (said: string) => {
    if (said.includes(line)) throw new Error("broken off");
  };
  return rotate([name], { home: home.root, report });
}

function authorities(): X509Certificate[] {
  const pems = readFileSync(join(home.pkiDir, "ca.crt"), "utf8").match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g);
  return pems!.map((pem) => new X509Certificate(pem));
}

/** Holders whose certificate no authority that is believed has signed. */
function strangers(): string[] {
  return certificateHolders.filter((holder) => {
    const certificate = new X509Certificate(readFileSync(certificateFiles(home, holder).cert));
    return !authorities().some((ca) => certificate.verify(ca.publicKey));
  });
}

test.each(["both authorities are believed", "every service shows a certificate of the new authority"])(
  "a change of authority that broke off when %s leaves an installation that can be started, renewed and finished",
  async (line) => {
    await expect(rotateUntil("authority", line)).rejects.toThrow("broken off");
    expect(authorities()).toHaveLength(2);
    const subject = { home, endpoints: undefined, ports: portsFrom(20_000), running: false, now: new Date() };
    // What it advises is what finishes it.
    expect(examineCertificates(subject)).toMatchObject([
      { level: "warn", mend: "Finish it: sallyport rotate authority" },
    ]);
    await ensureCertificates(home, new Date());
    expect(strangers()).toEqual([]);
    await rotate(["certificates"], quietly());
    expect(strangers()).toEqual([]);
    await rotate(["authority"], quietly());
    expect(authorities()).toHaveLength(1);
    expect(strangers()).toEqual([]);
    expect(await ensureCertificates(home, new Date())).toEqual([]);
  },
);

test("who was killed between writing a key and its certificate gets another pair at the next start", async () => {
  const [gateway, audit] = [certificateFiles(home, "gateway"), certificateFiles(home, "audit")];
  writeFileSync(gateway.key, readFileSync(audit.key));
  expect(await ensureCertificates(home, new Date())).toEqual(["gateway"]);
  expect(await ensureCertificates(home, new Date())).toEqual([]);
});

test("an authority that the key here cannot sign for is replaced at the next start, with all that hangs from it", async () => {
  const other = openHome(join(home.root, "other"));
  await ensureCertificates(other, new Date());
  copyFileSync(join(other.pkiDir, "ca.crt"), join(home.pkiDir, "ca.crt"));
  expect(await ensureCertificates(home, new Date())).toEqual(["ca", ...certificateHolders]);
  expect(strangers()).toEqual([]);
});

test("two rotations at once do not give up each other's keys: the second is refused, and may run later", async () => {
  const file = join(home.secretsDir, "vault-master-key");
  let second: Promise<void> | undefined;
  await rotate(["vault"], {
    home: home.root,
    report: () => {
      second ??= rotate(["vault"], quietly());
      second.catch(() => {});
    },
  });
  await expect(second).rejects.toThrow(/another rotation is at work/);
  const [newest] = readFileSync(file, "utf8").split("\n");
  await rotate(["vault"], quietly());
  expect(readFileSync(file, "utf8").split("\n")).toContain(newest);
  expect(existsSync(join(home.runDir, "rotation"))).toBe(false);
});
