/** Runs a step and tells how long it took; a failure carries the step's name. */
export async function step<T>(log: (line: string) => void, name: string, run: () => Promise<T> | T): Promise<T> {
  const started = performance.now();
  try {
    const result = await run();
    log(`${name}: ${((performance.now() - started) / 1_000).toFixed(1)} s`);
    return result;
  } catch (error) {
    throw new Error(`${name} failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
