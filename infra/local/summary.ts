import { relative } from "node:path";
import { tokenFile } from "./dev-issuer/tokens.ts";
import type { Platform } from "./platform.ts";

/** What `npm start` shows when everything is up: addresses, where the credentials are, three commands. */
export function platformSummary({ endpoints, home }: Platform, seconds: number): string {
  const path = (file: string) => {
    const near = relative(process.cwd(), file);
    return near.startsWith("..") ? file : near;
  };
  const credentials = ["user", "reviewer", "operator", "approver", "auditor"].map((name) =>
    path(tokenFile(home, name)),
  );
  const token = credentials[0];
  return `
Sallyport is up (${seconds.toFixed(1)} s).

  OpenAI-compatible API   ${endpoints.gatewayHttp}
  gRPC                    gateway ${endpoints.gatewayGrpc}, governance ${endpoints.governanceGrpc}, audit ${endpoints.auditGrpc}
  transparency log        ${endpoints.auditHttp}
  dev issuer (OIDC)       ${endpoints.issuer}
  all addresses           ${path(home.endpointsFile)}
  certificate authority   ${path(endpoints.ca)}
  credentials             ${credentials.join("\n                          ")}
  logs                    ${path(home.logsDir)}/

Try:

  curl -sN ${endpoints.gatewayHttp}/chat/completions -H "authorization: Bearer $(cat ${token})" \\
    -H "content-type: application/json" -d '{"model":"pilot-text","stream":true,"messages":[{"role":"user","content":"What is Sallyport?"}]}'
  npx sallyport chat "What is Sallyport?"
  npm run demo

Ctrl-C stops everything.`;
}
