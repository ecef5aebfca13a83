/** One table says who may call whom: what services enforce, what infra generates from, and what the protos offer agree. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { allowedCallers, chamber, flows } from "@sallyport/infra/flows";
import { calls } from "@sallyport/proto/calls";
import { services } from "@sallyport/proto/subjects";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Full names of all gRPC services in the contracts. */
function declaredServices(): string[] {
  const dir = `${root}proto/sallyport`;
  const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".proto"));
  return files.flatMap((file) => {
    const text = readFileSync(`${dir}/${file}`, "utf8");
    const name = /^package ([\w.]+);/m.exec(text)![1];
    return [...text.matchAll(/^service (\w+)/gm)].map(([, service]) => `${name}.${service}`);
  });
}

const sources = (service: string) =>
  readdirSync(`${root}services/${service}/src`, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(`${root}services/${service}/src/${name}`, "utf8"))
    .join("\n");

describe("calls between services", () => {
  test("every gRPC service is open to outsiders with a token or to named services, and to one of both alone", () => {
    const outside = flows.filter(({ from, protocol }) => protocol === "grpc" && ["client", "operator"].includes(from));
    const byToken = new Set(outside.flatMap(({ what }) => what));
    const byCertificate = new Set(calls.map(({ service }) => service));
    expect([...byToken, ...byCertificate].sort()).toEqual(declaredServices().sort());
    expect([...byToken].filter((service) => byCertificate.has(service))).toEqual([]);
  });

  test("the flow table has exactly the calls that the services let in", () => {
    for (const { from, to, service } of calls) expect(allowedCallers(to, service)).toContain(from);
    const internal = flows.filter(({ from, protocol }) => protocol === "grpc" && services.includes(from as never));
    expect(internal.map(({ from, to, what }) => `${from} ${to} ${what}`).sort()).toEqual(
      calls.map(({ from, to, service }) => `${from} ${to} ${service}`).sort(),
    );
  });

  test("the chamber calls nobody and is called by nobody", () => {
    for (const { from, to } of calls) for (const party of [from, to]) expect(chamber).not.toContain(party);
  });

  test.each([...new Set(calls.map(({ to }) => to))])("%s reads its allowlist from the table", (service) => {
    const text = sources(service);
    const lists = [...text.matchAll(/mutual: \{|const mutual = /g)];
    const read = [...text.matchAll(/allowedCallers: \([^)]*\) => allowedCallers\("([\w-]+)", \w+\)/g)];
    expect(lists.length).toBe(1);
    expect(read.map(([, name]) => name)).toEqual([service]);
  });
});
