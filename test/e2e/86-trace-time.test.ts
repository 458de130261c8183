// --trace-time says where the milliseconds went; the same word behind the image is the container's.

import { expect, test } from 'vitest'
import { inWorld } from '../helpers/world.ts'

test(
  'run --trace-time prints each step with its time, and nothing where the word is meant for the container',
  inWorld(async world => {
    const traced = await world.tsrun(['run', '--rm', '--trace-time', 'busybox', 'echo', 'hi'])
    const other = await world.tsrun(['run', '--rm', 'busybox', 'echo', '--trace-time'])

    expect(traced).toMatchObject({ stdout: 'hi\n', code: 0 })
    const steps = traced.stderr.split('\n').filter(line => /^ +\d+\.\d\d +\+\d+\.\d\d +\+\d+\.\d\d {2}\w/.test(line))
    const names = steps.map(line => line.replace(/^[ \d.+]+ {2}/, ''))
    expect(names).toEqual(
      expect.arrayContaining(['verb loaded', 'add veth', 'tsrun-init ready', 'container ended', 'given back']),
    )
    const times = steps.map(line => Number.parseFloat(line))
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(other).toMatchObject({ stdout: '--trace-time\n', stderr: '', code: 0 })
  }),
)
