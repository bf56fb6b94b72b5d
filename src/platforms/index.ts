/** The platforms that a machine can be run on. */
export const platforms = ['native'] as const
export type PlatformName = (typeof platforms)[number]
