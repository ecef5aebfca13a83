/** Every way to say who calls, on a running platform: API tokens, client certificates, bound access tokens, several issuers. */

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { GenerationService, Role } from "@sallyport/proto/sallyport/generation/v1/generation";
import { type Client, createClient, parseAddress, readClientCertificate, thumbprintOf } from "@sallyport/runtime";
import { startTestIssuer, type TestIssuer, waitFor } from "@sallyport/runtime/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientCertificateFiles, DEMO_APP_ID } from "../../infra/local/client-certificates.ts";
import { API_RESOURCE } from "../../infra/local/dev-issuer/clients.ts";
import { certificateFiles } from "../../infra/local/pki.ts";
import {
  bootPlatform,
  Call,
  type ChatServer,
  grpcClients,
  mint,
  portsOf,
  readRequest,
  serveSlowModel,
  slowModel,
  slowStory,
  startSlowServer,
  type TestPlatform,
} from "../kit/index.ts";

let sallyport: TestPlatform;
let clients: ReturnType<typeof grpcClients>;
let chamber: ChatServer;
let partner: TestIssuer;
/** Shows the demo application's certificate. */
let app: Client<typeof GenerationService>;
beforeAll(async () => {
  [chamber, partner] = await Promise.all([startSlowServer(), startTestIssuer()]);
  const own = `http://127.0.0.1:${portsOf("identity").issuer}`;
  const issuers = [
    { issuer: own, audience: API_RESOURCE, jwksUri: `${own}/jwks`, tenants: ["demo", "other"] },
    ...JSON.parse(partner.config).map((entry: object) => ({ ...entry, tenants: ["partner"] })),
  ];
  sallyport = await bootPlatform("identity", {
    remoteEndpoints: { [slowModel]: chamber.url },
    extraEnv: { gateway: { HTTP_TLS: "on", OIDC_ISSUERS: JSON.stringify(issuers) } },
  });
  clients = grpcClients(sallyport.platform);
  app = gatewayWith(clientCertificateFiles(sallyport.platform.home));
  await serveSlowModel(sallyport, clients);
}, 180_000);
afterAll(async () => {
  app?.close();
  clients?.[Symbol.dispose]();
  await sallyport?.[Symbol.asyncDispose]();
  await Promise.all([chamber, partner].map((server) => server?.[Symbol.asyncDispose]()));
}, 60_000);

function gatewayWith({ cert, key }: { cert: string; key: string }) {
  const { endpoints } = sallyport.platform;
  const tls = { ca: readFileSync(endpoints.ca), cert: readFileSync(cert), key: readFileSync(key) };
  return createClient(GenerationService, { address: parseAddress(endpoints.gatewayGrpc), tls });
}

const as = (bearer: string) => ({ bearer, deadlineMs: 10_000 });
const none = { deadlineMs: 10_000 };
const operator = () => as(sallyport.token("operator"));
const reasonOf = (asked: Promise<unknown>) =>
  asked.then(
    () => undefined,
    ({ reason }: { reason?: string }) => reason ?? "untyped",
  );
const listed = (options: object, client: Client<typeof GenerationService> = clients.generation) =>
  reasonOf(client.listModels({}, { ...none, ...options }));

/** A story that is being told to whoever `options` says. */
async function listening(client: Client<typeof GenerationService>, options: object): Promise<Call> {
  const messages = [{ role: Role.USER, content: slowStory.content }];
  const call = new Call("grpc", async (heard) => {
    const content = { model: slowModel, messages, parameters: { maxTokens: slowStory.maxTokens } };
    for await (const { event } of client.chat({ content }, { deadlineMs: 30_000, ...options })) {
      if (event.case === "accepted") heard.requestId = event.value.requestId;
      if (event.case === "window") heard.hear({ text: "" });
    }
  });
  await call.firstWindow();
  return call;
}

describe("an API token", () => {
  test("calls for the person who made it, names itself in the ledger, and is for the gateway alone", async () => {
    const made = await clients.credentials.createToken({ name: "a script" }, as(sallyport.token("user")));
    const { secret, token } = made;
    await waitFor("the token to be believed", async () => (await listed({ bearer: secret })) === undefined);
    const call = await listening(clients.generation, { bearer: secret });
    const row = await readRequest(sallyport.platform, call.requestId!);
    expect(row).toMatchObject({ tenant: "demo", subject: "user" });
    const shown = clientCertificateFiles(sallyport.platform.home);
    expect(await overHttps(shown), "a certificate that is bound to nobody").toBe(401);
    expect(await overHttps(shown, secret), "the bearer names the caller").toBe(200);
    expect(await reasonOf(clients.models.listModels({}, as(secret)))).toMatch(/^TOKEN_/);
    expect(await reasonOf(clients.credentials.listTokens({}, as(secret)))).toMatch(/^TOKEN_/);
    const began = performance.now();
    await clients.credentials.revokeToken(
      { id: token!.id, justification: "The script is not used any more." },
      operator(),
    );
    const replied = performance.now();
    await call.done;
    const refused = await waitFor("the refusal", async () => {
      const reason = await listed({ bearer: secret });
      return reason === undefined ? undefined : { reason, at: performance.now() };
    });
    const since = (at: number) => Math.round(at - replied);
    console.log(
      `revocation: replied after ${Math.round(replied - began)} ms; since the reply the stream ended after ${since(call.endedAt)} ms, the next call was refused after ${since(refused!.at)} ms`,
    );
    expect(since(call.endedAt)).toBeLessThan(1_000);
    expect(since(refused!.at)).toBeLessThan(1_000);
    expect(call.error).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" });
    expect(refused!.reason).toBe("CREDENTIAL_REVOKED");
    await waitFor("the ledger", async () => {
      return (await readRequest(sallyport.platform, call.requestId!))?.code === "CREDENTIAL_REVOKED";
    });
  });
});

describe("a client certificate", () => {
  test("calls for what it is bound to over gRPC and HTTPS, until it is unbound", async () => {
    expect(await listed({}, app)).toBe("CERTIFICATE_UNBOUND");
    const binding = {
      match: { case: "spiffeId" as const, value: DEMO_APP_ID },
      ...{ tenant: "demo", subject: "service/demo-app", groups: ["sallyport-users"] },
    };
    const { certificate } = await clients.credentials.bindCertificate(binding, operator());
    await waitFor("the binding", async () => (await listed({}, app)) === undefined);
    const call = await listening(app, {});
    expect(await readRequest(sallyport.platform, call.requestId!)).toMatchObject({ subject: "service/demo-app" });
    const files = clientCertificateFiles(sallyport.platform.home);
    expect(await overHttps(files)).toBe(200);
    await clients.credentials.unbindCertificate(
      { id: certificate!.id, justification: "It is not used any more." },
      operator(),
    );
    await call.done;
    expect(call.error).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" });
    expect(await listed({}, app)).toBe("CERTIFICATE_UNBOUND");
    expect(await overHttps(files)).toBe(401);
  });

  test("of the services' CA stands for nobody, and without any certificate or token there is no caller", async () => {
    const files = certificateFiles(sallyport.platform.home, "governance");
    const service = gatewayWith(files);
    expect(await listed({}, service)).toBe("TOKEN_MISSING");
    service.close();
    expect(await overHttps(files)).toBe(401);
    expect(await listed({})).toBe("TOKEN_MISSING");
  });

  test("is needed for an access token that is bound to it (RFC 8705)", async () => {
    const { cert } = clientCertificateFiles(sallyport.platform.home);
    const { raw } = new X509Certificate(readFileSync(cert));
    const cnf = { "x5t#S256": thumbprintOf(readClientCertificate(raw)) };
    const bearer = await mint(sallyport, { claims: { cnf } });
    expect(await listed({ bearer }, app)).toBe(undefined);
    expect(await listed({ bearer })).toBe("TOKEN_BINDING");
    // Governance asks for no certificates, so that nobody can show it that one.
    expect(await reasonOf(clients.models.listModels({}, as(bearer)))).toBe("TOKEN_BINDING");
  });
});

test("each of two issuers speaks for its own tenants alone", async () => {
  const person = { subject: "pat", groups: ["sallyport-users"] };
  expect(await listed({ bearer: partner.token({ ...person, tenant: "partner" }) })).toBe(undefined);
  expect(await listed({ bearer: partner.token({ ...person, tenant: "demo" }) })).toBe("TOKEN_TENANT");
  expect(await listed({ bearer: await mint(sallyport, { claims: { tenant: "partner" } }) })).toBe("TOKEN_TENANT");
});

/** Status of GET /v1/models with this certificate. */
function overHttps({ cert, key }: { cert: string; key: string }, bearer?: string): Promise<number> {
  const { ca, gatewayHttp } = sallyport.platform.endpoints;
  const { port } = new URL(gatewayHttp);
  const tls = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
  return new Promise((resolve, reject) => {
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const asked = request(
      { host: "127.0.0.1", port, path: "/v1/models", agent: false, headers, ...tls },
      (response) => {
        response.resume();
        resolve(response.statusCode!);
      },
    );
    asked.on("error", reject);
    asked.end();
  });
}
