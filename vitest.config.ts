/**
 * Two kinds of tests: `unit`, beside the code and in test/oracle, and `boot`: whole boots in test/boot, which take
 * minutes and run one after another, after the others, because they want the machine to themselves.
 */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{src,scripts,test}/**/*.test.ts'],
          exclude: ['test/boot/**'],
          testTimeout: 60_000,
          hookTimeout: 120_000, // building the procedures on a busy machine
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'boot',
          include: ['test/boot/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
