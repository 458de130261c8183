import { describe, expect, test } from 'vitest'
import { parseTemplate } from '../../src/cli/go-template.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

const data = {
  Name: 'web',
  Id: '0123456789abcdef',
  A: [
    { B: 1, C: 'x' },
    { B: 2, C: 'y' },
  ],
  L: { b: '2', a: '1' },
  N: null,
  F: 1.5,
  I: 42,
  T: true,
  Z: false,
  E: [],
  M: {},
  S: '',
  U: 'häß ü€',
  Q: 'a<b>&"c\'\n',
  W: ['a', 'b'],
  Big: 1e21,
}

const render = (template: string, value: unknown = data) => parseTemplate(template)(value)

/** What `docker context inspect --format` (28.2.2, Go 1.24) prints for the same template over the same data. */
const printedByDocker: readonly (readonly [template: string, text: string])[] = [
  ['plain text', 'plain text'],
  ['{{.Name}}', 'web'],
  ['{{ .Name }}', 'web'],
  ['a {{- .Name -}} b', 'awebb'],
  ['a   {{- /* c */ -}}   b', 'ab'],
  ['{{/* comment */}}x', 'x'],
  ['{{- .Name}} {{.Id -}}', 'web 0123456789abcdef'],
  ['{{-3}}', '-3'],
  ['{{- 3}}', '3'],
  ['x{{"a"  -}}  y', 'xay'],
  ['{{.A}}', '[map[B:1 C:x] map[B:2 C:y]]'],
  ['{{.L}}', 'map[a:1 b:2]'],
  [
    '{{.}}',
    'map[A:[map[B:1 C:x] map[B:2 C:y]] Big:1e+21 E:[] F:1.5 I:42 Id:0123456789abcdef L:map[a:1 b:2] M:map[] N:<nil> Name:web Q:a<b>&"c\'\n S: T:true U:häß ü€ W:[a b] Z:false]',
  ],
  ['{{.N}}', '<no value>'],
  ['{{.Missing}}', '<no value>'],
  ['{{.Missing.More}}', '<no value>'],
  ['{{.T}} {{.Z}} {{.E}} {{.M}} {{.S}}|', 'true false [] map[] |'],
  ['{{(index .A 0).B}}', '1'],
  ['{{(index .A 1).C}}', 'y'],
  ['{{index .A 0 "C"}}', 'x'],
  ['{{index .L "a"}}', '1'],
  ['{{index .Name 0}}', '119'],
  ['{{index .A}}', '[map[B:1 C:x] map[B:2 C:y]]'],
  ['{{slice .Id 0 4}}', '0123'],
  ['{{slice .Id 4}}', '456789abcdef'],
  ['{{slice .W 1}}', '[b]'],
  ['{{slice .W 0 1}}', '[a]'],
  ['{{slice .U 0 1}}', 'h'],
  ['{{len .A}} {{len .L}} {{len .Id}} {{len .U}} {{len .E}}', '2 2 16 11 0'],
  ['{{range .A}}{{.B}}{{.C}};{{end}}', '1x;2y;'],
  ['{{range .E}}x{{else}}empty{{end}}', 'empty'],
  ['{{range .N}}x{{else}}empty{{end}}', 'empty'],
  ['{{range .Missing}}x{{else}}empty{{end}}', 'empty'],
  ['{{range $i, $v := .W}}{{$i}}={{$v}},{{end}}', '0=a,1=b,'],
  ['{{range $k, $v := .L}}{{$k}}={{$v}},{{end}}', 'a=1,b=2,'],
  ['{{range $v := .W}}{{$v}},{{end}}', 'a,b,'],
  ['{{range .L}}{{.}},{{end}}', '1,2,'],
  ['{{range 3}}{{.}}{{end}}', '012'],
  ['{{range $i := 3}}{{$i}}{{end}}', '012'],
  ['{{range .A}}{{if eq .C "y"}}{{break}}{{end}}{{.B}}{{end}}', '1'],
  ['{{range .A}}{{if eq .C "x"}}{{continue}}{{end}}{{.B}}{{end}}', '2'],
  ['{{if .T}}yes{{else}}no{{end}}', 'yes'],
  ['{{if .Z}}yes{{else if .T}}maybe{{else}}no{{end}}', 'maybe'],
  [
    '{{if .E}}y{{else}}n{{end}}{{if .M}}y{{else}}n{{end}}{{if .S}}y{{else}}n{{end}}{{if .N}}y{{else}}n{{end}}{{if 0}}y{{else}}n{{end}}{{if 0.0}}y{{else}}n{{end}}',
    'nnnnnn',
  ],
  ['{{with .L}}{{.a}}{{end}}', '1'],
  ['{{with .S}}x{{else}}none{{end}}', 'none'],
  ['{{with .S}}x{{else with .L}}{{.b}}{{end}}', '2'],
  ['{{with $x := .L}}{{$x.a}}{{.b}}{{end}}', '12'],
  ['{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}', '12'],
  ['{{$x := 1}}{{if true}}{{$x = 5}}{{end}}{{$x}}', '5'],
  ['{{$x := 1}}{{if true}}{{$x := 5}}{{$x}}{{end}}{{$x}}', '51'],
  ['{{$x := .A}}{{(index $x 0).B}}', '1'],
  ['{{.Name | printf "%s-%s" "a"}}', 'a-web'],
  ['{{.Name | len}}', '3'],
  ['{{.Name | upper | lower | title}}', 'Web'],
  ['{{print nil}}', '<nil>'],
  [
    "{{true}} {{false}} {{1}} {{1.5}} {{1e3}} {{0x1f}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{.5}} {{-2}} {{+2}} {{1e21}} {{1e-5}} {{'a'}} {{'\\n'}} {{'\\x41'}}",
    'true false 1 1.5 1000 31 3 15 15 1000 0.5 -2 2 1e+21 1e-05 97 10 65',
  ],
  ['{{"a\\tb\\n\\"\\\\\\x41\\u00e4\\101\\xc3\\xa4"}}', 'a\tb\n"\\AäAä'],
  ['{{`raw\\n"`}}', 'raw\\n"'],
  [
    '{{print "a" "b"}}|{{print 1 2}}|{{print "a" 1 2 "b"}}|{{print 1 nil}}|{{print true false}}',
    'ab|1 2|a1 2b|1 <nil>|true false',
  ],
  ['{{println "a" "b" 1}}|', 'a b 1\n|'],
  ['{{println}}|{{print}}|', '\n||'],
  ['{{print .N .Missing}}', '<nil> <nil>'],
  ['{{println .N .Missing .A .L}}', '<nil> <nil> [map[B:1 C:x] map[B:2 C:y]] map[a:1 b:2]\n'],
  ['{{and true 0 1}} {{and 1 2}} {{or 0 "" 3}} {{or 0 ""}}| {{not 1}} {{not 0}}', '0 2 3 | false true'],
  ['{{and false (index .A 9)}} {{or true (index .A 9)}}', 'false true'],
  ['{{1 | and 0}} {{1 | or 0}} {{0 | and 1}}', '0 1 0'],
  ['{{eq 1 1}} {{eq 1 2}} {{eq 1 2 1}} {{eq "a" "a"}} {{eq true true}} {{ne 1 2}}', 'true false true true true true'],
  ['{{eq .N nil}} {{eq .Missing nil}} {{eq .Name nil}} {{eq nil nil}}', 'true true false true'],
  ['{{eq .A nil}}', 'false'],
  ['{{eq .Missing "x"}}', 'false'],
  ['{{eq .Missing 1}} {{ne .Missing 1}} {{ne .N ""}}', 'false true true'],
  ['{{lt 1 2}} {{le 2 2}} {{gt 3 2}} {{ge 1 2}} {{lt "a" "b"}} {{lt 1.5 2.5}}', 'true true true false true true'],
  [
    '{{json .A}} {{json .Missing}} {{json .N}} {{json .Q}} {{json "x"}} {{json 1}} {{json .U}}',
    '[{"B":1,"C":"x"},{"B":2,"C":"y"}] null null "a<b>&\\"c\'\\n" "x" 1 "häß ü€"',
  ],
  ['{{join (split "a,b,c" ",") "-"}}', 'a-b-c'],
  ['{{split "a,b" ","}}', '[a b]'],
  ['{{split "abc" ""}}', '[a b c]'],
  ['{{lower "ABC"}} {{upper "abc"}} {{title "hello wORLD it\'s o-k a_b"}}', "abc ABC Hello WORLD It'S O-K A_b"],
  ['{{truncate .Id 5}} {{truncate .Name 10}}', '01234 web'],
  ['{{truncate .U 2}}', 'h�'],
  ['{{pad .Name 1 2}}|{{pad "" 1 2}}|', ' web  ||'],
  ['{{html .Q}}', 'a&lt;b&gt;&amp;&#34;c&#39;\n'],
  ['{{html "a" 1 2}}', 'a1 2'],
  ['{{html .N}} {{html nil}} {{html .L}}', '&lt;no value&gt; &lt;no value&gt; map[a:1 b:2]'],
  ['{{js .Q}} {{js .U}} {{js "\\x01="}}', 'a\\u003Cb\\u003E\\u0026\\"c\\\'\\u000A häß ü€ \\u0001\\u003D'],
  ['{{urlquery "a b&c=ä/~!*\'()"}} {{urlquery 1 2}}', 'a+b%26c%3D%C3%A4%2F~%21%2A%27%28%29 1+2'],
  ['{{printf "%s|%d|%v" "a" 1 "b"}}', 'a|1|b'],
  [
    '{{printf "%5s|%-5s|%05d|%+d|% d|%x|%X|%o|%b|%c|%q|%U" "ab" "ab" 42 42 42 255 255 8 5 65 65 65}}',
    "   ab|ab   |00042|+42| 42|ff|FF|10|101|A|'A'|U+0041",
  ],
  ['{{printf "%t %t" true false}}', 'true false'],
  [
    '{{printf "%.2f|%8.3f|%-8.1f|%08.2f|%e|%g|%G" 3.14159 3.14159 3.14159 3.14159 31415.9 31415.9 0.000001}}',
    '3.14|   3.142|3.1     |00003.14|3.141590e+04|31415.9|1E-06',
  ],
  [
    '{{printf "%g %g %g %v %v %v" 1e6 123456789.5 1e-7 1e20 123456789.5 1e21}}',
    '1e+06 1.234567895e+08 1e-07 1e+20 1.234567895e+08 1e+21',
  ],
  ['{{printf "%.3g %.3g %.10g" 1234.5 0.00012345 1.5}}', '1.23e+03 0.000123 1.5'],
  ['{{printf "%6.2f%%" 12.345}}', ' 12.35%'],
  ['{{printf "%q %q %+q %#q" "a\\"b" "ä\\n\\x01" "ä" "raw"}}', '"a\\"b" "ä\\n\\x01" "\\u00e4" `raw`'],
  ['{{printf "%x %X % x %#x" "hello" "hi" "abc" "abc"}}', '68656c6c6f 6869 61 62 63 0x616263'],
  ['{{printf "%d" "a"}}', '%!d(string=a)'],
  ['{{printf "%s" 1}}', '%!s(int=1)'],
  ['{{printf "%s" true}}', '%!s(bool=true)'],
  ['{{printf "%d" 1.5}}', '%!d(float64=1.5)'],
  ['{{printf "%s %v %d" .N .N .N}}', '%!s(<nil>) <nil> %!d(<nil>)'],
  ['{{printf "%s %d" "a"}}', 'a %!d(MISSING)'],
  ['{{printf "%s" "a" "b" 1}}', 'a%!(EXTRA string=b, int=1)'],
  ['{{printf "%"}}', '%!(NOVERB)'],
  ['{{printf "%!"}}', '%!!(MISSING)'],
  ['{{printf "%z" 1}}', '%!z(int=1)'],
  ['{{printf "%[2]s %[1]s" "a" "b"}}', 'b a'],
  ['{{printf "%[3]s" "a"}}', '%!s(BADINDEX)'],
  ['{{printf "%[x]s" "a"}}', '%!s(BADINDEX)'],
  ['{{printf "%*d|%-*d|" 5 42 5 42}}', '   42|42   |'],
  ['{{printf "%*d" "x" 42}}', '%!(BADWIDTH)42'],
  ['{{printf "%.*f" 2 3.14159}}', '3.14'],
  ['{{printf "%.3s|%.10s|%5.1s|" "abcdef" "abc" "xyz"}}', 'abc|abc|    x|'],
  ['{{printf "%v %s %d" .W .W .W}}', '[a b] [a b] [%!d(string=a) %!d(string=b)]'],
  ['{{printf "%q %v" .W .L}}', '["a" "b"] map[a:1 b:2]'],
  ['{{printf "%s" .L}}', 'map[a:1 b:2]'],
  ['{{printf "%5s|" .W}}', '[    a     b]|'],
  ['{{printf "%T %T %T %T" "a" 1 true .N}}', 'string int bool <nil>'],
  ['{{printf "%05s|%-05d|" "ab" 42}}', '000ab|42   |'],
  ['{{printf "%.0f %.0f %.1f" 2.5 3.5 0.25}}', '2 4 0.2'],
  ['{{printf "%x" -255}} {{printf "%#x %#o %#b %O" 255 8 5 8}}', '-ff 0xff 010 0b101 0o10'],
  ['{{printf "%5t|%-7t|" true false}}', ' true|false  |'],
  ['{{printf "%v" 1.0}} {{printf "%f" 1.0}}', '1 1.000000'],
  ['{{printf "%3c|%-3c|" 65 66}}', '  A|B  |'],
  ['{{printf "%5.3d|%.0d|" 7 0}}', '  007||'],
  ['{{printf "%6v|%-6v|" .N true}}', ' <nil>|true  |'],
  ['{{printf "%v %v" (index .A 0) .E}}', 'map[B:1 C:x] []'],
  ['{{printf "%#v %#v" "a" 1}}', '"a" 1'],
  ['{{printf "%s" "ü"}} {{printf "%4s|" "ü"}}', 'ü    ü|'],
  ['{{printf "%d %s"}}', '%!d(MISSING) %!s(MISSING)'],
  ['{{printf "%+.2e|%+.1f" 12345.678 1.25}}', '+1.23e+04|+1.2'],
  ['{{printf "% 05d|%+05d" 42 42}}', ' 0042|+0042'],
  ['{{(.A)}}', '[map[B:1 C:x] map[B:2 C:y]]'],
  ['{{(.L).a}}', '1'],
  ['{{((.L)).a}}', '1'],
  ['{{$x := (.L).a}}{{$x}}', '1'],
  ['{{print (len .A) (len .W)}}', '2 2'],
  ['{{.L.a}}', '1'],
  ['{{.L.constructor}} {{.__proto__}}', '<no value> <no value>'],
  ['{{- /* x */}}a', 'a'],
  ['{{.Name}}}}', 'web}}'],
  ['{{.Name}} {{ "}}" }}', 'web }}'],
  ['{{if (and .T (eq .Name "web"))}}ok{{end}}', 'ok'],
  ['{{if and .T (not .Z)}}ok{{end}}', 'ok'],
  ['{{with .A}}{{range .}}{{.B}}{{end}}{{end}}', '12'],
  ['{{range $i, $e := .A}}{{if $i}}, {{end}}{{$e.B}}{{end}}', '1, 2'],
  ['{{$s := ""}}{{range .W}}{{$s = print $s .}}{{end}}{{$s}}', 'ab'],
  ['{{$i := 0}}{{$v := 0}}{{range $i, $v = .W}}{{end}}{{$i}}{{$v}}', '1b'],
  ['{{println "x" | print "y"}}', 'yx\n'],
  ['{{.F}} {{.I}} {{.Big}}', '1.5 42 1e+21'],
  ['{{json .I}} {{json .F}} {{json .Big}}', '42 1.5 1e+21'],
  ['{{print 1.0 2}} {{print 0.1}} {{print 1e100}}', '1 2 0.1 1e+100'],
  ['{{index .W 1}}', 'b'],
  ['{{eq .Name "web" | not}}', 'false'],
  ['{{not (eq .Name "web")}}', 'false'],
  ['{{eq .I 42.0}} {{lt .F 2.0}}', 'true true'],
  ['{{len "ä"}}', '2'],
  ['{{.true}}', '<no value>'],
  ['{{if $x := .Name}}{{$x}}{{end}}', 'web'],
  ['{{if $x := .S}}{{else}}{{$x}}|{{end}}', '|'],
  ['{{html}}{{urlquery}}{{js}}|', '|'],
  ['{{"a"|len}}', '1'],
  ['{{$x:=1}}{{$x}}', '1'],
  ['{{slice .W 0 1 1}} {{slice .W}}', '[a] [a b]'],
  ['{{index "abc" 1}}', '98'],
  ['{{index .W 1 0}}', '98'],
  ['{{print .Name|len}}', '3'],
  ['{{(print .Name)|len}}', '3'],
  ['{{len .Name|print "x"}}', 'x3'],
  ['{{("a")}}', 'a'],
  ['{{(1)}}', '1'],
  ['{{1.}}', '1'],
  ['{{1.e2}}', '100'],
  ['{{.A_b}}', '<no value>'],
  ['{{.ä}}', '<no value>'],
  ['{{$x := 1 | print}}{{$x}}', '1'],
  ['{{($x := 3)}}{{$x}}', '33'],
]

test.each(printedByDocker)('template %j prints %j, as docker does', (template, text) => {
  expect(render(template)).toBe(text)
})

/** What docker refuses, at the latest when it meets the data. */
const refusedByDocker: readonly string[] = [
  '{{.N.More}}',
  '{{.Name.More}}',
  '{{.A.B}}',
  '{{index .A 5}}',
  '{{index .A -1}}',
  '{{index .A "x"}}',
  '{{index .Missing "x"}}',
  '{{index .L 1}}',
  '{{slice .Id 4 2}}',
  '{{slice .Id 0 99}}',
  '{{len .Missing}}',
  '{{len 3}}',
  '{{range .Name}}{{.}}{{end}}',
  '{{range .T}}{{.}}{{end}}',
  '{{break}}',
  '{{range .W}}a{{else}}{{break}}{{end}}',
  '{{if true}}{{$x := 5}}{{end}}{{$x}}',
  '{{$y}}',
  '{{$x = 3}}',
  '{{$x := $x}}',
  '{{$x, $y := .A}}',
  '{{"abc" | .Name}}',
  '{{1 | 2}}',
  '{{.Name .Id}}',
  '{{1 2}}',
  '{{nil}}',
  "{{'ab'}}",
  "{{''}}",
  '{{08}}',
  '{{1x}}',
  '{{1__0}}',
  '{{"\\q"}}',
  '{{"unclosed}}',
  '{{`unclosed}}',
  '{{"a" "b"}}',
  '{{print "a""b"}}',
  '{{and}}',
  '{{or}}',
  '{{not}}',
  '{{not 1 2}}',
  '{{eq 1}}',
  '{{eq}}',
  '{{eq 1 "1"}}',
  '{{ne 1 "1"}}',
  '{{eq .A .A}}',
  '{{eq .A .L}}',
  '{{lt true false}}',
  '{{lt 1 "a"}}',
  '{{lt .N 1}}',
  '{{lt .Missing 1}}',
  '{{gt .Missing 1}}',
  '{{json}}',
  '{{json 1 2}}',
  '{{join .Name ","}}',
  '{{split .Missing ","}}',
  '{{split 1 ","}}',
  '{{upper .Missing}}',
  '{{upper 1}}',
  '{{upper .N}}',
  '{{truncate .Id -1}}',
  '{{truncate 1 2}}',
  '{{pad .Name -1 2}}',
  '{{printf 1}}',
  '{{printf}}',
  '{{.Name}}{{end}}',
  '{{if .T}}x',
  '{{if}}x{{end}}',
  '{{range}}x{{end}}',
  '{{}}',
  '{{if .T}}a{{else}}b{{else}}c{{end}}',
  '{{end}}',
  '{{foo}}',
  '{{.Name',
  '{{.Foo-bar}}',
  '{{.Name }',
  '{{ (.Name }}',
  '{{ .Name) }}',
  '{{ () }}',
  '{{ | .Name}}',
  '{{.Name | | len}}',
  '{{..Name}}',
  '{{"a".B}}',
  '{{nil.B}}',
  '{{len.B}}',
  '{{print .Name.Foo}}',
  '{{/* x }}',
  '{{/* x */ }}',
  '{{ /* x */ }}',
  '{{range $i, $v = .W}}{{end}}',
  '{{template "x"}}',
  '{{define "x"}}a{{end}}',
  '{{break 1}}',
  '{{end 1}}',
  '{{range .E}}{{$q := 1}}{{else}}{{$q}}{{end}}',
  '{{slice .N}}',
  '{{slice "abc" 0 1 2}}',
  '{{0x}}',
  '{{_}}',
  '{{@}}',
  '{{.Name@}}',
]

test.each(refusedByDocker)('template %j is refused, as by docker', template => {
  expect(() => render(template)).toThrow(TsrunError)
})

test.each([
  // docker's labels are a map of strings, whose zero is the empty string.
  ['{{index .L "zz"}}|', '|'],
  ['{{index .M "zz"}}|', '|'],
  ['{{index (index .A 0) "zz"}}', '<no value>'],
  // nil stands for Go's nil lists and maps.
  ['{{len .N}}', '0'],
  ['{{join .N ","}}|', '|'],
  ['{{index .N "x"}}|', '|'],
  ['{{join .W ","}}', 'a,b'],
  ['{{join .A ","}}', 'map[B:1 C:x],map[B:2 C:y]'],
  // JSON does not tell 1 from 1.0.
  ['{{eq 1 1.0}}', 'true'],
  ['{{printf "%.1f %d" 3 3.0}}', '3.0 3'],
  ['{{index .Wide 0}}', '9223372036854775808'],
  // `--format` has already made a newline of \\n.
  ['{{join .W "\n"}}', 'a\nb'],
])('template %j prints %j', (template, text) => {
  expect(render(template, { ...data, Wide: [2 ** 63] })).toBe(text)
})

test('parseTemplate() parses once and renders many values', () => {
  const template = parseTemplate('{{$x := .A}}{{$x}}')

  expect([1, 2, 3].map(A => template({ A }))).toEqual(['1', '2', '3'])
})

test.each([
  ['{{.Name', /an action is not closed/, /}}/],
  ['{{if .T}}x', /\{\{if\}\} has no \{\{end\}\}/, /close it/],
  ['{{foo .Name}}', /there is no function "foo"/, /json/],
  ['{{.Config.my-label}}', /"-label"/, /index/],
  ['{{$x}}', /there is no variable \$x/, /makes one/],
  ['{{define "x"}}{{end}}', /not implemented/, /./],
])('parseTemplate(%j) says what is wrong and what helps', (template, reason, hint) => {
  const error = errorOf(() => parseTemplate(template))

  expect(error).toMatchObject({ kind: 'invalid', code: 'template', hint: expect.stringMatching(hint) })
  expect(error.message).toMatch(reason)
  expect(error.message.startsWith(`cannot use the template "${template}": `)).toBe(true)
})

test.each([
  ['{{.A.B}}', /there is no field \.B: it is a list/, /range/],
  ['{{.N.B}}', /it is nil/, /./],
  ['{{index .A 7}}', /index 7 is out of range: there are 2 items/, /./],
  ['{{upper .I}}', /upper wants a string, not int/, /print/],
  ['{{eq .I "42"}}', /int and string cannot be compared/, /print/],
])('a value that does not fit %j is reported with a hint', (template, reason, hint) => {
  const error = errorOf(() => render(template))

  expect(error).toMatchObject({ kind: 'invalid', code: 'template', hint: expect.stringMatching(hint) })
  expect(error.message).toMatch(reason)
})

describe('prototypes', () => {
  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'length', 'prototype'])(
    'cannot be reached as .%s',
    name => {
      expect(render(`{{.${name}}}`)).toBe('<no value>')
      expect(render(`{{.${name}.${name}}}`)).toBe('<no value>')
      expect(render(`{{index . "${name}"}}`)).toBe('<no value>')
      expect(() => render(`{{.Name.${name}}}`)).toThrow(TsrunError)
      expect(() => render(`{{.W.${name}}}`)).toThrow(TsrunError)
      expect(() => render(`{{${name}}}`)).toThrow(/there is no function/)
      expect(() => render(`{{$${name}}}`)).toThrow(/there is no variable/)
    },
  )

  test('an own field named __proto__ is a field like any other', () => {
    expect(render('{{.__proto__}} {{.}}', JSON.parse('{"__proto__":"own"}'))).toBe('own map[__proto__:own]')
  })
})

describe('a hostile template ends with an error in less than a second', () => {
  const value = {
    l: Array.from({ length: 1000 }, (_, index) => index),
    m: Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`key${index}`, 'text'])),
  }
  const doubled = '{{$x := "aaaaaaaa"}}{{range 100}}{{$x = print $x $x}}{{end}}'
  const loops = (body: string) => `{{range .l}}{{range $.l}}{{range $.l}}${body}{{end}}{{end}}{{end}}`

  test.each([
    ['loops in loops', loops('')],
    ['a loop over a huge number', '{{range 9007199254740991}}{{end}}'],
    ['a string that doubles', doubled],
    ['a large value printed often', loops('{{print $.m}}')],
    ['a large value that is only counted', loops('{{$x := len $.m}}')],
    ['a large value that is only tested', loops('{{if $.m}}{{end}}')],
    ['a missing key looked for often', loops('{{$x := index $.m "none"}}')],
    ['a large map sorted often', loops('{{range $.m}}{{break}}{{end}}')],
    ['wide columns', loops('{{printf "%1000000d" 1}}')],
    ['many wide columns', `{{printf "${'%999999d'.repeat(5000)}" ${'1 '.repeat(5000)}}}`],
    ['wide padding', loops('{{pad "x" 1000000 1000000}}')],
    ['nested parentheses', `{{${'('.repeat(50_000)}`],
    ['nested parentheses that are closed', `{{${'('.repeat(20_000)}1${')'.repeat(20_000)}}}`],
    ['nested blocks', '{{if .l}}'.repeat(10_000)],
    ['open brackets in a format', `{{printf "${'%[1'.repeat(30_000)}" 1}}{{end}}`],
    ['spaces without end', `{{${' '.repeat(90_000)}`],
    ['a template without end', 'x'.repeat(1_000_000)],
  ])('%s', (_, template) => {
    const started = performance.now()

    expect(() => render(template, value)).toThrow(TsrunError)

    expect(performance.now() - started).toBeLessThan(1000)
  })

  test('data that is nested too deep is refused', () => {
    const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`)

    for (const template of ['{{.}}', '{{print .}}', '{{json .}}', '{{printf "%d" .}}', '{{html .}}'])
      expect(() => render(template, deep)).toThrow(TsrunError)
  })
})

test('a long template is quoted only in part', () => {
  expect(errorOf(() => parseTemplate(`{{nothing}}${'x'.repeat(5000)}`)).message.length).toBeLessThan(400)
})

describe('fuzz', () => {
  const word = fc.constantFrom(
    ...[
      '{{',
      '}}',
      '{{-',
      '- ',
      ' -}}',
      ' ',
      '.',
      '$',
      '$x',
      ':=',
      '=',
      ',',
      '|',
      '(',
      ')',
      '"',
      '`',
      "'",
      '\\',
      '/*',
      '*/',
    ],
    ...[
      'if ',
      'else',
      'end',
      'range ',
      'with ',
      'break',
      'continue',
      'nil',
      'true',
      '1',
      '-1',
      '1e9',
      '0x',
      '.5',
      '%d',
      '%*[2]v',
    ],
    ...[
      '.Name',
      '.A',
      '.L',
      '.N',
      '.W',
      '.U',
      'index ',
      'slice ',
      'len ',
      'print ',
      'printf ',
      'json ',
      'join ',
      'split ',
      'eq ',
    ],
    ...[
      'html ',
      'js ',
      'urlquery ',
      'title ',
      'pad ',
      'truncate ',
      'and ',
      'or ',
      'not ',
      'lt ',
      '{{end}}',
      '{{else}}',
      'ä',
      '\ud800',
    ],
  )
  const template = fc.oneof(
    fc.array(word, { maxLength: 30 }).map(words => words.join('')),
    fc.array(word, { maxLength: 12 }).map(words => `{{${words.join('')}}}`),
    fc.string({ unit: 'binary', maxLength: 60 }),
  )

  test('random text never throws anything but TsrunError, and never hangs', () => {
    const check = (text: string, value: unknown) => {
      const started = performance.now()
      try {
        expect(typeof render(text, value)).toBe('string')
      } catch (error) {
        if (!(error instanceof TsrunError)) throw error
      }
      expect(performance.now() - started).toBeLessThan(2000)
    }

    fc.assert(
      fc.property(template, text => check(text, data)),
      { numRuns: 3000 },
    )
    fc.assert(fc.property(template, fc.jsonValue(), check), { numRuns: 500 })
  })

  test('text without braces is printed as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        fc.pre(!text.includes('{{'))
        expect(render(text)).toBe(text)
      }),
    )
  })

  test('a quoted string comes back from printf %q as what it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const quoted = render('{{printf "%q" .}}', text)
        expect(render(`{{${quoted}}}`)).toBe(text)
      }),
    )
  })
})

function errorOf(work: () => unknown): TsrunError {
  try {
    work()
  } catch (error) {
    if (error instanceof TsrunError) return error
    throw error
  }
  throw new Error('it did not throw')
}
