/** physdev_op (xen/physdev.h) of a PV guest without devices: I/O privilege, and what it may not do. */
import { Errno } from '../errno.ts'
import { command, commands } from '../hypercalls/declare.ts'
import { struct } from '../struct.ts'
import type { PvKind } from './kind.ts'

const source = 'xen/physdev.h'
const EFAULT = 'the structure cannot be read'
const IOPL_SHIFT = 12
const MAX_PORTS = 65536

const refused = (number: number, name: string, summary: string) =>
  command({
    command: number,
    name,
    summary,
    source,
    struct: struct({ words: 'u64' }),
    errors: { EFAULT, EPERM: 'always' },
    run: () => Errno.EPERM,
  })

const eoiPage = (number: number, name: string) =>
  command({
    command: number,
    name,
    summary: 'a page in which Xen says which physical interrupts want an EOI',
    source,
    struct: struct({ gmfn: 'long' }),
    errors: { EFAULT, EINVAL: 'no frame of its own, or a table', EBUSY: 'there is one' },
    run: (call, block, f) => (call.domain.kind as unknown as PvKind).setEoiPage(block.whole(f.gmfn)),
  })

export const physdevOp = commands({
  number: 33,
  name: 'physdev_op',
  summary: 'physical devices and interrupts',
  guest: 'pv',
  source,
  commands: [
    command({
      command: 6,
      name: 'PHYSDEVOP_set_iopl',
      summary: 'the I/O privilege level',
      source,
      struct: struct({ iopl: 'u32' }),
      errors: { EFAULT, EINVAL: 'above 3' },
      run: ({ domain, vcpu }, block, f) => {
        const iopl = block.get(f.iopl)
        if (iopl > 3) return Errno.EINVAL
        domain.effects.pv.setWord(vcpu, 'iopl', iopl << IOPL_SHIFT)
        return 0
      },
    }),
    command({
      command: 7,
      name: 'PHYSDEVOP_set_iobitmap',
      summary: 'the bitmap of ports that user code may use',
      source,
      struct: struct({ bitmap: 'pointer', nr_ports: 'u32' }),
      errors: { EFAULT, EINVAL: 'more than 65536 ports; the hypervisor’s addresses' },
      run: ({ domain, vcpu }, block, f) => {
        const ports = block.get(f.nr_ports)
        if (ports > MAX_PORTS || !domain.kind.mayAccess(block.get(f.bitmap), block.high(f.bitmap))) return Errno.EINVAL
        domain.effects.pv.setWide(vcpu, 'iobmp', block.big(f.bitmap))
        domain.effects.pv.setWord(vcpu, 'iobmpLimit', ports)
        return 0
      },
    }),
    eoiPage(17, 'PHYSDEVOP_pirq_eoi_gmfn_v1'),
    eoiPage(28, 'PHYSDEVOP_pirq_eoi_gmfn_v2'),
    refused(8, 'PHYSDEVOP_apic_read', 'an I/O APIC’s register, which is dom0’s'),
    refused(9, 'PHYSDEVOP_apic_write', 'the same'),
    refused(15, 'PHYSDEVOP_manage_pci_add', 'devices, which are dom0’s'),
    refused(16, 'PHYSDEVOP_manage_pci_remove', 'the same'),
    refused(20, 'PHYSDEVOP_manage_pci_add_ext', 'the same'),
    refused(25, 'PHYSDEVOP_pci_device_add', 'the same'),
    refused(26, 'PHYSDEVOP_pci_device_remove', 'the same'),
    refused(27, 'PHYSDEVOP_restore_msi_ext', 'the same'),
    refused(30, 'PHYSDEVOP_prepare_msix', 'the same'),
    refused(31, 'PHYSDEVOP_release_msix', 'the same'),
  ],
})
