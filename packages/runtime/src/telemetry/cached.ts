/** The answer of `read`, asked at most every `everyMs`: whoever scrapes how often, the database is asked no more than that. */
export function cached<T>(everyMs: number, read: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (answer !== undefined && now - askedAt < everyMs) return answer;
    askedAt = now;
    answer = read();
    // Whoever waits for it hears of its failure, the next ones too until it is asked again.
    answer.catch(() => {});
    return answer;
  };
}
