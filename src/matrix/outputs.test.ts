/** The same report in every form, each read back by someone else's parser. */
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { Parser } from 'tap-parser'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { htmlPage } from './html.ts'
import { junitXml } from './junit.ts'
import { phases } from './timeline.ts'
import { tableText } from './table.ts'
import { tapText } from './tap.ts'
import { cellOf, exampleReport } from './testing.ts'

const report = exampleReport()

describe('the table', () => {
  const text = tableText(report, false)

  test('has a line for each platform, with what was asked by group', () => {
    expect(text).toMatch(/│ native +│ ok +│ +1\.50 s │ +1,100 M │ -  +│ +0 │ +0 │/)
    expect(text).toMatch(/│ kvm +│ ok .*│ +3 │ +0 │/)
    expect(text).toMatch(/│ hyperv +│ panic +│ +- │ +1,200 M │ -  +│ +0 │ +2 │/)
    expect(text).toMatch(/│ xen +│ cannot enter +│ +- │ +- │/)
  })

  test('and beneath it what is wrong', () => {
    const beneath = text.slice(text.lastIndexOf('┘') + 1)
    expect(beneath.trim().split('\n')).toEqual([
      'hyperv:',
      '  Kernel panic - not syncing: <why> & "how" #1',
      '  first warning of its own: Kernel panic - not syncing: <why>',
      '  first unexpected error: 0.4  0  wrmsr HV_X64_MSR_SCONTROL(value=0x1)',
      '  last request: 0.5  0  wrmsr HV_X64_MSR_HYPERCALL(value=0x1)',
      '    vCPU 0: panic+0x1',
      '      ? start_kernel+0x2',
      'xen:',
      '  it has no PVH entry',
    ])
  })

  test('in colour only where it is wanted', () => {
    expect(text).not.toContain('\u001b')
    expect(tableText(report, true)).toContain('\u001b[31mpanic\u001b[39m')
  })
})

test('TAP', () => {
  const results = Parser.parse(tapText(report)).map(([kind, value]) => ({ kind, value }))
  const points = results.flatMap(({ kind, value }) => (kind === 'assert' ? [value as Record<string, unknown>] : []))
  expect(points.map(({ ok, name, skip }) => ({ ok, name, skip }))).toEqual([
    { ok: true, name: 'vmlinux on native', skip: false },
    { ok: true, name: 'vmlinux on kvm', skip: false },
    { ok: false, name: 'vmlinux on hyperv', skip: false },
    { ok: true, name: 'vmlinux on xen', skip: 'cannot enter: it has no PVH entry' },
  ])
  expect(points[2]).toMatchObject({ time: 4500, diag: { result: 'panic', userSpace: '-' } })
  expect(JSON.stringify(points[2]!['diag'])).toContain('<why> &')
  const [end] = results.filter(({ kind }) => kind === 'complete')
  expect(end!.value).toMatchObject({ ok: false, count: 4, pass: 3, fail: 1, skip: 1 })
})

/** Jenkins' junit.xsd, as far as it is used. */
const junitSchema = z.strictObject({
  '?xml': z.unknown(),
  testsuites: z.strictObject({
    '@name': z.string(),
    '@tests': z.string().regex(/^\d+$/),
    '@failures': z.string().regex(/^\d+$/),
    '@errors': z.string().regex(/^\d+$/),
    '@skipped': z.string().regex(/^\d+$/),
    '@time': z.string().regex(/^\d+\.\d+$/),
    testsuite: z.strictObject({
      '@name': z.string(),
      '@tests': z.literal('4'),
      '@failures': z.literal('1'),
      '@errors': z.literal('0'),
      '@skipped': z.literal('1'),
      '@time': z.string().regex(/^\d+\.\d+$/),
      testcase: z.array(
        z.strictObject({
          '@name': z.string(),
          '@classname': z.string(),
          '@time': z.string().regex(/^\d+\.\d+$/),
          failure: z.strictObject({ '@message': z.string(), '@type': z.string(), '#text': z.string() }).optional(),
          skipped: z.strictObject({ '@message': z.string() }).optional(),
          'system-out': z.string(),
        }),
      ),
    }),
  }),
})

test('JUnit XML', () => {
  const xml = junitXml(report)
  expect(XMLValidator.validate(xml)).toBe(true)
  const parsed: unknown = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    parseAttributeValue: false,
    parseTagValue: false,
  }).parse(xml)
  const { testcase } = junitSchema.parse(parsed).testsuites.testsuite
  expect(testcase.map((each) => each['@name'])).toEqual(['native', 'kvm', 'hyperv', 'xen'])
  expect(testcase[2]!.failure).toMatchObject({ '@message': 'Kernel panic - not syncing: <why> & "how" #1' })
  expect(testcase[2]!['system-out']).toBe('Kernel panic ??[0m]]>')
})

describe('the page', () => {
  const page = htmlPage(report)

  test('stands alone', () => {
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">/)
    expect(page).not.toMatch(/<(script|link|img|iframe)\b|url\(|https?:/)
  })

  test('has table, timelines and consoles, with the guest’s text as text', () => {
    expect(page).toContain('<td class="bad">panic</td>')
    expect(page).toContain('not syncing: &lt;why> &amp; &quot;how&quot; #1')
    expect(page.match(/class="requests"/g)).toHaveLength(2)
    expect(page).toContain('Linux version 6.1')
    expect(page).not.toContain('<why>')
    // Every link leads somewhere.
    for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) expect(page).toContain(`id="${target}"`)
  })
})

test('a boot’s phases follow its console', () => {
  const lines = [
    [1e8, 'Linux version 6.1'],
    [5e8, 'smpboot: CPU0: some processor'],
    [9e8, 'Run /init as init process'],
    [1.5e9, 'paravirt: user space'],
    [1.6e9, 'Linux version again'],
  ] as const
  const cell = cellOf('native', { console: lines.map(([t, text]) => ({ t, text })) })
  expect(phases(cell)).toEqual([
    { name: 'entry', from: 0, to: 1e8 },
    { name: 'processor and memory', from: 1e8, to: 5e8 },
    { name: 'processors', from: 5e8, to: 9e8 },
    { name: 'initramfs', from: 9e8, to: 1.5e9 },
    { name: 'user space', from: 1.5e9, to: 2e9 },
  ])
})
