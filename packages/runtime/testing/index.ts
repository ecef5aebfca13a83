export * from "./wait-for.ts";
