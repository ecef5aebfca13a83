/** The gateway's process: create, start, and stop in order: intake, what is in flight, the bus, the database. */

import {
  type ReviewDecisionMessage,
  ReviewDecisionMessageSchema,
  type VerdictMessage,
  VerdictMessageSchema,
} from "@sallyport/proto/sallyport/bus/v1/bus";
import { GenerationService } from "@sallyport/proto/sallyport/generation/v1/generation";
import { ownConsumers, streams, subjects } from "@sallyport/proto/subjects";
import { type MessageMeta, type Readiness, serve, startHealth } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { identify } from "./core/callers.ts";
import { startReconciler } from "./core/reconciler.ts";
import { startSwitchEnforcer } from "./core/switch-enforcer.ts";
import { checkRequestId } from "./domain/content.ts";
import { applyDecision } from "./handlers/bus/apply-decision.ts";
import { applyVerdict } from "./handlers/bus/apply-verdict.ts";
import { handleChat } from "./handlers/grpc/chat.ts";
import { moderateTexts } from "./handlers/grpc/moderate-texts.ts";
import { serveHttp } from "./handlers/http/server.ts";
import { cancelRequest, getReceipt, getRequest, models } from "./handlers/requests.ts";
import { observeLedger } from "./metrics.ts";

const verdictConcurrency = 128;
const decisionConcurrency = 8;
/** Of the 10 s that stopping may take. What is not over by then goes on without its caller: the ledger has it. */
const drainMs = 4_000;

export async function startService(context: Context, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, log } = context;
  stack.use(context.db);
  stack.use(context.quotas);
  stack.use(bus);
  stack.use(context.outbox);
  stack.use(context.confirmer);
  stack.use(context.models);
  stack.use(context.policy);
  stack.use(context.switches);
  stack.use(context.credentials);
  stack.defer(() => context.door1.close());
  stack.defer(() => context.receipts.close());
  stack.use(observeLedger(context));
  consume(context, stack);
  stack.use(startReconciler(context));
  stack.use(context.dispatcher.start());
  stack.use(startSwitchEnforcer(context));
  stack.use(await serveGrpc(context));
  stack.use(await serveHttp(context, config.httpAddress));
  stack.use(await startHealth(config.healthAddress, { ready: () => readiness(context) }));
  stack.defer(() => context.inFlight.drain(drainMs));
  log.info({ grpc: config.grpcAddress, http: config.httpAddress }, "listening");
  signal.throwIfAborted();
  return stack.move();
}

function consume(context: Context, stack: AsyncDisposableStack): void {
  const { bus, config, log } = context;
  // In order for each request: its windows are a chain.
  const inOrder = { concurrency: verdictConcurrency, create: true, orderedBy: (subject: string) => subject };
  const verdict = async (message: VerdictMessage, { subject }: MessageMeta) => {
    checkRequestId(message.requestId);
    // On another subject it would overtake the request's own verdicts.
    if (subject === subjects.verdict(config.gatewayId, message.requestId)) await applyVerdict(context, message);
    else log.warn({ subject }, "a verdict about another request than its subject says was dropped");
  };
  stack.use(bus.consume("VERDICTS", ownConsumers.verdict(config.gatewayId), VerdictMessageSchema, verdict, inOrder));
  const decide = async (message: ReviewDecisionMessage, { msgId }: MessageMeta) => {
    checkRequestId(message.requestId);
    await applyDecision(context, message);
    context.confirmer.confirm("governance", msgId);
  };
  const [decisions] = streams.DECISIONS.consumers;
  // In order for each request: of two words about it the first one counts.
  const inTurn = { concurrency: decisionConcurrency, orderedBy: (subject: string) => subject };
  stack.use(bus.consume("DECISIONS", decisions, ReviewDecisionMessageSchema, decide, inTurn));
}

function serveGrpc(context: Context) {
  const { config, log } = context;
  return serve(
    [
      {
        service: GenerationService,
        handlers: {
          chat: (request, call) => handleChat(context, request, call),
          getRequest: async ({ requestId }, call) => getRequest(context, await identify(context, call), requestId),
          cancelRequest: async ({ requestId }, call) =>
            cancelRequest(context, await identify(context, call), requestId),
          getReceipt: async ({ requestId }, call) =>
            getReceipt(context, await identify(context, call), requestId, call.signal),
          listModels: async (_, call) => ({ models: models(context, await identify(context, call)) }),
          moderateTexts: (request, call) => moderateTexts(context, request, call),
        },
      },
    ],
    { address: config.grpcAddress, tls: context.tls, clientCa: context.clientCa, log },
  );
}

async function readiness(context: Context): Promise<Readiness> {
  const fresh = (state: { fresh: boolean }) => (state.fresh ? "ok" : "stale");
  const database = await context.db.query("SELECT 1").then(
    () => "ok",
    () => "unreachable",
  );
  const checks = {
    intake: context.inFlight.stopping ? "stopping" : "ok",
    bus: context.bus.connected ? "ok" : "disconnected",
    database,
    models: fresh(context.models),
    policy: fresh(context.policy),
    switches: fresh(context.switches),
    credentials: fresh(context.credentials),
  };
  return { ready: Object.values(checks).every((check) => check === "ok"), checks };
}
