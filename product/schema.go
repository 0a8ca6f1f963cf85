package product

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

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

// Schema is a compiled JSON Schema (draft 2020-12). The nil Schema accepts
// every JSON value.
type Schema struct{ compiled *jsonschema.Schema }

// noLoader refuses every external reference: a stranger's schema must not make
// the platform read files or addresses.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference %q: external references are not allowed", url)
}

// CompileSchema compiles the JSON text of a schema. An empty text gives the
// Schema that accepts everything; a text that is no schema is fault.Invalid.
func CompileSchema(text []byte) (*Schema, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return &Schema{}, nil
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fault.New(fault.Invalid, "schema_invalid", "is not JSON")
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	const name = "schema.json"
	if err := compiler.AddResource(name, document); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "is not a JSON Schema")
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "is not a valid JSON Schema (draft 2020-12, no external references)")
	}
	return &Schema{compiled: compiled}, nil
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
	err = s.compiled.Validate(instance)
	if err == nil {
		return nil
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

// describe words an error without the offending value, which the library's own
// texts quote for formats and patterns.
func describe(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Pattern:
		return "does not match the pattern " + k.Want
	case *kind.Format:
		return "is not a valid " + k.Want
	default:
		return k.LocalizedString(english)
	}
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
