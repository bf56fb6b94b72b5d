/** GNTST_*: what an operation on a grant answers (xen/grant_table.h). */
export const GntStatus = {
  OKAY: 0,
  GENERAL_ERROR: -1,
  BAD_DOMAIN: -2,
  BAD_GNTREF: -3,
  BAD_HANDLE: -4,
  BAD_VIRT_ADDR: -5,
  BAD_DEV_ADDR: -6,
  PERMISSION_DENIED: -8,
  BAD_PAGE: -9,
  BAD_COPY_ARG: -10,
  EAGAIN: -12,
  NO_SPACE: -13,
} as const
