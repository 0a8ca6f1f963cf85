package product

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

// levels is a schema of n definitions, each made from a reference to the next.
func levels(n int, level func(next string) string, last string) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":%s,`, i, level(fmt.Sprintf(`{"$ref":"#/$defs/d%d"}`, i+1)))
	}
	fmt.Fprintf(&b, `"d%d":%s}}`, n, last)
	return b.String()
}

func twice(keyword string) func(string) string {
	return func(next string) string { return fmt.Sprintf(`{"%s":[%s,%s]}`, keyword, next, next) }
}

func numbers(from, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(from+i))
	}
	return strings.Join(list, ",")
}

// TestExpensiveChecks: small schemas that would take hours, or all memory. Nothing
// but the count ends these checks.
func TestExpensiveChecks(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60)
	for name, tt := range map[string]struct{ schema, value string }{
		"allOf": {levels(60, twice("allOf"), `{"type":"integer"}`), `1`},
		"an old draft": {`{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/d","definitions":{
			"d":{"properties":{"a":{"allOf":[{"$ref":"#/definitions/d"},{"$ref":"#/definitions/d"}]}}}}}`, deep},
		"properties":        {levels(60, func(next string) string { return `{"properties":{"a":{"allOf":[` + next + `,` + next + `]}}}` }, `{}`), deep},
		"its own property":  {`{"allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`, deep},
		"that is left soon": {`{"not":{"type":"object","patternProperties":{"a":{"$ref":"#/not"},"^a":{"$ref":"#/not"}}}}`, deep},
		"dynamicRef":        {`{"$dynamicAnchor":"d","properties":{"a":{"allOf":[{"$dynamicRef":"#d"},{"$dynamicRef":"#d"}]}}}`, deep},
		"booleans":          {levels(60, twice("allOf"), `{"items":true}`), `[` + numbers(0, 10_000) + `]`},
		"required":          {`{"items":{"required":["` + strings.ReplaceAll(numbers(0, 5000), ",", `","`) + `"]}}`, `[` + strings.Repeat(`{},`, 5000) + `{}]`},
		"unique":            {`{"uniqueItems":true}`, "[[" + strings.ReplaceAll(numbers(0, 9000), ",", "],[") + "]]"},
		"a pattern":         {`{"pattern":"` + strings.Repeat(".{0,1000}", 9) + `b$"}`, `"` + strings.Repeat("a", 100_000) + `"`},
		"depth":             {`{"items":{"$ref":"#"}}`, strings.Repeat("[", 9000) + strings.Repeat("]", 9000)},
	} {
		t.Run(name, func(t *testing.T) {
			s := compile(t, tt.schema)
			err := s.Validate("/in", []byte(tt.value))
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.Equal(t, "input_invalid", fault.From(err).Code)
			require.Equal(t, []fault.Field{{Pointer: "/in", Message: "takes too much work to check"}}, fault.From(err).Fields)
			require.Negative(t, s.effort.left)
		})
	}
}

// TestEffortOfOrdinarySchemas: what people write is far from the bound, and costs
// as much however often it is checked.
func TestEffortOfOrdinarySchemas(t *testing.T) {
	s := compile(t, `{"type":"object","required":["name"],"properties":{"name":{"type":"string","pattern":"^[a-z]+$"},
		"tags":{"type":"array","uniqueItems":true,"items":{"$ref":"#/$defs/tag"}}},"$defs":{"tag":{"enum":["a","b","c"]}}}`)
	for range 3 {
		require.NoError(t, s.Validate("", []byte(`{"name":"ada","tags":["a","b"]}`)))
		require.Less(t, maxEffort-s.effort.left, int64(200))
	}
	floats := `[0.12345678` + strings.Repeat(`,-0.12345678`, 70_000) + `]`
	s = compile(t, `{"items":{"$ref":"#/$defs/n"},"$defs":{"n":{"anyOf":[{"type":"string"},{"type":"number","minimum":-1}]}}}`)
	require.NoError(t, s.Validate("", []byte(floats)))
}

// TestWeight: keywords that take long without entering another schema.
func TestWeight(t *testing.T) {
	for _, tt := range []struct {
		name, schema, value string
		least               int64
	}{
		{"numbers", `{"enum":[` + numbers(0, 1000) + `]}`, `1`, 5000},
		{"numbers within", `{"const":[` + numbers(0, 1000) + `]}`, `[1]`, 5000},
		{"texts", `{"enum":["` + strings.ReplaceAll(numbers(0, 1600), ",", `","`) + `"]}`, `"x"`, 100},
		{"names", `{"required":["` + strings.ReplaceAll(numbers(0, 1000), ",", `","`) + `"]}`, `{}`, 4000},
		{"dependent names", `{"dependentRequired":{"a":["` + strings.ReplaceAll(numbers(0, 1000), ",", `","`) + `"]}}`, `{}`, 4000},
		{"items", `{"items":true}`, `[` + numbers(0, 1000) + `]`, 2000},
		{"booleans for each item", `{"allOf":[true,true,true],"anyOf":[false]}`, `[` + numbers(0, 1000) + `]`, 6000},
		{"a list of lists", `{"uniqueItems":true}`, `[[` + strings.ReplaceAll(numbers(0, 1000), ",", "],[") + `]]`, 1000 * 1000 / 16},
		{"a large number", `{"multipleOf":3}`, `1e1000`, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := compile(t, tt.schema)
			_ = s.Validate("", []byte(tt.value))
			require.GreaterOrEqual(t, maxEffort-s.effort.left, tt.least)
		})
	}
}

func TestExpensiveSchemas(t *testing.T) {
	const code = "schema_too_expensive"
	nested := func(n int) string { return strings.Repeat(`{"not":`, n) + "{}" + strings.Repeat("}", n) }
	for _, tt := range []struct{ name, schema, code string }{
		{"deep", nested(maxSchemaDepth), ""},
		{"too deep", nested(maxSchemaDepth + 1), code},
		{"lists, too deep", `{"default":` + strings.Repeat("[", maxSchemaDepth+1) + strings.Repeat("]", maxSchemaDepth+1) + `}`, code},
		{"many", `{"allOf":[true` + strings.Repeat(",{}", maxSubschemas-2) + `]}`, ""},
		{"too many", `{"allOf":[true` + strings.Repeat(",{}", maxSubschemas-1) + `]}`, code},
		{"too many booleans", `{"allOf":[true` + strings.Repeat(",true", maxSubschemas-1) + `]}`, code},
		{"a long pattern", `{"pattern":"^[a-z]{1,1000}$"}`, ""},
		{"a pattern too long", `{"pattern":"` + strings.Repeat(".{0,1000}", 100) + `"}`, code},
		{"names too long", `{"patternProperties":{"` + strings.Repeat("(ab){1000}", 100) + `":true}}`, code},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := CompileSchema([]byte(tt.schema))
			if tt.code == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.Equal(t, tt.code, fault.From(err).Code)
		})
	}
}

// TestGatesChangeNothing compares with the library as it is.
func TestGatesChangeNothing(t *testing.T) {
	for _, schema := range []string{
		`{"type":"object","properties":{"a":{"type":"string"},"b":{"minimum":3}},"required":["c"]}`,
		`{"properties":{"a":true},"unevaluatedProperties":false,"allOf":[{"properties":{"b":{"type":"integer"}}}]}`,
		`{"if":{"required":["a"]},"then":{"unevaluatedProperties":{"type":"string"}},"else":{"maxProperties":1}}`,
		`{"prefixItems":[{"type":"string"}],"contains":{"const":1},"unevaluatedItems":false}`,
		`{"items":{"oneOf":[{"type":"integer"},{"minimum":1}]},"uniqueItems":true}`,
		`{"$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"}},"additionalProperties":{"type":"array"}}`,
		`{"$ref":"other","$defs":{"o":{"$id":"other","$defs":{"x":{"$dynamicAnchor":"x","type":"array"}},"anyOf":[{"$dynamicRef":"#x"},{"required":["b"]}]},
			"x":{"$dynamicAnchor":"x","type":"string"}}}`,
		`{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"properties":{"a":{"$recursiveRef":"#"}},"items":[{"type":"string"}],"additionalItems":false}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":{"$ref":"#/definitions/s"}},"dependencies":{"b":["a"],"a":{"minProperties":3}},"definitions":{"s":{"type":"string"}}}`,
		`{"propertyNames":{"maxLength":0},"dependentRequired":{"a":["d"]},"dependentSchemas":{"b":{"required":["e"]}}}`,
		`{"not":{"allOf":[{"type":"object"},{"required":["a"]}]},"enum":[[],{"a":1},"x"]}`,
		`{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"}]}}}`,
	} {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
		require.NoError(t, err)
		plain, err := compileDocument(document, &effort{left: maxEffort}, nil)
		require.NoError(t, err)
		gated := compile(t, schema)
		for _, value := range []string{
			`1`, `"x"`, `null`, `[]`, `["x"]`, `["x",1,1,2]`, `[1,"x"]`, `{}`, `{"a":1}`, `{"a":"x","b":1}`,
			`{"b":"y"}`, `{"a":{"a":{"a":1,"b":[]}},"b":[]}`, `{"a":"x","b":5,"c":1,"d":"z"}`,
		} {
			instance, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
			require.NoError(t, err)
			var want []fault.Field
			var invalid *jsonschema.ValidationError
			if errors.As(plain.Validate(instance), &invalid) {
				want = leaves("", invalid, nil)
			}
			var got []fault.Field
			if err := gated.Validate("", []byte(value)); err != nil {
				got = fault.From(err).Fields
			}
			require.ElementsMatch(t, want, got, "%s of %s", schema, value)
		}
	}
}

// TestChecksAtOnce: one check does not use up the effort of another one.
func TestChecksAtOnce(t *testing.T) {
	s := compile(t, `{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}},"type":"object"}`)
	deep := []byte(strings.Repeat(`{"a":`, 60) + "{}" + strings.Repeat("}", 60))
	var group sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		group.Go(func() {
			value := []byte(`{"a":{}}`)
			if i == 0 {
				value = deep
			}
			errs[i] = s.Validate("", value)
		})
	}
	group.Wait()
	require.Error(t, errs[0])
	require.Equal(t, slices.Repeat([]error{nil}, 5), errs[1:])
}

func TestBoundPassesOtherPanicsOn(t *testing.T) {
	require.PanicsWithValue(t, "a bug", func() { _ = new(effort).bound(func() error { panic("a bug") }) })
	require.NoError(t, new(effort).bound(func() error { return nil }))
}
