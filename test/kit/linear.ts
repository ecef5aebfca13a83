/** Whether ten times the input takes about ten times as long. */
const [small, large] = [100_000, 1_000_000];
/** Ten, and room for caches and collections; a quadratic reader needs a hundred. */
const maxRatio = 40;
/** Below this nothing is measured but noise. */
const floorMs = 1;
const tries = 4;

/** Makes an input of about so many characters. */
export type Shape = readonly [name: string, make: (size: number) => string];

/** Names of the shapes that take out of proportion long at 1 MB, with how many times as long as at 100 KB. */
export function beyondLinear(read: (text: string) => unknown, shapes: readonly Shape[]): string[] {
  return shapes.flatMap(([name, make]) => {
    const [few, many] = [make(small), make(large)];
    let ratio = Number.POSITIVE_INFINITY;
    // What else the machine does, and a collection in between, can only make it longer.
    for (let run = 0; run < tries && ratio >= maxRatio; run += 1) {
      const base = Math.max(floorMs, Math.min(cpuMs(read, few), cpuMs(read, few)));
      ratio = Math.min(ratio, cpuMs(read, many) / base);
    }
    return ratio < maxRatio ? [] : [`${name}: ×${Math.round(ratio)}`];
  });
}

/** Processor time of this thread alone. */
function cpuMs(read: (text: string) => unknown, text: string): number {
  const before = process.threadCpuUsage();
  try {
    read(text);
  } catch {
    // Refusing is what most of this is for.
  }
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1_000;
}

export const fill = (unit: string, size: number) => unit.repeat(Math.ceil(size / unit.length));
