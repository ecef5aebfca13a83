import type { Corruption } from "./kind.ts";
import { ledger } from "./of-ledger.ts";
import { log, modelsAndPeople } from "./of-log.ts";
import { transcripts } from "./of-transcripts.ts";

export const corruptions: readonly Corruption[] = [...transcripts, ...ledger, ...log, ...modelsAndPeople];
