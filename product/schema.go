package product

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"agentmarket/fault"
)

// MaxInputBytes bounds the input of a run. It travels as one Kubernetes object,
// whose limit is 1 MiB; larger inputs come with the gateway.
const MaxInputBytes = 896 << 10

// maxFieldErrors bounds the list of wrong fields in one answer.
const maxFieldErrors = 20

// Schema is a compiled JSON Schema (draft 2020-12). The zero Schema accepts every
// JSON value. What it takes to compile one and to check a value is bounded; of
// several values one is checked at a time.
type Schema struct {
	compiled *jsonschema.Schema
	checking sync.Mutex
	effort   *effort // of the check that goes on
}

// noLoader refuses every external reference: a stranger's schema must not make
// the platform read files or addresses.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference %q: external references are not allowed", url)
}

// CompileSchema compiles the JSON text of a schema. An empty text gives the
// Schema that accepts everything; a text that is no schema is fault.Invalid, and
// one that takes too much work fault.Invalid with the code schema_too_expensive.
func CompileSchema(text []byte) (*Schema, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return &Schema{}, nil
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fault.New(fault.Invalid, "schema_invalid", "is not JSON")
	}
	if at, huge := hugeNumber(document, nil); huge {
		return nil, fault.Newf(fault.Invalid, "schema_invalid", "has a number at %q that is out of range", shorten(pointer(at)))
	}
	if left := maxSubschemas; tooLarge(document, maxSchemaDepth, &left) {
		return nil, fault.Newf(fault.Invalid, "schema_too_expensive",
			"nests deeper than %d levels or has more than %d subschemas", maxSchemaDepth, maxSubschemas)
	}
	s := &Schema{effort: &effort{}}
	g := gates{effort: s.effort}
	err = s.effort.bound(func() (err error) {
		// First as the standard says. With gates the library checks less of
		// the schema itself.
		if _, err = compileDocument(document, s.effort, nil); err == nil {
			s.compiled, err = compileDocument(document, s.effort, g.on)
		}
		return err
	})
	switch {
	case errors.Is(err, errTooExpensive):
		return nil, fault.New(fault.Invalid, "schema_too_expensive", "has regular expressions that are too large")
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "is not a valid JSON Schema (draft 2020-12, no external references)")
	}
	g.close()
	return s, nil
}

// compileDocument compiles a schema with a compiler that is configured.
func compileDocument(document any, work *effort, configure func(*jsonschema.Compiler)) (*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(work.regexp)
	if configure != nil {
		configure(compiler)
	}
	// An absolute name: the library completes others with the working directory.
	const name = "https://schema.invalid/schema.json"
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
}

// Validate checks one JSON value. What is wrong comes back as fault.Invalid
// with one field per wrong place, each pointer under the given prefix.
func (s *Schema) Validate(prefix string, value []byte) error {
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return fault.New(fault.Invalid, "input_invalid", "the value is not JSON").
			WithFields(fault.Field{Pointer: prefix, Message: "is not JSON"})
	}
	if s.compiled == nil {
		return nil
	}
	if at, huge := hugeNumber(instance, nil); huge {
		return fault.New(fault.Invalid, "input_invalid", "the value does not match the agent's schema").
			WithFields(fault.Field{Pointer: prefix + pointer(at), Message: "is a number out of range"})
	}
	s.checking.Lock()
	defer s.checking.Unlock()
	err = s.effort.bound(func() error { return s.compiled.Validate(instance) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooExpensive):
		return fault.New(fault.Invalid, "input_invalid", "the value takes too much work to check against the agent's schema").
			WithFields(fault.Field{Pointer: prefix, Message: "takes too much work to check"})
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("validate value: %w", err)
	}
	return fault.New(fault.Invalid, "input_invalid", "the value does not match the agent's schema").
		WithFields(leaves(prefix, invalid, nil)...)
}

// leaves collects the innermost errors: the places where a person has to change
// something. Values are never repeated, for they may be secret.
func leaves(prefix string, e *jsonschema.ValidationError, fields []fault.Field) []fault.Field {
	if len(fields) >= maxFieldErrors {
		return fields
	}
	if len(e.Causes) == 0 {
		return append(fields, fault.Field{
			Pointer: prefix + pointer(e.InstanceLocation),
			Message: describe(e.ErrorKind),
		})
	}
	for _, cause := range e.Causes {
		fields = leaves(prefix, cause, fields)
	}
	return fields
}

var english = message.NewPrinter(language.English)

// maxFieldMessage bounds the text of one wrong field: patterns and lists come
// from the publisher, names of properties from the caller.
const maxFieldMessage = 256

// describe words an error without the offending value, which the library's own
// texts quote for formats, patterns and numbers.
func describe(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Pattern:
		return shorten("does not match the pattern " + k.Want)
	case *kind.Format:
		return shorten("is not a valid " + k.Want)
	case *kind.RefCycle: // the library's text holds a path of this process
		return "cannot be checked: the schema refers to itself without an end"
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	default:
		return shorten(k.LocalizedString(english))
	}
}

// number spells a number of a schema as a person would.
func number(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// shorten cuts a text to maxFieldMessage bytes without cutting a character.
func shorten(text string) string {
	if len(text) <= maxFieldMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxFieldMessage-len("…")], "") + "…"
}

// The bounds of a number. The library computes with exact fractions: ten bytes
// such as 1e999999 would cost it a million digits, and beyond that it gives up with
// a panic. No float64 needs more.
const (
	maxExponent     = 1000
	maxNumberLength = 1000 // bytes of its text
)

// exponent returns the exponent of a number; false where it is out of bounds.
func exponent(n json.Number) (int, bool) {
	_, digits, found := strings.Cut(strings.ToLower(string(n)), "e")
	if !found {
		return 0, true
	}
	e, err := strconv.Atoi(digits)
	return e, err == nil && -maxExponent <= e && e <= maxExponent
}

// hugeNumber finds a number that is out of bounds, and says where it is.
func hugeNumber(value any, at []string) ([]string, bool) {
	switch value := value.(type) {
	case json.Number:
		_, ok := exponent(value)
		return at, !ok || len(value) > maxNumberLength
	case []any:
		for i, item := range value {
			if place, huge := hugeNumber(item, append(at, strconv.Itoa(i))); huge {
				return place, true
			}
		}
	case map[string]any:
		for name, item := range value {
			if place, huge := hugeNumber(item, append(at, name)); huge {
				return place, true
			}
		}
	}
	return nil, false
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(location []string) string {
	var b strings.Builder
	for _, part := range location {
		b.WriteByte('/')
		b.WriteString(pointerEscape.Replace(part))
	}
	return b.String()
}
