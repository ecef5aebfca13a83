import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Envelope, type RequestSecret, seal } from "@sallyport/attestation";
import { type Job, WindowMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { FinishReason, WindowContentSchema } from "@sallyport/proto/sallyport/generation/v1/generation";
import { subjects } from "@sallyport/proto/subjects";
import { AppError, type Bus, type Clock } from "@sallyport/runtime";
import type { FailureFacts } from "../domain/run-failure.ts";
import type { WindowText } from "../domain/window-cutter.ts";

type Body = NonNullable<MessageInitShape<typeof WindowMessageSchema>["body"]>;

export interface RunOutputOptions {
  bus: Pick<Bus, "publish">;
  clock: Clock;
  job: Job;
  runId: string;
}

const tryMs = 5_000;
/** A failure is still told when the deadline is what failed. */
const failureGraceMs = 5_000;
const finishReasons = { stop: FinishReason.STOP, length: FinishReason.LENGTH } as const;

/**
 * What one run says, in order, each message confirmed before the next. A bus that is away is waited for until the
 * job's deadline; publishing again does no harm, as every message has its id.
 */
export class RunOutput {
  readonly #options: RunOutputOptions;
  /** What the run begins with, once that is known. */
  claim: Envelope | undefined;
  #index = 0;

  constructor(options: RunOutputOptions) {
    this.#options = options;
  }

  get runId(): string {
    return this.#options.runId;
  }

  /** Whether the start is out. */
  get begun(): boolean {
    return this.#index > 0;
  }

  get windows(): number {
    return Math.max(0, this.#index - 1);
  }

  /** Index 0, with the first window (index 1) if there is one. The job goes on without the secrets of others than door 2. */
  async start(
    claim: Envelope,
    signal?: AbortSignal,
    first?: { secret: RequestSecret; window: WindowText },
  ): Promise<void> {
    const { job } = this.#options;
    const secrets = job.secrets.filter(({ service }) => service === "post-moderator");
    const content = first && this.#seal(first.secret, first.window, 1);
    const body = { case: "start" as const, value: { job: { ...job, secrets }, claim, content } };
    await this.#publish(body, first?.window.finishReason !== undefined, this.#deadlineMs, signal);
    if (first) this.#index += 1;
  }

  async window(secret: RequestSecret, window: WindowText, signal: AbortSignal): Promise<void> {
    const value = this.#seal(secret, window, this.#index);
    await this.#publish({ case: "content", value }, window.finishReason !== undefined, this.#deadlineMs, signal);
  }

  async failure(facts: FailureFacts): Promise<void> {
    const untilMs = Math.max(this.#deadlineMs, this.#options.clock.now().getTime() + failureGraceMs);
    await this.#publish({ case: "failure", value: facts }, true, untilMs);
  }

  #seal(secret: RequestSecret, { text, usage, finishReason: why }: WindowText, index: number): Uint8Array {
    const { requestId, attempt } = this.#options.job;
    const finishReason = why && finishReasons[why];
    const bytes = toBinary(WindowContentSchema, create(WindowContentSchema, { text, usage, finishReason }));
    return seal(secret, { requestId, kind: "window", attempt, index }, bytes);
  }

  get #deadlineMs(): number {
    return Number(this.#options.job.deadlineMs);
  }

  async #publish(body: Body, final: boolean, untilMs: number, signal?: AbortSignal): Promise<void> {
    const { bus, clock, job, runId } = this.#options;
    const { requestId, attempt, gatewayId } = job;
    const index = this.#index;
    const message = { requestId, attempt, index, final, runId, gatewayId, body };
    const msgId = `${requestId}.${attempt}.${runId}.${index}`;
    const subject = subjects.window(requestId);
    while (true) {
      signal?.throwIfAborted();
      try {
        const leftMs = untilMs - clock.now().getTime();
        const timeoutMs = Math.max(1, Math.min(tryMs, leftMs));
        await bus.publish("WINDOWS", subject, WindowMessageSchema, message, { msgId, timeoutMs });
        this.#index += 1;
        return;
      } catch (error) {
        const away = error instanceof AppError && error.code === "UNAVAILABLE";
        if (!away || clock.now().getTime() >= untilMs) throw error;
      }
    }
  }
}
