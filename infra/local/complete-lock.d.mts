interface LockEntry {
  readonly name: string;
  readonly version: string;
  readonly dev: boolean;
}

export function missingEntries(lock: { packages: Record<string, unknown> }): LockEntry[];
export function platformEntry(entry: LockEntry): Record<string, unknown>;
