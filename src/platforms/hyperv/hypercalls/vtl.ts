/** HV_INPUT_VTL: the virtual trust level that is meant. There is only level 0, the caller's own. */
const LEVEL = 0x0f
const USE_LEVEL = 0x10
const RESERVED = 0xe0

export function isOwnLevel(value: number): boolean {
  return (value & RESERVED) === 0 && ((value & USE_LEVEL) === 0 || (value & LEVEL) === 0)
}
