/** What the service serves: AuditService to auditors, receipts and bodies to neighbours, tiles to tools. */
import { allowedCallers } from "@sallyport/proto/calls";
import { AuditService, ReceiptService, VaultService } from "@sallyport/proto/sallyport/audit/v1/audit";
import { type CallContext, createHttpServer, listenHttp, serve } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { type Action, authorise, authoriseWhole, notOfAll } from "./core/authorise.ts";
import { openBody } from "./handlers/open-body.ts";
import { getCheckpoint, getConsistencyProof, getReceipt, getRecord, tailRecords } from "./handlers/records.ts";
import { serveTiles } from "./handlers/tiles.ts";

/** How long a stream may go on before its caller's token is looked at again. */
const recheckEveryMs = 5_000;

export function serveAuditors(context: Context) {
  const { clock, config, log, tls } = context;
  const guarded =
    <Request, Response>(action: Action, handler: (request: Request, tenant: string | undefined) => Promise<Response>) =>
    async (request: Request, { bearer }: CallContext) =>
      handler(request, await authorise(context, bearer, action));
  const handlers = {
    getRecord: guarded("audit.read", (request: Parameters<typeof getRecord>[1], tenant) =>
      getRecord(context, request, tenant),
    ),
    getCheckpoint: guarded("audit.prove", () => getCheckpoint(context)),
    getConsistencyProof: guarded("audit.prove", (request: Parameters<typeof getConsistencyProof>[1]) =>
      getConsistencyProof(context, request),
    ),
    tailRecords: async function* (request: Parameters<typeof tailRecords>[1], { bearer, signal }: CallContext) {
      const tenant = await authorise(context, bearer, "audit.read");
      let checkedAt = clock.now().getTime();
      const recheck = async () => {
        if (clock.now().getTime() - checkedAt < recheckEveryMs) return;
        if ((await authorise(context, bearer, "audit.read")) !== tenant) throw notOfAll();
        checkedAt = clock.now().getTime();
      };
      yield* tailRecords(context, request, tenant, signal, recheck);
    },
  };
  return serve([{ service: AuditService, handlers }], { address: config.grpcAddress, tls, log });
}

export function serveNeighbours(context: Context) {
  const { config, log, tls } = context;
  const receipts = { getReceipt: ({ requestId }: { requestId: string }) => getReceipt(context, requestId) };
  const vault = { openBody: (request: Parameters<typeof openBody>[1]) => openBody(context, request) };
  return serve(
    [
      { service: ReceiptService, handlers: receipts },
      { service: VaultService, handlers: vault },
    ],
    {
      address: config.internalGrpcAddress,
      tls,
      mutual: { allowedCallers: (service) => allowedCallers("audit", service) },
      log,
    },
  );
}

export async function serveFiles(context: Context): Promise<AsyncDisposable> {
  const { config, db, heads, log, tls } = context;
  const tiles = { db, heads, log, authorise: (bearer: string | undefined) => authoriseWhole(context, bearer) };
  const limits = { headersTimeout: 10_000, requestTimeout: 10_000, maxHeaderSize: 16 * 1024 };
  const server = createHttpServer(tls, config.httpAddress, limits);
  server.on("request", (request, response) => void serveTiles(tiles, request, response));
  server.maxConnections = 256;
  return listenHttp(server, config.httpAddress);
}
