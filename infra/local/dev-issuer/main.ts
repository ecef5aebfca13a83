// The OIDC issuer of a development installation: a real oidc-provider on loopback, client credentials only. A real
// installation names its own issuer instead (OIDC_ISSUERS).
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import Provider, { type Configuration, errors } from "oidc-provider";
import { API_RESOURCE, type DevClient, readClients } from "./clients.ts";

const TOKEN_TTL_SECONDS = 3_600;
const CLOSE_TIMEOUT_MS = 2_000;

const [port, clientsFile, keysFile] = [
  process.env.ISSUER_PORT,
  process.env.ISSUER_CLIENTS_FILE,
  process.env.ISSUER_KEYS_FILE,
];
if (!port || !clientsFile || !keysFile)
  throw new Error("ISSUER_PORT, ISSUER_CLIENTS_FILE and ISSUER_KEYS_FILE must be set");
const clients = readClients(clientsFile);
const keys = JSON.parse(readFileSync(keysFile, "utf8")) as NonNullable<Configuration["jwks"]>;

const provider = new Provider(`http://127.0.0.1:${port}`, configuration(clients, keys));
provider.on("server_error", (_ctx, error) => console.error(JSON.stringify({ level: "error", msg: error.message })));
const handle = provider.callback();
const server = createServer((request, response) => {
  if (request.url === "/readyz") return void response.writeHead(200).end();
  void handle(request, response);
});
server.listen(Number(port), "127.0.0.1", () =>
  console.log(JSON.stringify({ level: "info", service: "issuer", msg: "started" })),
);

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, stop);
process.on("disconnect", stop);

function stop(): void {
  server.close(() => process.exit(0));
  server.closeAllConnections();
  setTimeout(() => process.exit(1), CLOSE_TIMEOUT_MS).unref();
}

function configuration(people: readonly DevClient[], jwks: NonNullable<Configuration["jwks"]>): Configuration {
  return {
    jwks,
    clients: people.map(({ id, secret }) => ({
      client_id: id,
      client_secret: secret,
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: "client_secret_basic",
      id_token_signed_response_alg: "ES256",
    })),
    enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => API_RESOURCE,
        getResourceServerInfo: (_ctx, resource) => {
          if (resource !== API_RESOURCE) throw new errors.InvalidTarget();
          return {
            scope: "api",
            audience: API_RESOURCE,
            accessTokenTTL: TOKEN_TTL_SECONDS,
            accessTokenFormat: "jwt",
            jwt: { sign: { alg: "ES256" } },
          };
        },
      },
    },
    ttl: { ClientCredentials: TOKEN_TTL_SECONDS },
    extraTokenClaims: (_ctx, token) => {
      const person = people.find(({ id }) => id === token.clientId);
      return person ? { tenant: person.tenant, groups: [...person.groups] } : undefined;
    },
  };
}
