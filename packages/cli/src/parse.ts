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
  if (!/^[A-Za-z0-9_.-]{1,128}$/.test(text)) throw new InvalidArgumentError("It must be a request's id.");
  return text;
}

export function instant(text: string): Date {
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError("It must be a time such as 2026-11-23T15:00:00Z.");
  }
  return time;
}
