/** HV_STATUS: what a hypercall answers (TLFS, "Hypercall Status Code Reference"). */
export const statusCodes = {
  HV_STATUS_SUCCESS: 0,
  HV_STATUS_INVALID_HYPERCALL_CODE: 2,
  HV_STATUS_INVALID_HYPERCALL_INPUT: 3,
  HV_STATUS_INVALID_ALIGNMENT: 4,
  HV_STATUS_INVALID_PARAMETER: 5,
  HV_STATUS_ACCESS_DENIED: 6,
  HV_STATUS_INVALID_VP_INDEX: 14,
  HV_STATUS_INVALID_CONNECTION_ID: 18,
} as const

export type Status = keyof typeof statusCodes
