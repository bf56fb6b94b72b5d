/** Xenstore's paths: what is one, what is above it, and how a relative one is meant (xenstore.txt). */
import { PATH_MAX } from './wire.ts'

export const parentOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf('/')))
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
export const childOf = (path: string, name: string): string => (path === '/' ? `/${name}` : `${path}/${name}`)
export const homeOf = (domain: number): string => `/local/domain/${domain}`

/** `path` is `above` or lies below it. */
export const isWithin = (path: string, above: string): boolean =>
  above === '/' || path === above || path.startsWith(`${above}/`)

/** Special paths and absolute ones stay as they are. */
export const absolute = (path: string, home: string): string => (/^[/@]/.test(path) ? path : `${home}/${path}`)

export function isValidPath(path: string): boolean {
  if (!/^\/[-\w/@]*$/.test(path) || path.includes('//') || (path !== '/' && path.endsWith('/'))) return false
  const home = /^\/local\/domain\/\d{1,5}\//.exec(path)?.[0].length ?? 0
  return path.length <= home + PATH_MAX
}
