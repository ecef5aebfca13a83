/** Values of options and arguments. */
import { InvalidArgumentError } from "commander";

export function seconds(text: string): number {
  return integer(1, 86_400)(text);
}

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,15}$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

export function digest(text: string): string {
  const hex = text.replace(/^sha256:/, "");
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new InvalidArgumentError("It must be 64 hexadecimal digits.");
  return hex;
}

export function identifier(text: string): string {
  if (!/^[A-Za-z0-9_.-]{1,128}$/.test(text)) throw new InvalidArgumentError("It must be an id.");
  return text;
}

/** Seconds. */
export function duration(text: string): number {
  const [, count, unit] = /^(\d{1,9})(s|m|h|d)$/.exec(text) ?? [];
  const seconds = Number(count) * { s: 1, m: 60, h: 3_600, d: 86_400 }[(unit ?? "s") as "s" | "m" | "h" | "d"];
  if (unit === undefined || seconds < 1)
    throw new InvalidArgumentError("It must be a time such as 90s, 30m, 12h or 7d.");
  return seconds;
}

export function name(text: string): string {
  if (text === "" || text.length > 1_024 || /[\p{C}\p{Zl}\p{Zp}]/u.test(text)) {
    throw new InvalidArgumentError("It must be a name of printable characters.");
  }
  return text;
}

export function tenantName(text: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(text)) {
    throw new InvalidArgumentError("A tenant is 1 to 64 of a-z, 0-9 and -, not beginning with -.");
  }
  return text;
}

/** For an option that may be repeated. */
export function collect(text: string, before: readonly string[]): string[] {
  return [...before, name(text)];
}

export function instant(text: string): Date {
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError("It must be a time such as 2026-11-23T15:00:00Z.");
  }
  return time;
}
