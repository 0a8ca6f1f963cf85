package product

import (
	"errors"
	"reflect"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A schema is written by a stranger, and what it takes to check a value with it
// has no bound of its own: ten schemas of which each names the next one twice in
// its allOf double the work ten times. So the work is counted, in units of about a
// tenth of a microsecond.
const (
	// maxEffort bounds the work of compiling a schema, and of one check.
	maxEffort = 10_000_000
	// entryEffort is that of one value entering one schema.
	entryEffort = 8
	// instructionEffort is that of compiling one instruction of a regular
	// expression.
	instructionEffort = 40
)

// The limits of a schema's text: the time to compile it grows by the square of
// both.
const (
	maxSchemaDepth = 100  // of nested JSON values
	maxSubschemas  = 2000 // objects and booleans: each may be a schema
)

// errTooExpensive ends what takes more than maxEffort.
var errTooExpensive = errors.New("takes too much work")

// effort is the work that is left, and how deep in schemas a check is.
type effort struct {
	left    int64
	nesting int64
}

// spend takes work off what is left. When nothing is left it panics with
// errTooExpensive, for [effort.bound] to catch: the library has no way to stop.
func (e *effort) spend(work int64) {
	if e.left -= work; e.left < 0 {
		panic(errTooExpensive)
	}
}

// bound calls do with the whole effort. It returns errTooExpensive when that was
// not enough, or what do returned.
func (e *effort) bound(do func() error) (err error) {
	*e = effort{left: maxEffort}
	defer func() {
		switch reason := recover(); reason {
		case nil:
		case errTooExpensive:
			err = errTooExpensive
		default:
			panic(reason)
		}
	}()
	return do()
}

// gates stand before every schema that a compiler makes. All references lead to
// the gate: it counts the work before anything else happens, and hands the value
// on to the schema's keywords. The library enters a schema in many ways and leaves
// it early in as many; a gate misses none of them. What has no gate is true, false
// and {}: their work is counted with the schema that they are part of.
type gates struct {
	effort *effort
	all    []*gate
}

// on makes a compiler tell of every schema that it compiles.
func (g *gates) on(c *jsonschema.Compiler) {
	c.RegisterVocabulary(&jsonschema.Vocabulary{
		URL: "urn:agentmarket:effort",
		Compile: func(ctx *jsonschema.CompilerContext, _ map[string]any) (jsonschema.SchemaExt, error) {
			one := &gate{effort: g.effort, place: ctx.Enqueue(nil)} // the schema that is being compiled
			g.all = append(g.all, one)
			return one, nil
		},
	})
	c.AssertVocabs()
}

// close puts up the gates, when all schemas are complete.
func (g *gates) close() {
	for _, one := range g.all {
		one.close()
	}
}

// gate is the only keyword that is left in the place of a schema.
type gate struct {
	effort *effort
	place  *jsonschema.Schema
	body   *jsonschema.Schema // with the keywords
	weight weight
}

// namesOfPlaces are the fields of a schema that check nothing: they say where it
// is and what leads to it.
var namesOfPlaces = []string{"DraftVersion", "Location", "ID", "Anchor", "RecursiveAnchor", "DynamicAnchor"}

func (g *gate) close() {
	g.body = new(*g.place)
	g.body.Extensions = nil
	g.weight = weigh(g.body)
	place := reflect.ValueOf(g.place).Elem()
	for i := range place.NumField() {
		field := place.Type().Field(i)
		if field.IsExported() && !slices.Contains(namesOfPlaces, field.Name) {
			place.Field(i).SetZero()
		}
	}
	g.place.Extensions = []jsonschema.SchemaExt{g}
}

// Validate counts the work of one value, and lets it pass. The library looks for
// circles among the schemas that it is in, and an error is as long as the way to
// its value: both take the more work the deeper the value is.
func (g *gate) Validate(ctx *jsonschema.ValidatorContext, v any) {
	e := g.effort
	e.spend(entryEffort + e.nesting/2 + g.weight.of(v))
	e.nesting++
	ctx.AddErr(ctx.Validate(g.body, v, nil))
	e.nesting--
}

// tooLarge reports whether a schema nests deeper than levels, or may have more
// subschemas than are left.
func tooLarge(value any, levels int, left *int) bool {
	deeper := func(item any) bool { return levels == 0 || tooLarge(item, levels-1, left) }
	switch value := value.(type) {
	case []any:
		return slices.ContainsFunc(value, deeper)
	case bool:
		*left--
	case map[string]any:
		*left--
		for _, item := range value {
			if *left < 0 || deeper(item) {
				return true
			}
		}
	}
	return *left < 0
}
