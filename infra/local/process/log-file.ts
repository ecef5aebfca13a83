import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";

const MAX_BYTES = 10 * 1024 * 1024;
const KEPT_FILES = 3;
const MAX_LINE_CHARACTERS = 64 * 1024;
const TAIL_LINES = 20;

export interface LogFile {
  readonly path: string;
  /** One line of a child's output: JSON objects as they are, anything else wrapped in one. */
  line(text: string): void;
  /** The last lines, for an error's message. */
  tail(): string[];
  close(): void;
}

/** A JSON-lines file that is bounded: at 10 MiB it becomes `<path>.1`, and so on to `.3`. */
export function openLogFile(path: string, service: string, now: () => Date = () => new Date()): LogFile {
  let fd = openSync(path, "a", 0o600);
  let size = statSync(path).size;
  const tail: string[] = [];
  function rotate(): void {
    closeSync(fd);
    rmSync(`${path}.${KEPT_FILES}`, { force: true });
    for (let n = KEPT_FILES - 1; n >= 0; n--) {
      const from = n === 0 ? path : `${path}.${n}`;
      if (statSync(from, { throwIfNoEntry: false })) renameSync(from, `${path}.${n + 1}`);
    }
    fd = openSync(path, "a", 0o600);
    size = 0;
  }
  return {
    path,
    line(text) {
      if (fd < 0 || text.trim() === "") return;
      const json = `${asJson(text, service, now)}\n`;
      if (size + json.length > MAX_BYTES) rotate();
      size += writeSync(fd, json);
      tail.push(json.trimEnd());
      if (tail.length > TAIL_LINES) tail.shift();
    },
    tail: () => [...tail],
    close() {
      if (fd >= 0) closeSync(fd);
      fd = -1;
    },
  };
}

function asJson(text: string, service: string, now: () => Date): string {
  const line = text.length > MAX_LINE_CHARACTERS ? text.slice(0, MAX_LINE_CHARACTERS) : text;
  if (line.startsWith("{") && line === text && isJson(line)) return line;
  return JSON.stringify({ time: now().toISOString(), level: "info", service, msg: line });
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
