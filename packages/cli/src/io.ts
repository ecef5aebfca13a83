/** Where the command reads and writes; tests bring their own. */
export interface Io {
  /** Results. */
  out(text: string): void;
  /** What a person wants to know beside the result. */
  err(text: string): void;
  /** All of standard input, at most `maxBytes`. */
  readIn(maxBytes: number): Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

export function processIo(signal: AbortSignal): Io {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    readIn: async (maxBytes) => {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of process.stdin) {
        size += chunk.length;
        if (size > maxBytes) throw new Error(`standard input is longer than ${maxBytes} bytes`);
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString("utf8");
    },
    env: process.env,
    signal,
  };
}

/**
 * Text of a model or of another person, for a terminal: control characters could move the cursor, rename the window or
 * answer in the reader's place, and direction marks could show it as something else. Line breaks and tabs stay.
 */
export function plain(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, "�");
}
