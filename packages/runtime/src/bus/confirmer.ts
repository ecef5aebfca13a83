/** A stateful consumer's word to its producers: the effect of these messages is committed, their rows may go. */
import { ConfirmMessageSchema } from "@sallyport/proto/sallyport/bus/v1/bus";
import { type ServiceName, subjects } from "@sallyport/proto/subjects";
import type { Bus } from "./index.ts";

export interface Confirmer extends Disposable {
  /** `msgId` as in the message's meta. Sent with others of the same producer within a moment. */
  confirm(producer: ServiceName, msgId: string): void;
}

const everyMs = 100;
const perMessage = 500;

export function createConfirmer(bus: Pick<Bus, "signal">): Confirmer {
  const waiting = new Map<ServiceName, string[]>();
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    timer = undefined;
    for (const [producer, ids] of waiting) {
      for (let start = 0; start < ids.length; start += perMessage) {
        const messageIds = ids.slice(start, start + perMessage);
        bus.signal(subjects.confirm(producer), ConfirmMessageSchema, { messageIds });
      }
    }
    waiting.clear();
  };
  return {
    confirm(producer, msgId) {
      const ids = waiting.get(producer);
      if (ids) ids.push(msgId);
      else waiting.set(producer, [msgId]);
      timer ??= setTimeout(flush, everyMs);
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      flush();
    },
  };
}
