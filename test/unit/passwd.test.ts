import { expect, test } from 'vitest'
import { resolveUser } from '../../src/model/user.ts'

const passwd = `root:x:0:0:root:/root:/bin/sh
web:x:33:33:www:/var/www:/usr/sbin/nologin
# a comment:x:1:1
1000:x:2000:2000:a name of digits:/home/thousand:/bin/sh
broken
negative:x:-1:5:::
huge:x:99999999999:5:::
`
const group = `root:x:0:
web:x:33:
disk:x:6:root,web
audio:x:29:web , other
42:x:4242:
`

test.each([
  ['', { uid: 0, gid: 0, additionalGids: [0, 6], home: '/root' }],
  ['web', { uid: 33, gid: 33, additionalGids: [6, 29, 33], home: '/var/www' }],
  ['33', { uid: 33, gid: 33, additionalGids: [6, 29, 33], home: '/var/www' }],
  ['web:disk', { uid: 33, gid: 6, additionalGids: [6], home: '/var/www' }],
  ['web:0', { uid: 33, gid: 0, additionalGids: [0], home: '/var/www' }],
  [':disk', { uid: 0, gid: 6, additionalGids: [6], home: '/root' }],
  ['777', { uid: 777, gid: 0, additionalGids: [0], home: '/' }],
  ['777:888', { uid: 777, gid: 888, additionalGids: [888], home: '/' }],
  ['1000', { uid: 2000, gid: 2000, additionalGids: [2000], home: '/home/thousand' }],
  ['0:42', { uid: 0, gid: 4242, additionalGids: [4242], home: '/root' }],
  ['4294967294', { uid: 4_294_967_294, gid: 0, additionalGids: [0], home: '/' }],
])('resolveUser() resolves "%s"', (spec, expected) => {
  expect(resolveUser(spec, passwd, group)).toEqual(expected)
})

test.each([
  ['nobody', 'unable to find user "nobody": no matching entries in the image\'s passwd file'],
  ['web:nogroup', 'unable to find group "nogroup" of "web:nogroup": no matching entries in the image\'s group file'],
  ['-1', 'unable to find user "-1": ids go from 0 to 4294967294'],
  ['4294967295', 'unable to find user "4294967295": ids go from 0 to 4294967294'],
  ['broken', 'unable to find user "broken": no matching entries in the image\'s passwd file'],
  ['negative', 'unable to find user "negative": no matching entries in the image\'s passwd file'],
  ['huge', 'unable to find user "huge": no matching entries in the image\'s passwd file'],
])('resolveUser() refuses "%s"', (spec, message) => {
  expect(() => resolveUser(spec, passwd, group)).toThrow(message)
})

test('resolveUser() adds --group-add by name and number, and refuses an unknown name', () => {
  expect(resolveUser('777', passwd, group, ['audio', '5', 'audio']).additionalGids).toEqual([0, 5, 29])
  expect(() => resolveUser('777', passwd, group, ['nope'])).toThrow('unable to find group "nope"')
})

test('resolveUser() works without account files', () => {
  expect(resolveUser('', '', '')).toEqual({ uid: 0, gid: 0, additionalGids: [0], home: '/' })
})

test('resolveUser() survives a hostile file in time', () => {
  const hostile = `${'a'.repeat(4_000_000)}\n${':'.repeat(2_000_000)}\n${'x:x:1:1::/:\n'.repeat(100_000)}web:x:33:33::/w:\n`
  const started = performance.now()

  expect(resolveUser('web', hostile, hostile).uid).toBe(33)
  expect(performance.now() - started).toBeLessThan(2000)
})
