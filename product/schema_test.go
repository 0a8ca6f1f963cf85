package product

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

func compile(t *testing.T, text string) *Schema {
	t.Helper()
	s, err := CompileSchema([]byte(text))
	require.NoError(t, err)
	return s
}

func TestSchemaPointers(t *testing.T) {
	for _, tt := range []struct {
		name, schema, value string
		want                []string // nil: valid
	}{
		{"root", `{"type":"object"}`, `[]`, []string{"/in"}},
		{"property", `{"properties":{"a":{"type":"string"}}}`, `{"a":1}`, []string{"/in/a"}},
		{"escaped", `{"properties":{"a/b~c":{"type":"string"}}}`, `{"a/b~c":1}`, []string{"/in/a~1b~0c"}},
		{"escape of an escape", `{"properties":{"~1":{"type":"string"}}}`, `{"~1":1}`, []string{"/in/~01"}},
		{"item", `{"items":{"items":{"type":"string"}}}`, `[[],["a",1]]`, []string{"/in/1/1"}},
		{"missing", `{"required":["a"]}`, `{}`, []string{"/in"}},
		{"several", `{"properties":{"a":{"type":"string"},"b":{"minLength":3}},"required":["c"]}`, `{"a":1,"b":"x"}`,
			[]string{"/in", "/in/a", "/in/b"}},
		{"draft 2020-12 by default", `{"prefixItems":[{"type":"string"}]}`, `[1]`, []string{"/in/0"}},
		{"the draft's items are no list", `{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, []string{"/in"}},
		{"inner reference", `{"$ref":"#/$defs/s","$defs":{"s":{"type":"string"}}}`, `1`, []string{"/in"}},
		{"recursive reference", `{"properties":{"next":{"$ref":"#"}},"additionalProperties":false}`, `{"next":{"next":{"no":1}}}`, []string{"/in/next/next"}},
		{"false", `false`, `1`, []string{"/in"}},
		{"true", `true`, `1`, nil},
		{"valid", `{"type":"object"}`, `{"a":1}`, nil},
		{"integers have no size", `{"type":"integer"}`, `123456789012345678901234567890`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := compile(t, tt.schema).Validate("/in", []byte(tt.value))
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.Equal(t, "input_invalid", fault.From(err).Code)
			require.ElementsMatch(t, tt.want, pointersOf(err))
		})
	}
}

func TestEmptySchemaAcceptsEveryJSON(t *testing.T) {
	for _, text := range []string{"", " \n\t"} {
		s := compile(t, text)
		for _, value := range []string{`null`, `0`, `"x"`, `[]`, `{"a":{}}`, ` true `, `1e9999999`} {
			require.NoError(t, s.Validate("/in", []byte(value)), value)
		}
		for _, value := range []string{``, `{`, `nil`, `{} {}`, `{"a":1,}`} {
			err := s.Validate("/in", []byte(value))
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", value)
			require.Equal(t, []string{"/in"}, pointersOf(err), "%q", value)
		}
	}
}

func TestCompileSchemaRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":              `{`,
		"two values":           `{} {}`,
		"a number":             `1`,
		"null":                 `null`,
		"an unknown type":      `{"type":"text"}`,
		"a bad pattern":        `{"pattern":"("}`,
		"a file":               `{"$ref":"file:///etc/passwd"}`,
		"a relative file":      `{"$ref":"other.json"}`,
		"an address":           `{"$ref":"https://example.com/schema.json"}`,
		"an address, deep":     `{"properties":{"a":{"items":{"$ref":"http://example.com/s"}}}}`,
		"a dynamic address":    `{"$dynamicRef":"http://example.com/s#x"}`,
		"a base with address":  `{"$id":"http://example.com/a","$ref":"b"}`,
		"a foreign metaschema": `{"$schema":"http://example.com/meta"}`,
		"a missing reference":  `{"$ref":"#/$defs/none"}`,
		"a number too large":   `{"minimum":1e999999999}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := CompileSchema([]byte(text))
			require.Nil(t, s)
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.NotContains(t, fault.From(err).Message, "passwd")
		})
	}
}

// TestNoFileIsRead: not even one that holds a schema.
func TestNoFileIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"type":"string"}`), 0o600))
	_, err := CompileSchema([]byte(`{"$ref":"file://` + file + `"}`))
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	require.NotContains(t, fault.From(err).Message, file)
}

// TestValuesAreNeverRepeated: a wrong value may be a secret in the wrong field.
func TestValuesAreNeverRepeated(t *testing.T) {
	const text, digits = `"sk-live-5353535353"`, `5353535353.5`
	draft7 := func(rest string) string { return `{"$schema":"http://json-schema.org/draft-07/schema#",` + rest + `}` }
	for _, tt := range []struct{ schema, value string }{
		{`{"pattern":"^[a-z]+$"}`, text},
		{`{"enum":["a","b"]}`, text},
		{`{"const":"a"}`, text},
		{`{"type":"integer"}`, text},
		{`{"type":"integer"}`, digits},
		{`{"maxLength":3}`, text},
		{`{"minLength":300}`, text},
		{`{"not":{}}`, text},
		{`false`, text},
		{`{"oneOf":[{"type":"integer"},{"const":"b"}]}`, text},
		{`{"minimum":9999999999}`, digits},
		{`{"maximum":1}`, digits},
		{`{"exclusiveMinimum":9999999999}`, digits},
		{`{"exclusiveMaximum":1}`, digits},
		{`{"multipleOf":7}`, digits},
		{`{"enum":[1,2]}`, digits},
		{`{"const":1}`, digits},
		{`{"uniqueItems":true}`, `[` + text + `,` + text + `]`},
		{`{"contains":{"type":"integer"}}`, `[` + text + `]`},
		{`{"additionalProperties":false}`, `{"name":` + text + `}`},
		{draft7(`"format":"ipv4"`), text},
		{draft7(`"format":"date-time"`), text},
		{draft7(`"format":"uri"`), `"% sk-live-5353535353"`},
		{draft7(`"format":"regex"`), `"(sk-live-5353535353"`},
	} {
		err := compile(t, tt.schema).Validate("/in", []byte(tt.value))
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%s: %v", tt.schema, err)
		require.NotEmpty(t, fault.From(err).Fields, tt.schema)
		require.NotContains(t, err.Error(), "5353", tt.schema)
		for _, f := range fault.From(err).Fields {
			require.NotContains(t, f.Message, "5353", tt.schema)
			require.NotEmpty(t, f.Message, tt.schema)
		}
	}
}

func TestMessagesOfNumbers(t *testing.T) {
	err := compile(t, `{"minimum":0.5,"multipleOf":3}`).Validate("/in", []byte(`-1`))
	var messages []string
	for _, f := range fault.From(err).Fields {
		messages = append(messages, f.Message)
	}
	require.ElementsMatch(t, []string{"must be at least 0.5", "must be a multiple of 3"}, messages)
}

func TestFieldsAreBounded(t *testing.T) {
	wrong := []byte(`[` + strings.Repeat(`1,`, 500) + `1]`)
	err := compile(t, `{"items":{"type":"string"}}`).Validate("/in", wrong)
	require.Len(t, fault.From(err).Fields, maxFieldErrors)

	for name, tt := range map[string]struct{ schema, value string }{
		"pattern": {`{"pattern":"` + strings.Repeat("é", 5000) + `"}`, `"x"`},
		"enum":    {`{"enum":["` + strings.Repeat("é", 5000) + `"]}`, `"x"`},
		"names":   {`{"additionalProperties":false}`, `{"` + strings.Repeat("é", 5000) + `":1}`},
	} {
		err := compile(t, tt.schema).Validate("/in", []byte(tt.value))
		require.Len(t, fault.From(err).Fields, 1, name)
		message := fault.From(err).Fields[0].Message
		require.LessOrEqual(t, len(message), maxFieldMessage, name)
		require.Equal(t, strings.ToValidUTF8(message, "?"), message, "%s: no character is cut", name)
	}
}

// TestHugeNumbers: a few bytes that would cost a million digits, or panic.
func TestHugeNumbers(t *testing.T) {
	for _, schema := range []string{`{"type":"integer"}`, `{"minimum":1}`, `{"multipleOf":2}`, `{"const":1}`, `{"uniqueItems":true}`} {
		s := compile(t, schema)
		for _, n := range []string{`1e9999999`, `1E+9999999`, `-1e-9999999`, `1e99999999999999999999`, `1e1001`, strings.Repeat("7", maxNumberLength+1)} {
			err := s.Validate("/in", []byte(`[[],{"a/b":`+n+`}]`))
			require.Equal(t, []string{"/in/1/a~1b"}, pointersOf(err), "%s %s: %v", schema, n, err)
		}
	}
	require.NoError(t, compile(t, `{"minimum":1}`).Validate("", []byte(`1e1000`)), "no float64 is refused")
}

// TestEndlessReference: such a schema compiles and accepts nothing.
func TestEndlessReference(t *testing.T) {
	for _, schema := range []string{`{"$ref":"#"}`, `{"allOf":[{"$ref":"#"}]}`, `{"$dynamicRef":"#a","$dynamicAnchor":"a"}`} {
		err := compile(t, schema).Validate("/in", []byte(`1`))
		require.Equal(t, []string{"/in"}, pointersOf(err), schema)
		require.NotContains(t, fault.From(err).Fields[0].Message, "file:")
	}
}

// TestLargeInput: the largest input that is accepted is checked to its end.
func TestLargeInput(t *testing.T) {
	items := slices.Repeat([]string{`{"name":"x","n":1}`}, MaxInputBytes/20)
	s := compile(t, `{"items":{"type":"object","properties":{"name":{"type":"string","maxLength":3},"n":{"minimum":1}},"required":["n"]}}`)
	require.NoError(t, s.Validate("", []byte(`[`+strings.Join(items, ",")+`]`)))
	last := len(items) - 1
	items[last] = `{"name":"x","n":0}`
	require.Equal(t, []string{fmt.Sprintf("/%d/n", last)},
		pointersOf(s.Validate("", []byte(`[`+strings.Join(items, ",")+`]`))))
}

func FuzzSchema(f *testing.F) {
	for _, seed := range [][2]string{
		{``, `{}`}, {`true`, `1`}, {`{"type":"integer","minimum":1}`, `1e9999999`},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"pattern":"("}}}`, `"x"`},
		{`{"properties":{"a/~":{"enum":[1,"2",null,{}]}},"additionalProperties":false}`, `{"a/~":[],"b":1}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","format":"date"}`, `"2020-13-01"`},
		{`{"unevaluatedProperties":false,"if":{"required":["a"]},"then":{"$dynamicRef":"#x"},"$dynamicAnchor":"x"}`, `{"a":{"a":{}}}`},
		{`{"multipleOf":0.1,"uniqueItems":true,"contains":{"const":1e2}}`, `[1,1.0,100]`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, text, value []byte) {
		s, err := CompileSchema(text)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			return
		}
		err = s.Validate("/in", value)
		if err == nil {
			require.True(t, json.Valid(value))
			return
		}
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
		fields := fault.From(err).Fields
		require.True(t, 0 < len(fields) && len(fields) <= maxFieldErrors)
		for _, field := range fields {
			require.True(t, strings.HasPrefix(field.Pointer, "/in"))
			require.LessOrEqual(t, len(field.Message), maxFieldMessage)
		}
	})
}
