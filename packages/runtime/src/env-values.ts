/** Parsers of single values. Each throws an Error whose message reads well after the variable's name. */
import { isIPv6 } from "node:net";

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

export function parseInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^-?\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw new Error("must be a whole number");
    return within(value, min, max);
  };
}

export function parseDuration(minMs: number, maxMs: number): (text: string) => number {
  return (text) => {
    const [, digits, unit] = /^(\d{1,12})(ms|s|m|h)$/.exec(text) ?? [];
    if (digits === undefined) throw new Error("must be a duration such as 250ms, 10s, 5m or 24h");
    return within(Number(digits) * unitMs[unit as keyof typeof unitMs], minMs, maxMs, " ms");
  };
}

export function parseAddress(text: string): { host: string; port: number } {
  const [, v6, name, digits] = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name;
  if (host === undefined || Number(digits) > 65_535 || (v6 !== undefined && !isIPv6(v6))) {
    throw new Error("must be host:port, for instance 127.0.0.1:7080 or [::1]:7080");
  }
  return { host, port: Number(digits) };
}

export function parseUrl(schemes: readonly string[]): (text: string) => string {
  return (text) => {
    const url = URL.parse(text);
    if (url === null || !schemes.includes(url.protocol.slice(0, -1))) {
      throw new Error(`must be a URL that starts with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`);
    }
    return url.href;
  };
}

/** Back to `host:port`. */
export function formatAddress({ host, port }: { host: string; port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function within(value: number, min: number, max: number, unit = ""): number {
  if (value < min || value > max) throw new Error(`must be from ${min} to ${max}${unit}`);
  return value;
}
