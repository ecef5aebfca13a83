/** The process: create, start, and stop in order: intake, what is in flight, the bus, the database. */
import {
  type DeadLetter,
  DeadLetterSchema,
  type HeldItem,
  HeldItemSchema,
} from "@sallyport/proto/sallyport/bus/v1/bus";
import { CredentialService } from "@sallyport/proto/sallyport/governance/v1/credentials";
import { ModelService } from "@sallyport/proto/sallyport/governance/v1/models";
import { ReviewService } from "@sallyport/proto/sallyport/governance/v1/review";
import { SwitchService } from "@sallyport/proto/sallyport/governance/v1/switches";
import { streams } from "@sallyport/proto/subjects";
import { type MessageMeta, type Readiness, serve, startHealth } from "@sallyport/runtime";
import type { Context } from "./context.ts";
import { authenticate } from "./core/authorise.ts";
import { startBreakGlass } from "./core/break-glass.ts";
import { listenToChamber } from "./core/chamber-telemetry.ts";
import { startExpiry } from "./core/expiry.ts";
import { startItemExpiry } from "./core/item-expiry.ts";
import { publishPolicy } from "./core/policy-publisher.ts";
import { type SignedState, startSignedState } from "./core/signed-state.ts";
import { signFirstValues } from "./core/signed-values.ts";
import { approveModel } from "./handlers/approve-model.ts";
import { bindCertificate } from "./handlers/bind-certificate.ts";
import { claimItem } from "./handlers/claim-item.ts";
import { createToken } from "./handlers/create-token.ts";
import { decideItem } from "./handlers/decide-item.ts";
import { importModel } from "./handlers/import-model.ts";
import { listCertificates } from "./handlers/list-certificates.ts";
import { listItems } from "./handlers/list-items.ts";
import { listModels } from "./handlers/list-models.ts";
import { listSwitches } from "./handlers/list-switches.ts";
import { listTokens } from "./handlers/list-tokens.ts";
import { pause } from "./handlers/pause.ts";
import { readItem } from "./handlers/read-item.ts";
import { receiveDeadLetter } from "./handlers/receive-dead-letter.ts";
import { receiveHeld } from "./handlers/receive-held.ts";
import { resume } from "./handlers/resume.ts";
import { revokeModel } from "./handlers/revoke-model.ts";
import { revokeToken } from "./handlers/revoke-token.ts";
import { rotateToken } from "./handlers/rotate-token.ts";
import { unbindCertificate } from "./handlers/unbind-certificate.ts";
import { observeReviews } from "./metrics.ts";

const heldConcurrency = 32;
const deadConcurrency = 4;

export async function startService(context: Context, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, confirmer, db, log, outbox, policy } = context;
  stack.use(db);
  stack.use(bus);
  stack.use(outbox);
  stack.use(confirmer);
  stack.use(policy);
  stack.defer(() => context.postModerator.close());
  stack.defer(() => context.vault.close());
  const policyProblem = await publishPolicy(context);
  await signFirstValues(context);
  const state = stack.use(startSignedState(context));
  signal.throwIfAborted();
  consume(context, stack);
  stack.use(startItemExpiry(context));
  stack.use(startExpiry(context));
  stack.use(startBreakGlass(context));
  stack.use(await serveOperators(context));
  const ready = () => readiness(context, state, policyProblem);
  stack.use(observeReviews(context));
  const chamber = stack.use(listenToChamber(context));
  stack.use(await startHealth(config.healthAddress, { ready, metrics: () => chamber.text() }));
  log.info({ grpc: config.grpcAddress }, "listening");
  signal.throwIfAborted();
  return stack.move();
}

function consume(context: Context, stack: AsyncDisposableStack): void {
  const { bus, confirmer } = context;
  const [held] = streams.HELD.consumers;
  const hold = async (item: HeldItem, { msgId }: MessageMeta) => {
    await receiveHeld(context, item);
    confirmer.confirm("gateway", msgId);
  };
  stack.use(bus.consume("HELD", held, HeldItemSchema, hold, { concurrency: heldConcurrency }));
  const [dead] = streams.DEAD.consumers;
  const bury = (letter: DeadLetter, { msgId }: MessageMeta) => receiveDeadLetter(context, letter, msgId);
  stack.use(bus.consume("DEAD", dead, DeadLetterSchema, bury, { concurrency: deadConcurrency }));
}

function serveOperators(context: Context) {
  const { config, log, tls } = context;
  const who = (call: { bearer: string | undefined }) => authenticate(context, call.bearer);
  return serve(
    [
      {
        service: ModelService,
        handlers: {
          importModel: async (parts, call) => importModel(context, await who(call), parts, call.signal),
          approveModel: async (request, call) => approveModel(context, await who(call), request),
          revokeModel: async (request, call) => revokeModel(context, await who(call), request),
          listModels: async (_, call) => listModels(context, await who(call)),
        },
      },
      {
        service: ReviewService,
        handlers: {
          listItems: async (request, call) => listItems(context, await who(call), request),
          claimItem: async (request, call) => claimItem(context, await who(call), request),
          readItem: async (request, call) => readItem(context, await who(call), request, call.signal),
          decideItem: async (request, call) => decideItem(context, await who(call), request, call.signal),
        },
      },
      {
        service: SwitchService,
        handlers: {
          pause: async (request, call) => pause(context, await who(call), request),
          resume: async (request, call) => resume(context, await who(call), request),
          listSwitches: async (request, call) => listSwitches(context, await who(call), request),
        },
      },
      {
        service: CredentialService,
        handlers: {
          createToken: async (request, call) => createToken(context, await who(call), request),
          listTokens: async (request, call) => listTokens(context, await who(call), request),
          rotateToken: async (request, call) => rotateToken(context, await who(call), request),
          revokeToken: async (request, call) => revokeToken(context, await who(call), request),
          bindCertificate: async (request, call) => bindCertificate(context, await who(call), request),
          listCertificates: async (request, call) => listCertificates(context, await who(call), request),
          unbindCertificate: async (request, call) => unbindCertificate(context, await who(call), request),
        },
      },
    ],
    { address: config.grpcAddress, tls, log },
  );
}

async function readiness(context: Context, state: SignedState, policyProblem: string | undefined): Promise<Readiness> {
  const database = await context.db.query("SELECT 1").then(
    () => "ok",
    () => "unreachable",
  );
  const checks = {
    bus: context.bus.connected ? "ok" : "disconnected",
    database,
    policy: policyProblem ?? (context.policy.fresh ? "ok" : "stale"),
    state: state.problem ?? "ok",
  };
  return { ready: Object.values(checks).every((check) => check === "ok"), checks };
}
