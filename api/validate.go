package api

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"agentmarket/fault"
)

// compileBodies compiles the schema of every request body out of the document
// that is published, of which text is the encoding: what /openapi.json says is what is enforced. It panics on
// a document that is none, which is a mistake in this package.
func compileBodies(spec *huma.OpenAPI, text []byte) map[string]*jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(fmt.Errorf("decode OpenAPI document: %w", err))
	}
	const name = "openapi.json"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat() // times, which could not be decoded
	if err := compiler.AddResource(name, document); err != nil {
		panic(fmt.Errorf("add OpenAPI document: %w", err))
	}
	bodies := map[string]*jsonschema.Schema{}
	for _, item := range spec.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch} {
			if op == nil {
				continue
			}
			body := op.RequestBody.Content["application/json"].Schema
			if bodies[op.OperationID], err = compiler.Compile(name + body.Ref); err != nil {
				panic(fmt.Errorf("compile body of %s: %w", op.OperationID, err))
			}
		}
	}
	return bodies
}

// maxFieldErrors bounds the list of wrong places in one answer.
const maxFieldErrors = 20

// validateBody checks a body against its schema. Every wrong place has its own
// pointer: a member that is missing is named where it should be.
func validateBody(schema *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return newProblem(400, "malformed_json", "the body is not JSON")
	}
	err = schema.Validate(value)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("validate body: %w", err)
	}
	fields := wrongPlaces(invalid, nil)
	slices.SortFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
	return requestInvalid(fields[:min(len(fields), maxFieldErrors)]...)
}

// once refuses query parameters that come twice and have one value: of which one would
// count, and whoever filters by two would not notice.
func (a *app) once(ctx huma.Context, next func(huma.Context)) {
	c := humagin.Unwrap(ctx)
	query := c.Request.URL.Query()
	var twice []fault.Field
	for _, p := range ctx.Operation().Parameters {
		if p.In == "query" && p.Schema.Type != huma.TypeArray && len(query[p.Name]) > 1 {
			twice = append(twice, fault.Field{Pointer: p.Name, Message: "must be given once"})
		}
	}
	if len(twice) > 0 {
		a.fail(c, requestInvalid(twice...))
		return
	}
	next(ctx)
}

// requestInvalid is the fault of a request that is not what the description of
// the API says.
func requestInvalid(fields ...fault.Field) *fault.Error {
	return fault.New(fault.Invalid, "request_invalid", "the request is not valid").WithFields(fields...)
}

func wrongPlaces(e *jsonschema.ValidationError, fields []fault.Field) []fault.Field {
	for _, cause := range e.Causes {
		fields = wrongPlaces(cause, fields)
	}
	if len(e.Causes) > 0 {
		return fields
	}
	at := pointer(e.InstanceLocation...)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			fields = append(fields, fault.Field{Pointer: at + pointer(name), Message: "is required"})
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			fields = append(fields, fault.Field{Pointer: at + pointer(name), Message: "is not a member that is known here"})
		}
	default:
		fields = append(fields, fault.Field{Pointer: at, Message: describe(k)})
	}
	return fields
}

var english = message.NewPrinter(language.English)

// describe words an error without the value, which may be secret.
func describe(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ") + ", not " + k.Got
	case *kind.Pattern:
		return "does not match the pattern " + k.Want
	case *kind.Format:
		return "is not a valid " + k.Want
	case *kind.Enum, *kind.Const:
		return "is not one of the values that are allowed here"
	default:
		return k.LocalizedString(english)
	}
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// pointer makes a JSON pointer (RFC 6901).
func pointer(path ...string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteByte('/')
		b.WriteString(pointerEscape.Replace(part))
	}
	return b.String()
}
