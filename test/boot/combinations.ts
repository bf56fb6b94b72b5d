/**
 * The stock kernels that each platform boots, with how many vCPUs: the first kernel with one and four, the others
 * with one of them; all combinations with PARAVIRT_ALL_BOOTS (`npm run boots`).
 */
export const CLOUD = 'linux-image-cloud-amd64'
const AMD64 = 'linux-image-amd64'
const kernels = [CLOUD, AMD64, 'linux-image-6.12-cloud-amd64', 'linux-image-6.12-amd64'] as const

export interface Combination {
  readonly kernel: (typeof kernels)[number]
  readonly cpus: number
  /** The processor that is tested with it where the vendor matters. */
  readonly cpu: 'inorder' | 'amd'
}

const all = kernels.flatMap((kernel) =>
  [1, 4].map((cpus): Combination => ({ kernel, cpus, cpu: kernel === AMD64 ? 'amd' : 'inorder' })),
)
const few = all.filter(({ kernel, cpus }) => kernel === CLOUD || cpus === (kernel === AMD64 ? 4 : 1))

export const combinations = process.env['PARAVIRT_ALL_BOOTS'] ? all : few
