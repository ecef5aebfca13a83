import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{proto,packages,services,infra,models,test}/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**", "**/.sallyport/**"],
    globalSetup: ["./packages/runtime/testing/global-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    pool: "forks",
    maxWorkers: 2,
  },
});
