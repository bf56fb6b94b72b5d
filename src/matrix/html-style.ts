/** The page's style sheet. */
export const css = `
:root { color-scheme: light dark; --good: #1a7f37; --bad: #c11f2d; --skip: #777; --line: #8884 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .25em .6em; text-align: left; vertical-align: top; font-weight: normal }
thead th, .kernel { font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 } .skip { color: var(--skip) }
pre { overflow-x: auto; font: 12px/1.4 ui-monospace, monospace; border-left: 3px solid var(--line); padding-left: 1em }
figure { margin: 1em 0 } figcaption span { margin-right: 1.2em; white-space: nowrap }
svg text { font: 12px system-ui, sans-serif; fill: currentColor } svg .axis { opacity: .6; font-size: 10px }
.tick { stroke: var(--line) } .requests { fill: #6e7781 }
.phase0 { fill: #8c959f } .phase1 { fill: #54aeff } .phase2 { fill: #a475f9 } .phase3 { fill: #4ac26b }
.phase4 { fill: #d4a72c } .phase5 { fill: #fb8f44 }
`
